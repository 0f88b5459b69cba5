package leak

import (
	"math"
	"slices"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

// The test settings and the defaults of halfopen's own tunnel.
var (
	testSettings = record.Settings{
		KeepaliveIdle: 2, KeepaliveInterval: 1, KeepaliveCount: 3, UserTimeout: 5,
		HeartbeatInterval: 1, HeartbeatDeadline: 5, HalfClose: 3, Handshake: 2, Flush: 2, Dial: 2, BackoffCap: 1,
	}
	defaults = record.Settings{
		KeepaliveIdle: 15, KeepaliveInterval: 5, KeepaliveCount: 6, UserTimeout: 15,
		HeartbeatInterval: 5, HeartbeatDeadline: 15, HalfClose: 60, Handshake: 10, Flush: 10, Dial: 10, BackoffCap: 30,
	}
	// Connections at the edge have a longer user timeout, and no heartbeat.
	defaultEdges = without(defaults, func(s *record.Settings) { s.UserTimeout = 45 })
)

func without(s record.Settings, change func(*record.Settings)) record.Settings {
	change(&s)
	return s
}

// g is the lateness of a sum of timers: 8/63 of it, and a jiffy for each.
func g(sum float64, timers int) float64 { return sum*8/63 + 0.01*float64(timers) }

// The worked example of docs/verdict.md: the test settings and the defaults of
// halfopen's own tunnel, every kind of connection and every state.
func TestWorkedExample(t *testing.T) {
	kernel := func(s record.Settings) record.Settings {
		s.HeartbeatInterval, s.HeartbeatDeadline = 0, 0
		return s
	}
	idle := Exposure{Class: record.Silent}
	busy := Exposure{Class: record.Silent, Busy: true}
	writes := Exposure{Class: record.Silent, Late: true}
	edge := func(x Exposure) Exposure { x.Edge = "server"; return x }
	for _, c := range []struct {
		name         string
		settings     record.Settings
		x            Exposure
		upper, lower float64
		decides      string
	}{
		{"test: peer killed", testSettings, Exposure{Class: record.Closed}, 0, 0, "FIN or RST"},
		{"test: session, idle", testSettings, idle, 5, 3.5, "heartbeat deadline"},
		{"test: session, busy", testSettings, busy, 5, 1.75, "heartbeat deadline"},
		{"test: session, idle, kernel alone", kernel(testSettings), idle, 5 + g(5, 4), 3, byUserTimeout},
		{"test: session, busy, kernel alone", kernel(testSettings), busy, 0.5 + 5 + g(5, 1), 1.75, byUserTimeout},
		{"test: visitor, idle", testSettings, edge(idle), 5 + g(5, 4), 3, byUserTimeout},
		// A neighbour that is lost may put the timer off, by U + 2 RTO.
		{"test: visitor, busy", testSettings, edge(busy), 0.5 + 5 + g(5, 1) + 5.5 + g(5.5, 1), 3, byUserTimeout},
		{"test: visitor, a late write", testSettings, edge(writes), 5 + g(5, 4) + 0.5 + 5 + g(5, 1) + 5.5 + g(5.5, 1), 3, byUserTimeout},
		{"test: peer frozen, idle", testSettings, Exposure{Class: record.Frozen}, 6, 3.5, "heartbeat deadline"},
		{"test: peer frozen, busy", testSettings, Exposure{Class: record.Frozen, Busy: true}, 6, 1.75, "heartbeat deadline"},
		{"test: peer frozen, buffer full", testSettings, Exposure{Class: record.Frozen, Full: true}, 2, 0, "write deadline"},
		{"test: RST", testSettings, Exposure{Class: record.Reset}, 1, 0, "RST to a heartbeat"},
		{"test: half-closed", testSettings, Exposure{Class: record.HalfClosed}, 3, 3, "half-close bound"},

		{"defaults: peer killed", defaults, Exposure{Class: record.Closed}, 0, 0, "FIN or RST"},
		{"defaults: session, idle", defaults, idle, 15, 9.5, "heartbeat deadline"},
		{"defaults: session, busy", defaults, busy, 15, 9.5, "heartbeat deadline"},
		// U = I: the first probe's interval is all there is: 15 + 5.
		{"defaults: session, idle, kernel alone", kernel(defaults), idle, 20 + g(20, 2), 5, byUserTimeout},
		// Where bytes are in flight, 0.5 + 15 + g; but an end that only receives is idle.
		{"defaults: session, busy, kernel alone", kernel(defaults), busy, 20 + g(20, 2), 5, byUserTimeout},
		{"defaults: visitor, idle", defaultEdges, edge(idle), 45 + g(45, 7), 30, byUserTimeout},
		{"defaults: visitor, busy", defaultEdges, edge(busy), 0.5 + 45 + g(45, 1) + 45.5 + g(45.5, 1), 30, byUserTimeout},
		{"defaults: visitor, a late write", defaultEdges, edge(writes), 45 + g(45, 7) + 0.5 + 45 + g(45, 1) + 45.5 + g(45.5, 1), 30, byUserTimeout},
		{"defaults: peer frozen, idle", defaults, Exposure{Class: record.Frozen}, 20, 9.5, "heartbeat deadline"},
		{"defaults: peer frozen, buffer full", defaults, Exposure{Class: record.Frozen, Full: true}, 10, 0, "write deadline"},
		{"defaults: RST", defaults, Exposure{Class: record.Reset}, 5, 0, "RST to a heartbeat"},
		{"defaults: half-closed", defaults, Exposure{Class: record.HalfClosed}, 60, 60, "half-close bound"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := WindowOf(Stated(c.settings, c.x), c.x)
			if math.Abs(w.Upper-c.upper) > 1e-9 {
				t.Errorf("upper is %v, want %v", w.Upper, c.upper)
			}
			if math.Abs(w.Lower-c.lower) > 1e-9 {
				t.Errorf("lower is %v, want %v", w.Lower, c.lower)
			}
			if !slices.ContainsFunc(w.Rows, func(r record.Bound) bool { return r.Decides && r.Detector == c.decides }) {
				t.Errorf("%s does not decide: %+v", c.decides, w.Rows)
			}
			if w.Deadline != w.Upper+Slack || w.Last < w.Deadline || w.Last < 2*w.Upper {
				t.Errorf("deadline %v and last %v do not follow from upper %v", w.Deadline, w.Last, w.Upper)
			}
		})
	}
}

func TestServiceLimit(t *testing.T) {
	// The dial that was under way (2) is longer than the backoff (1): 2 + 2 + 2 + S.
	if got := ServiceLimit(testSettings); got != 6+Slack {
		t.Errorf("R is %v, want %v", got, 6+Slack)
	}
	// The backoff (30, half more by jitter) is longer than a dial: 45 + 10 + 10 + S.
	if got := ServiceLimit(without(defaults, func(s *record.Settings) { s.BackoffJitter = 0.5 })); got != 65+Slack {
		t.Errorf("R is %v, want %v", got, 65+Slack)
	}
}

func TestShortOutage(t *testing.T) {
	kernel := without(testSettings, func(s *record.Settings) { s.HeartbeatInterval, s.HeartbeatDeadline = 0, 0 })
	for _, c := range []struct {
		name string
		s    record.Settings
		busy bool
		want float64
	}{
		{"the heartbeat is the shortest", testSettings, false, 0.8 * 1.5},
		{"keepalive does not run beside a quick heartbeat", without(testSettings, func(s *record.Settings) { s.KeepaliveCount = 1 }), false, 0.8 * 1.5},
		{"it does beside a slow one", without(testSettings, func(s *record.Settings) { s.HeartbeatInterval, s.UserTimeout, s.KeepaliveCount = 2, 0, 1 }), false, 0},
		{"with U the count is ignored: U = I leaves no room", without(kernel, func(s *record.Settings) { s.UserTimeout = 2 }), false, 0},
		{"retransmissions, (T(3) - 1) / 2", record.Settings{Retries: 3}, true, 0.8 * 1},
		{"a read deadline", record.Settings{ReadDeadline: 4}, false, 0.8 * 1.5},
		{"a write deadline counts with data in flight", testSettings, true, 0.8 * 0.5},
		{"keepalive, idle", kernel, false, 0.8 * 2},
		{"user timeout counts with data in flight", without(kernel, func(s *record.Settings) { s.UserTimeout, s.KeepaliveCount, s.Flush = 4, 0, 0 }), true, 0.8 * 1.5},
		{"and not without", without(kernel, func(s *record.Settings) { s.UserTimeout, s.KeepaliveCount = 4, 0 }), false, 0},
		{"two probes and U is over: one may be lost", without(kernel, func(s *record.Settings) { s.UserTimeout = 4 }), false, 0.8 * 1},
		{"no detector", record.Settings{}, true, 0},
		{"no room", record.Settings{HeartbeatInterval: 4, HeartbeatDeadline: 4.5}, false, 0},
	} {
		if got := ShortOutage(c.s, c.busy); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// Sockets without keepalive have no bound; if the file claims one, it is theirs.
func TestClaimedWindow(t *testing.T) {
	x := Exposure{Class: record.Silent, Edge: "server"}
	claims := record.Settings{KeepaliveIdle: 2, KeepaliveInterval: 1, KeepaliveCount: 3, UserTimeout: 5}
	bare := []Group{{Role: "server", Sockets: visitors, Count: 1, Settings: record.Settings{UserTimeout: 5}}}
	if w := WindowOf(bare, x); w.Upper != never {
		t.Errorf("without keepalive the bound is %v s, want never", w.Upper)
	}
	if got, want := WindowFor(claims, bare, x), WindowOf(Stated(claims, x), x); got.Upper != want.Upper || got.Upper <= 0 {
		t.Errorf("with a claim the bound is %v s, want %v s", got.Upper, want.Upper)
	}
	if w := WindowFor(bare[0].Settings, bare, x); w.Upper != never {
		t.Errorf("without a claim the bound is %v s, want never", w.Upper)
	}
	quick := []Group{{Role: "server", Sockets: visitors, Count: 1, Settings: record.Settings{KeepaliveIdle: 1, KeepaliveInterval: 1, KeepaliveCount: 1}}}
	if got, want := WindowFor(claims, quick, x), WindowOf(quick, x); got.Upper != want.Upper {
		t.Errorf("sockets with a bound of their own: %v s, want %v s", got.Upper, want.Upper)
	}
}
