package leak

import (
	"math"

	"github.com/halfopen/halfopen/harness/record"
)

// rto is the retransmission timeout that a connection on a short path has when
// the fault comes: max(200 ms, srtt + 4 rttvar) (RFC 6298; Linux TCP_RTO_MIN is
// 200 ms), with room for a jittery machine. Seconds.
const rto = 0.25

// What Linux does where nobody says otherwise: net.ipv4.tcp_retries2, TCP_RTO_MAX
// in seconds, and the retries of an orphan where tcp_orphan_retries is 0.
const (
	defaultRetries = 15
	defaultRTOMax  = 120.0
	orphanRetries  = 8
)

// lateness is how late Linux may fire a kernel timer of d seconds; it is never early.
// The timer wheel (kernel/time/timer.c) holds a timer of at least 63 x 8^(n-1) jiffies in
// level n, whose slots are 8^n jiffies wide, and rounds up: by at most 8/63 of the
// timer, an eighth and a little, whatever HZ is. Level 0 rounds up by a jiffy, 10 ms at the
// slowest.
func lateness(d float64) float64 { return d*8/63 + 0.01 }

// fires is d with its lateness.
func fires(d float64) float64 { return d + lateness(d) }

// keepaliveLatest is when probes that nobody answers end an idle connection at the
// latest, counted from the last packet received: each timer has its own lateness. With a
// user timeout the count is ignored: each probe looks whether U is over
// (tcp_keepalive_timer in net/ipv4/tcp_timer.c). -1 without keepalive.
func keepaliveLatest(s record.Settings) float64 {
	if s.KeepaliveCount <= 0 {
		return never
	}
	return fires(s.KeepaliveIdle) + unanswered(s)*fires(s.KeepaliveInterval)
}

// unanswered is how many intervals pass after the first probe.
func unanswered(s record.Settings) float64 {
	if s.UserTimeout > 0 {
		return max(1, math.Ceil((s.UserTimeout-s.KeepaliveIdle)/s.KeepaliveInterval))
	}
	return float64(s.KeepaliveCount)
}

// keepaliveEarliest is the same, at the earliest, counted from a fault that comes just before
// the first probe.
func keepaliveEarliest(s record.Settings) float64 { return unanswered(s) * s.KeepaliveInterval }

// retransmitEarliest is T(n): how long retransmissions without an answer go on at
// least, counted from the first (tcp_model_timeout). It doubles from 200 ms until most,
// and goes on by most.
func retransmitEarliest(n int, most float64) float64 {
	const base = 0.2 // TCP_RTO_MIN
	k := math.Floor(math.Log2(most/base + 1e-9))
	if float64(n) <= k {
		return base * (math.Pow(2, float64(n)+1) - 1)
	}
	return base*(math.Pow(2, k+1)-1) + (float64(n)-k)*most
}

// retransmitLatest is R(n), counted from the write: a tail loss probe, the first
// retransmission, and the first timer that expires after T(n), which was set before.
func retransmitLatest(n int, most float64) float64 {
	t := retransmitEarliest(n, most)
	return 2*rto + fires(t) + fires(min(most, t+rto))
}

// userTimeoutLatest is when TCP_USER_TIMEOUT ends a connection with unacknowledged bytes
// at the latest, counted from the write: U counts from the first retransmission, not from the
// write, and later writes do not put it off.
func userTimeoutLatest(s record.Settings) float64 { return 2*rto + fires(s.UserTimeout) }

// neighbourLatest is the same where the peer is this host's own neighbour, and its cable is
// cut. What is sent to it then waits in the neighbour's queue until its address is given up
// (neigh_probe in net/core/neighbour.c), or until others push it out of a full one, and TCP
// cannot send it again meanwhile. When it falls out, TCP sends it at once, and sets the
// timer by the whole retransmission timeout (tcp_tsq_write, tcp_xmit_retransmit_queue in
// net/ipv4/tcp_output.c): not by what is left of U, as the timer itself does
// (tcp_clamp_rto_to_user_timeout). U is looked at when that fires. The timeout doubles, so
// it is by then as long as all the time before, and 2 RTO.
func neighbourLatest(s record.Settings) float64 {
	return userTimeoutLatest(s) + fires(s.UserTimeout+2*rto)
}

// retries and rtoMax are a socket's own, or the kernel's defaults.
func retries(s record.Settings) int {
	if s.Retries > 0 {
		return s.Retries
	}
	return defaultRetries
}

func rtoMax(s record.Settings) float64 {
	if s.RTOMax > 0 {
		return s.RTOMax
	}
	return defaultRTOMax
}
