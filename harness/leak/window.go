package leak

import (
	"fmt"
	"math"

	"github.com/halfopen/halfopen/harness/record"
)

// rto is the retransmission timeout that a connection on a short path has when
// the fault comes: max(200 ms, srtt + 4 rttvar) (RFC 6298; Linux TCP_RTO_MIN is
// 200 ms), with room for a jittery machine. Seconds.
const rto = 0.25

// Slack is S: what two polls of 50 ms and the target's own reaction may add to the
// window. Seconds. A machine that stands still is measured, not allowed for.
const Slack = 1.1

// never stands for a detector that has no latest time.
const never = -1.0

// lateness is how late Linux may fire a kernel timer of d seconds: its timer wheel
// rounds up by at most 1/8 of the timer (kernel/time/timer.c, LVL_GRAN).
func lateness(d float64) float64 { return d / 8 }

// WindowOf is the window of one fault of the given class, for connections that
// are idle or have data in flight. Every connection has several detectors; the
// first that fires ends it, so a connection's bound is the minimum over its
// detectors, and the window the maximum over the exposed connections. A visitor's
// connection is carried by a session and inherits the session's bound.
//
// Upper is never (-1) if no detector has a bound: such a target can't be judged
// on this fault.
func WindowOf(s record.Settings, class record.Class) record.Window {
	w := record.Window{Slack: Slack}
	for _, role := range []string{"server", "client"} {
		rows := sessionRows(s, class)
		decide(rows)
		for i := range rows {
			rows[i].Role = role
			rows[i].Sockets = "sessions"
			if rows[i].Decides {
				w.Upper = max(w.Upper, rows[i].Latest)
				carried := rows[i]
				carried.Sockets = "carried by a session"
				carried.Detector = "end of the session"
				carried.Formula = "as the session that carries it"
				rows = append(rows, carried)
			}
		}
		w.Rows = append(w.Rows, rows...)
	}
	decided := false
	for i, r := range w.Rows {
		decided = decided || r.Decides
		if i == 0 || r.Earliest < w.Lower {
			w.Lower = r.Earliest
		}
	}
	if !decided {
		w.Upper = never
		return w
	}
	w.Deadline = w.Upper + w.Slack
	w.Last = max(2*w.Upper, w.Upper+10)
	return w
}

// decide marks the row with the smallest latest time.
func decide(rows []record.Bound) {
	best := -1
	for i, r := range rows {
		if r.Latest != never && (best < 0 || r.Latest < rows[best].Latest) {
			best = i
		}
	}
	if best >= 0 {
		rows[best].Decides = true
	}
}

// sessionRows are the detectors of one end of a session.
func sessionRows(s record.Settings, class record.Class) []record.Bound {
	if class == record.Closed {
		return []record.Bound{{
			Detector: "FIN or RST",
			Formula:  "the kernel of a process that died closes its sockets at once = 0 s",
		}}
	}
	var rows []record.Bound
	if s.HeartbeatDeadline > 0 {
		rows = append(rows, record.Bound{
			Detector: "heartbeat deadline",
			Formula:  fmt.Sprintf("deadline after the last frame = %.3g s", s.HeartbeatDeadline),
			Earliest: max(0, s.HeartbeatDeadline-s.HeartbeatInterval),
			Latest:   s.HeartbeatDeadline,
		})
	}
	if s.Flush > 0 {
		rows = append(rows, record.Bound{
			Detector: "write deadline",
			Formula:  fmt.Sprintf("%.3g s after the send buffer is full, which need not happen", s.Flush),
			Earliest: s.Flush, Latest: never,
		})
	}
	idle, interval, count, user := s.KeepaliveIdle, s.KeepaliveInterval, float64(s.KeepaliveCount), s.UserTimeout
	writes := s.HeartbeatInterval > 0
	probes := idle + lateness(idle) + count*(interval+lateness(interval))
	if user > 0 {
		row := record.Bound{Detector: "TCP_USER_TIMEOUT", Earliest: user}
		if count > 0 {
			row.Earliest = min(user, count*interval)
		}
		switch {
		case writes:
			// The heartbeat writes into the dead connection, and keepalive stops
			// with the first unacknowledged byte.
			row.Latest = s.HeartbeatInterval + 2*rto + user + lateness(user)
			row.Formula = fmt.Sprintf("next write %.3g + 2 RTO %.3g + U %.3g + U/8 = %.3f s", s.HeartbeatInterval, 2*rto, user, row.Latest)
		case count > 0:
			// Idle: checked by each keepalive probe; the count is ignored.
			steps := max(1, math.Ceil((user-idle)/interval))
			row.Latest = idle + lateness(idle) + steps*(interval+lateness(interval))
			row.Formula = fmt.Sprintf("idle: (I %.3g + V %.3g x max(1, ceil((U-I)/V)) = %.0f) x 9/8 = %.3f s", idle, interval, steps, row.Latest)
		default:
			row.Latest = never
			row.Formula = "without keepalive an idle connection is never looked at"
		}
		rows = append(rows, row)
	}
	if count > 0 {
		row := record.Bound{
			Detector: "keepalive",
			Earliest: count * interval,
			Latest:   probes,
			Formula:  fmt.Sprintf("(I %.3g + C %.0f x V %.3g) x 9/8 = %.3f s", idle, count, interval, probes),
		}
		switch {
		case user > 0:
			row.Latest = never
			row.Formula = "TCP_USER_TIMEOUT replaces the count"
		case writes:
			row.Latest = never
			row.Formula = "does not run while the heartbeat's bytes are unacknowledged"
		}
		rows = append(rows, row)
	}
	return rows
}

// SettleWindow is the window of snapshot G: after the heal everything but the
// logins leaves in good order, so only the half-close bound is allowed for.
func SettleWindow(s record.Settings) record.Window {
	w := record.Window{Upper: s.HalfClose, Slack: Slack}
	w.Deadline = w.Upper + w.Slack
	w.Last = max(2*w.Upper, w.Upper+10)
	return w
}

// ServiceLimit is R: after how many seconds from the heal a returning and a new
// client must serve at the latest. The longer of one whole backoff and a dial that
// was under way, then a dial, a handshake, and the slack.
func ServiceLimit(s record.Settings) float64 {
	return max(s.BackoffCap*(1+s.BackoffJitter), s.Dial) + s.Dial + s.Handshake + Slack
}
