package leak

import (
	"math"
	"strings"
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
)

func without(s record.Settings, change func(*record.Settings)) record.Settings {
	change(&s)
	return s
}

func TestWindowOf(t *testing.T) {
	noHeartbeat := func(s *record.Settings) { s.HeartbeatInterval, s.HeartbeatDeadline = 0, 0 }
	noUserTimeout := func(s *record.Settings) { s.UserTimeout = 0 }
	noKeepalive := func(s *record.Settings) { s.KeepaliveCount = 0 }
	pingOnly := func(s *record.Settings) { s.HeartbeatDeadline = 0 }
	both := func(fs ...func(*record.Settings)) func(*record.Settings) {
		return func(s *record.Settings) {
			for _, f := range fs {
				f(s)
			}
		}
	}
	for _, c := range []struct {
		name         string
		settings     record.Settings
		class        record.Class
		upper, lower float64
		decides      string
	}{
		{"killed: the kernel says so", testSettings, record.Closed, 0, 0, "FIN or RST"},
		{"test settings: the heartbeat is first", testSettings, record.Silent, 5, 1.75, "heartbeat deadline"},
		{"defaults: the heartbeat is first", defaults, record.Silent, 15, 9.75, "heartbeat deadline"},
		// (2 + 1 x max(1, ceil((5-2)/1) = 3)) x 9/8
		{"user timeout, idle", without(testSettings, noHeartbeat), record.Silent, 5.625, 1.75, "TCP_USER_TIMEOUT"},
		// 1 + 2 x 0.25 + 5 + 5/8
		{"user timeout, the heartbeat writes", without(testSettings, pingOnly), record.Silent, 7.125, 1.75, "TCP_USER_TIMEOUT"},
		// (2 + 3 x 1) x 9/8
		{"keepalive alone", without(testSettings, both(noHeartbeat, noUserTimeout)), record.Silent, 5.625, 1.75, "keepalive"},
		{"keepalive does not run beside a heartbeat's writes", without(testSettings, both(pingOnly, noUserTimeout)), record.Silent, never, 1.75, ""},
		{"a user timeout alone never looks at an idle connection", without(testSettings, both(noHeartbeat, noKeepalive)), record.Silent, never, 1.75, ""},
		{"nothing", record.Settings{}, record.Silent, never, 0, ""},

		// next ping 1 + deadline 5; a full buffer may hit the write deadline at 2
		{"frozen: the heartbeat alone", testSettings, record.Frozen, 6, 1.75, "heartbeat deadline"},
		{"frozen: defaults", defaults, record.Frozen, 20, 9.75, "heartbeat deadline"},
		{"frozen: no full buffer", without(testSettings, func(s *record.Settings) { s.Flush, s.UserTimeout = 0, 0 }), record.Frozen, 6, 4, "heartbeat deadline"},
		{"frozen: no kernel notices", without(testSettings, noHeartbeat), record.Frozen, never, 1.75, ""},
		{"frozen: pings without a deadline", without(testSettings, pingOnly), record.Frozen, never, 1.75, ""},
		{"frozen: nothing", record.Settings{}, record.Frozen, never, 0, ""},

		{"reset: the next heartbeat is told", testSettings, record.Reset, 1, 0, "RST to a heartbeat"},
		{"reset: pings without a deadline", without(testSettings, pingOnly), record.Reset, 1, 0, "RST to a heartbeat"},
		// 2 x 9/8
		{"reset: the next probe is told", without(testSettings, noHeartbeat), record.Reset, 2.25, 0, "RST to a keepalive probe"},
		{"reset: probes come before pings", without(testSettings, func(s *record.Settings) { s.HeartbeatInterval = 4 }), record.Reset, 2.25, 0, "RST to a keepalive probe"},
		{"reset: who never sends is never told", without(testSettings, both(noHeartbeat, noKeepalive)), record.Reset, never, 0, ""},
		{"reset: a deadline needs no packet", without(testSettings, both(noKeepalive, func(s *record.Settings) { s.HeartbeatInterval = 0 })), record.Reset, 5, 5, "heartbeat deadline"},

		{"flap: the window of a silence, in which nothing may die", testSettings, record.Flap, 5, 1.75, "heartbeat deadline"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := WindowOf(c.settings, Exposure{Class: c.class})
			if math.Abs(w.Upper-c.upper) > 1e-9 {
				t.Errorf("upper is %v, want %v", w.Upper, c.upper)
			}
			if math.Abs(w.Lower-c.lower) > 1e-9 {
				t.Errorf("lower is %v, want %v", w.Lower, c.lower)
			}
			got := map[string]bool{}
			for _, r := range w.Rows {
				if r.Decides {
					got[r.Role+" "+r.Detector] = true
				}
			}
			if c.decides == "" && len(got) > 0 {
				t.Errorf("decided by %v, want none", got)
			}
			if c.decides != "" && !(got["server "+c.decides] && got["client "+c.decides]) {
				t.Errorf("decided by %v, want %s at both ends", got, c.decides)
			}
			if c.upper >= 0 && (w.Deadline != w.Upper+Slack || w.Last < w.Deadline || w.Last < 2*w.Upper) {
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

// The kernel layer alone, and connections at the edge, which have no other.
func TestWindowOfTheKernelAlone(t *testing.T) {
	kernel := without(testSettings, func(s *record.Settings) { s.HeartbeatInterval, s.HeartbeatDeadline = 0, 0 })
	for _, c := range []struct {
		name     string
		settings record.Settings
		x        Exposure
		upper    float64
		decides  string // by role, sockets, detector
		lacks    string // of what has no bound
	}{
		{"session, idle", kernel, Exposure{Class: record.Silent}, 5.625, "server sessions TCP_USER_TIMEOUT", ""},
		// 0 + 2 x 0.25 + 5 + 5/8
		{"session, data in flight", kernel, Exposure{Class: record.Silent, Busy: true}, 6.125, "server sessions TCP_USER_TIMEOUT", ""},
		{"the heartbeat goes before data in flight", testSettings, Exposure{Class: record.Silent, Busy: true}, 5, "client sessions heartbeat deadline", ""},
		{"visitor, idle: the session's heartbeat is no help", testSettings, Exposure{Class: record.Silent, Edge: "server"}, 5.625, "server visitors TCP_USER_TIMEOUT", ""},
		{"visitor, data in flight", testSettings, Exposure{Class: record.Silent, Edge: "server", Busy: true}, 6.125, "server visitors TCP_USER_TIMEOUT", ""},
		{"what the client carries for a visitor", testSettings, Exposure{Class: record.Silent, Edge: "server"}, 5.625, "client carried for visitors end of what carries it", ""},
		{"origin, idle", testSettings, Exposure{Class: record.Silent, Edge: "client"}, 5.625, "client origins TCP_USER_TIMEOUT", ""},
		{"what the server carries for an origin", testSettings, Exposure{Class: record.Silent, Edge: "client"}, 5.625, "server carried for origins end of what carries it", ""},
		{"data in flight without a user timeout", without(kernel, func(s *record.Settings) { s.UserTimeout = 0 }), Exposure{Class: record.Silent, Busy: true}, never, "", "no heartbeat with a deadline and no TCP_USER_TIMEOUT"},
		{"visitor of a target that has the heartbeat alone", record.Settings{HeartbeatInterval: 1, HeartbeatDeadline: 5}, Exposure{Class: record.Silent, Edge: "server"}, never, "", "connections to visitors have no keepalive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := WindowOf(c.settings, c.x)
			if math.Abs(w.Upper-c.upper) > 1e-9 {
				t.Errorf("upper is %v, want %v", w.Upper, c.upper)
			}
			found := c.decides == ""
			for _, r := range w.Rows {
				found = found || r.Decides && r.Role+" "+r.Sockets+" "+r.Detector == c.decides
			}
			if !found {
				t.Errorf("%q does not decide: %+v", c.decides, w.Rows)
			}
			if c.upper == never && !strings.Contains(Unbounded(c.x), c.lacks) {
				t.Errorf("%q does not say %q", Unbounded(c.x), c.lacks)
			}
		})
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
		{"a write deadline counts with data in flight", testSettings, true, 0.8 * 0.5},
		{"keepalive, idle", kernel, false, 0.8 * 2},
		{"user timeout counts with data in flight", without(kernel, func(s *record.Settings) { s.UserTimeout, s.Flush = 4, 0 }), true, 0.8 * 1.5},
		{"and not without", without(kernel, func(s *record.Settings) { s.UserTimeout = 4 }), false, 0.8 * 2},
		{"no detector", record.Settings{}, true, 0},
		{"no room", record.Settings{HeartbeatInterval: 4, HeartbeatDeadline: 4.5}, false, 0},
	} {
		if got := ShortOutage(c.s, c.busy); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
