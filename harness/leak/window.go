package leak

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/halfopen/halfopen/harness/record"
)

// Slack is S: what two polls of 50 ms and the target's own reaction may add to the
// window. Seconds. A machine that stands still is measured, not allowed for.
const Slack = 1.1

// never stands for a detector that has no latest time.
const never = -1.0

// Patience is the longest window that a story waits for, in seconds. A bound beyond it
// counts as none, or one story would take longer than all others together.
const Patience = 600.0

// watched is for how long connections that no detector bounds are watched when they must
// survive: what gives them up cannot be foreseen. Seconds.
const watched = 10.0

// Exposure says which connections go through a fault, and in which state.
type Exposure struct {
	Class record.Class
	// Edge is the role whose connections at the edge are exposed: "server" for those
	// to visitors, "client" for those to origins. With "", the sessions between server
	// and client are.
	Edge string
	// Busy is set if data may be in flight: keepalive does not run then.
	Busy bool
	// Late is set if this side may write at any time after the fault: just before
	// keepalive would be done.
	Late bool
	// Full is set if the peer has stopped reading, and the send buffer is full.
	Full bool
	// Without is the role of a process that is dead or frozen: what it holds it cannot let
	// go of, and is not waited for.
	Without string
}

// WindowOf is the window of one fault. Every connection has several detectors; the
// first that fires ends it, so a connection's bound is the minimum over its
// detectors, and the window the maximum over the exposed connections. What a session
// carries, or what is carried for a visitor, inherits the bound of what carries it.
// Lower bounds likewise: the minimum over everything.
//
//	groups: as Groups or Stated make them
//
// Upper is never (-1) if some connection has no detector with a bound: such a target
// can't be judged on this fault (Unbounded says why). What is to be survived has the
// window of the silence that it could be taken for, in which nothing may die.
func WindowOf(groups []Group, x Exposure) record.Window {
	w := record.Window{Slack: Slack}
	switch x.Class {
	case record.Flap, record.Spared:
		x.Class = record.Silent
		w = WindowOf(groups, x)
		w.Survive = true
		if w.Upper == never {
			w.Deadline = watched
		}
		return w
	case record.OneWay:
		return oneWay(groups, x)
	}
	inherits := map[string]record.Bound{} // by role, from its exposed connections
	add := func(g Group, rows ...record.Bound) {
		for _, r := range rows {
			r.Role, r.Sockets, r.Count, r.Set = g.Role, g.Sockets, g.Count, g.Set
			if len(w.Rows) == 0 || r.Earliest < w.Lower {
				w.Lower = r.Earliest
			}
			w.Rows = append(w.Rows, r)
		}
	}
	for _, g := range groups {
		if g.Carried {
			continue
		}
		rows, decided := g.bounds(x)
		add(g, rows...)
		if decided < 0 || w.Upper == never {
			w.Upper = never
			continue
		}
		w.Upper = max(w.Upper, rows[decided].Latest)
		if b, ok := inherits[g.Role]; !ok || rows[decided].Latest > b.Latest {
			inherits[g.Role] = rows[decided]
		}
	}
	for _, g := range groups {
		owner := g.Role
		if x.Edge != "" {
			owner = x.Edge // the other process hears of it from the owner
		}
		if b, ok := inherits[owner]; ok && g.Carried {
			b.Detector, b.Formula = "end of what carries it", "as the connection that it depends on"
			add(g, b)
		}
	}
	if w.Upper == never {
		return w
	}
	w.Deadline = w.Upper + w.Slack
	w.Last = max(2*w.Upper, w.Upper+10)
	return w
}

// WindowFor is the window of groups. Where they have none, although the target's file
// claims a bound, it is the claimed one: sockets that lack what is claimed for them are
// held to it, and not excused.
func WindowFor(file record.Settings, groups []Group, x Exposure) record.Window {
	w := WindowOf(groups, x)
	if claimed := WindowOf(Stated(file, x), x); w.Upper == never && claimed.Upper != never {
		return claimed
	}
	return w
}

// Mixed is the window of several faults together, from the end of the last: the widest of
// theirs. What went through them may be gone then, or live; what is dead must be gone.
// Upper is never if one of them has none.
func Mixed(windows ...record.Window) record.Window {
	w := record.Window{May: true, Slack: Slack}
	for _, x := range windows {
		if x.Upper == never {
			w.Upper = never
			return w
		}
		if x.Upper >= w.Upper {
			w.Upper, w.Rows = x.Upper, x.Rows
		}
	}
	w.Deadline = w.Upper + w.Slack
	w.Last = w.Deadline
	return w
}

// bounds are the group's detectors, with the index of the one that decides; -1 if none
// has a bound. A window that the target's file gives stands in for a detector.
func (g Group) bounds(x Exposure) ([]record.Bound, int) {
	rows := detectors(g.Settings, x)
	best := -1
	for i, r := range rows {
		if r.Latest != never && r.Latest <= Patience && (best < 0 || r.Latest < rows[best].Latest) {
			best = i
		}
	}
	if best < 0 && g.Settings.Window > 0 {
		best = len(rows)
		rows = append(rows, record.Bound{
			Detector: "window of the target's file", Latest: g.Settings.Window,
			Formula: fmt.Sprintf("given, for no detector has a bound = %.3g s", g.Settings.Window),
		})
	}
	if best >= 0 {
		rows[best].Decides = true
	}
	return rows, best
}

// Unbounded names the connections that have no detector with a bound, and the layer
// that they lack, for an exposure whose window is never.
func Unbounded(groups []Group, x Exposure) string {
	var all []string
	for _, g := range groups {
		if g.Carried {
			continue
		}
		if _, decided := g.bounds(x); decided < 0 {
			text := g.lacks(x)
			if !slices.Contains(all, text) {
				all = append(all, text)
			}
		}
	}
	if all == nil {
		return ""
	}
	return strings.Join(all, "; ") + " (the target's file may scale it by kernel:, or give a window)"
}

// lacks says what the group is, and what it lacks.
func (g Group) lacks(x Exposure) string {
	sockets := map[string]string{
		visitors: "the server's connections to visitors",
		origins:  "the client's connections to origins",
		sessions: "the sessions between server and client",
	}[g.Sockets]
	if g.Count > 0 {
		sockets = fmt.Sprintf("%s (%s: %d, %s)", sockets, g.Role, g.Count, g.Set)
	}
	var lacks []string
	if x.Edge == "" {
		lacks = append(lacks, "heartbeat with a deadline")
	}
	switch {
	case x.Class == record.HalfClosed:
		lacks = []string{"half-close bound (the peer's kernel answers)"}
	case x.Class == record.Unfinished:
		lacks = []string{"handshake deadline"}
	case x.Class == record.Frozen:
		sockets += " (a frozen peer's kernel answers for it)"
	case x.Full, x.Busy, x.Late:
		lacks = append(lacks, "TCP_USER_TIMEOUT (keepalive does not run with data in flight)")
	default:
		lacks = append(lacks, "keepalive")
	}
	if len(lacks) == 0 {
		lacks = []string{"read deadline"}
	}
	text := sockets + " have no " + strings.Join(lacks, " and no ")
	for _, r := range detectors(g.Settings, x) {
		if r.Latest > Patience {
			text += fmt.Sprintf("; %s takes up to %.0f s, and a story waits for %.0f s at most", r.Detector, r.Latest, Patience)
		}
	}
	return text
}

// ShortOutage is how long, in seconds, a path may be silent without any detector of a
// healthy connection firing: below (C-1) V for keepalive (with U the intervals until U
// stand for C), where it runs; below (P - H - 1 s) / 2 for a heartbeat, whose frames may
// then wait for a retransmission as long as the outage was; below (U - 1 s) / 2 where
// bytes may be unacknowledged, or (T(n) - 1 s) / 2 without U, and the same for a write
// deadline, for a write may wait as long as the retransmission does. Four fifths of
// the smallest, for nothing may be close; 0 if there is no detector at all.
func ShortOutage(s record.Settings, busy bool) float64 {
	limit := math.Inf(1)
	beats := s.HeartbeatInterval > 0
	if s.KeepaliveCount > 0 && !(beats && s.HeartbeatInterval < s.KeepaliveIdle) {
		limit = min(limit, (unanswered(s)-1)*s.KeepaliveInterval)
	}
	if s.HeartbeatDeadline > 0 {
		limit = min(limit, (s.HeartbeatDeadline-s.HeartbeatInterval-1)/2)
	}
	if s.ReadDeadline > 0 {
		limit = min(limit, (s.ReadDeadline-s.HeartbeatInterval-1)/2)
	}
	if busy || beats {
		gives := s.UserTimeout
		if gives <= 0 {
			gives = retransmitEarliest(retries(s), rtoMax(s))
		}
		if gives <= Patience {
			limit = min(limit, (gives-1)/2)
		}
	}
	if s.Flush > 0 && busy {
		limit = min(limit, (s.Flush-1)/2)
	}
	if math.IsInf(limit, 1) {
		return 0
	}
	return max(0, 0.8*limit)
}

// LongestSilence is how long, in seconds, an idle session may send no packet at all:
// until its next heartbeat, or its next keepalive probe; 0 if it has neither.
func LongestSilence(s record.Settings) float64 {
	silence := s.HeartbeatInterval
	if s.KeepaliveCount > 0 && (silence <= 0 || s.KeepaliveIdle < silence) {
		silence = s.KeepaliveIdle
	}
	return silence
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
