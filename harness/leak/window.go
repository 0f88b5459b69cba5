package leak

import (
	"fmt"
	"math"
	"strings"

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

// Exposure says which connections go through a fault, and in which state.
type Exposure struct {
	Class record.Class
	// Edge is the role whose connections at the edge are exposed: "server" for those
	// to visitors, "client" for those to origins. With "", the sessions between server
	// and client are.
	Edge string
	// Busy is set if data may be in flight: keepalive does not run then.
	Busy bool
}

// WindowOf is the window of one fault. Every connection has several detectors; the
// first that fires ends it, so a connection's bound is the minimum over its
// detectors, and the window the maximum over the exposed connections. What a session
// carries, or what is carried for a visitor, inherits the bound of what carries it.
//
// Upper is never (-1) if no detector has a bound: such a target can't be judged
// on this fault. A Flap has the window of the silence that it could be taken for, in
// which nothing may die.
func WindowOf(s record.Settings, x Exposure) record.Window {
	w := record.Window{Slack: Slack}
	if x.Class == record.Flap {
		x.Class = record.Silent
		w = WindowOf(s, x)
		w.Survive = true
		return w
	}
	for _, role := range []string{"server", "client"} {
		w.Rows = append(w.Rows, rowsOf(s, x, role)...)
	}
	decided := false
	for i, r := range w.Rows {
		if r.Decides {
			decided = true
			w.Upper = max(w.Upper, r.Latest)
		}
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

// Unbounded names the connections that have no detector with a bound, and the layer
// that they lack, for an exposure whose window is never.
func Unbounded(x Exposure) string {
	sockets := "the sessions between server and client"
	if x.Edge != "" {
		sockets = map[string]string{"server": "the server's connections to visitors", "client": "the client's connections to origins"}[x.Edge]
	}
	var lacks []string
	if x.Edge == "" {
		lacks = append(lacks, "heartbeat with a deadline")
	}
	switch {
	case x.Class == record.Frozen:
		sockets += " (a frozen peer's kernel answers for it)"
	case x.Busy:
		lacks = append(lacks, "TCP_USER_TIMEOUT (keepalive does not run with data in flight)")
	default:
		lacks = append(lacks, "keepalive")
	}
	if len(lacks) == 0 {
		lacks = []string{"read deadline"}
	}
	return sockets + " have no " + strings.Join(lacks, " and no ")
}

// rowsOf are the detectors of one process's exposed connections, and what inherits
// from them.
func rowsOf(s record.Settings, x Exposure, role string) []record.Bound {
	owner, sockets, carried := role, "sessions", "carried by a session"
	if x.Edge != "" {
		owner = x.Edge
		sockets = map[string]string{"server": "visitors", "client": "origins"}[x.Edge]
		carried = "carried for " + sockets
		s.HeartbeatInterval, s.HeartbeatDeadline = 0, 0 // a session's, not theirs
	}
	rows := detectors(s, x)
	decide(rows)
	inherits := record.Bound{}
	for i := range rows {
		rows[i].Role, rows[i].Sockets = role, sockets
		if rows[i].Decides {
			inherits = rows[i]
			inherits.Sockets, inherits.Detector = carried, "end of what carries it"
			inherits.Formula = "as the connection that it depends on"
		}
	}
	switch {
	case inherits.Detector == "":
		return rows
	case owner != role: // the other process hears of it from the owner
		return []record.Bound{inherits}
	case x.Edge != "":
		return rows
	}
	return append(rows, inherits)
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

// detectors are those of one end of a connection.
func detectors(s record.Settings, x Exposure) []record.Bound {
	switch x.Class {
	case record.Closed:
		return []record.Bound{{
			Detector: "FIN or RST",
			Formula:  "the kernel of a process that died closes its sockets at once = 0 s",
		}}
	case record.Frozen:
		return frozenRows(s)
	case record.Reset:
		return resetRows(s)
	}
	rows := heartbeatRows(s)
	if s.Flush > 0 {
		rows = append(rows, flushRow(s))
	}
	idle, interval, count, user := s.KeepaliveIdle, s.KeepaliveInterval, float64(s.KeepaliveCount), s.UserTimeout
	// This side writes into the dead connection: data at once, or the heartbeat.
	writes, gap := s.HeartbeatInterval > 0 || x.Busy, s.HeartbeatInterval
	if x.Busy {
		gap = 0
	}
	probes := idle + lateness(idle) + count*(interval+lateness(interval))
	if user > 0 {
		row := record.Bound{Detector: "TCP_USER_TIMEOUT", Earliest: user}
		if count > 0 {
			row.Earliest = min(user, count*interval)
		}
		switch {
		case writes:
			// Keepalive stops with the first unacknowledged byte.
			row.Latest = gap + 2*rto + user + lateness(user)
			row.Formula = fmt.Sprintf("next write %.3g + 2 RTO %.3g + U %.3g + U/8 = %.3f s", gap, 2*rto, user, row.Latest)
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
			row.Formula = "does not run while bytes are unacknowledged"
		}
		rows = append(rows, row)
	}
	return rows
}

// ShortOutage is how long, in seconds, a path may be silent without any detector of a
// healthy connection firing: below (C-1) V for keepalive; below (P - H - 1 s) / 2 for a
// heartbeat, whose frames may then wait for a retransmission as long as the outage
// was; below (U - 1 s) / 2 where bytes may be unacknowledged, and the same for a write
// deadline, for a write may wait as long as the retransmission does. Four fifths of
// the smallest, for nothing may be close; 0 if there is no detector at all.
func ShortOutage(s record.Settings, busy bool) float64 {
	limit := math.Inf(1)
	if s.KeepaliveCount > 0 {
		limit = min(limit, float64(s.KeepaliveCount-1)*s.KeepaliveInterval)
	}
	if s.HeartbeatDeadline > 0 {
		limit = min(limit, (s.HeartbeatDeadline-s.HeartbeatInterval-1)/2)
	}
	if s.UserTimeout > 0 && (busy || s.HeartbeatInterval > 0) {
		limit = min(limit, (s.UserTimeout-1)/2)
	}
	if s.Flush > 0 && busy {
		limit = min(limit, (s.Flush-1)/2)
	}
	if math.IsInf(limit, 1) {
		return 0
	}
	return max(0, 0.8*limit)
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
