package leak

import (
	"math"
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

// Every row of the window table, on sessions that both ends set alike. g is the
// timers' lateness.
func TestRows(t *testing.T) {
	keepalive := func(idle, interval float64, count int, user float64) record.Settings {
		return record.Settings{KeepaliveIdle: idle, KeepaliveInterval: interval, KeepaliveCount: count, UserTimeout: user}
	}
	ka, kau := keepalive(2, 1, 3, 0), keepalive(2, 1, 3, 5)
	with := func(s record.Settings, change func(*record.Settings)) record.Settings { return without(s, change) }
	pings := func(h, p float64) func(*record.Settings) {
		return func(s *record.Settings) { s.HeartbeatInterval, s.HeartbeatDeadline = h, p }
	}
	scaled := func(n int, most float64) func(*record.Settings) {
		return func(s *record.Settings) { s.Retries, s.RTOMax = n, most }
	}
	silent := func(change func(*Exposure)) Exposure {
		x := Exposure{Class: record.Silent}
		change(&x)
		return x
	}
	idle := silent(func(*Exposure) {})
	busy := silent(func(x *Exposure) { x.Busy = true })
	writes := silent(func(x *Exposure) { x.Late = true })
	full := silent(func(x *Exposure) { x.Full = true })
	frozen, reset := Exposure{Class: record.Frozen}, Exposure{Class: record.Reset}
	frozenBusy, frozenFull := Exposure{Class: record.Frozen, Busy: true}, Exposure{Class: record.Frozen, Full: true}
	for _, c := range []struct {
		row, name    string
		settings     record.Settings
		x            Exposure
		upper, lower float64
		decides      string // "" for never
	}{
		{"A", "killed: its kernel says so", ka, Exposure{Class: record.Closed}, 0, 0, "FIN or RST"},

		{"B", "keepalive alone", ka, idle, 5 + g(5, 4), 3, byKeepalive},
		{"B", "each timer is late by itself", keepalive(17, 1, 2, 0), idle, 19 + g(19, 3), 2, byKeepalive},
		{"B", "U = K", kau, idle, 5 + g(5, 4), 3, byUserTimeout},
		{"B", "U below I shortens no more than to one interval", keepalive(2, 1, 3, 1), idle, 3 + g(3, 2), 1, byUserTimeout},
		{"B", "U between two probes", keepalive(2, 1, 3, 3.5), idle, 4 + g(4, 3), 2, byUserTimeout},
		{"B", "U above K: the count is ignored", keepalive(2, 1, 3, 8.2), idle, 9 + g(9, 8), 7, byUserTimeout},
		{"B", "U without keepalive: nobody looks", record.Settings{UserTimeout: 5}, idle, never, 5, ""},
		{"B", "nothing", record.Settings{}, idle, never, 0, ""},

		{"C", "the next heartbeat is written into the void", with(kau, pings(1, 0)), idle, 1 + 0.5 + 5 + g(5, 1), 5, byUserTimeout},
		{"C", "a heartbeat slower than keepalive", with(kau, pings(9, 0)), idle, 5 + g(5, 4) + 0.5 + 5 + g(5, 1), 3, byUserTimeout},
		{"C", "writes at any time", kau, writes, 5 + g(5, 4) + 0.5 + 5 + g(5, 1), 3, byUserTimeout},
		{"C", "writes at any time or never, without keepalive", record.Settings{UserTimeout: 5}, writes, never, 5, ""},
		{"C'", "data in flight", kau, busy, 0.5 + 5 + g(5, 1), 3, byUserTimeout},
		{"C'", "an end that only receives is idle", keepalive(15, 5, 6, 5), busy, 20 + g(20, 2), 5, byUserTimeout},
		{"C'", "data in flight, without keepalive: who only receives is never told", record.Settings{UserTimeout: 5}, busy, never, 5, ""},
		{"C'", "data in flight, without keepalive, but with a heartbeat", with(record.Settings{UserTimeout: 5}, pings(1, 0)), busy, 1 + 0.5 + 5 + g(5, 1), 5, byUserTimeout},

		{"D", "n = 3", with(ka, scaled(3, 0)), busy, 0.5 + (3.0 + 3.25) + g(3+3.25, 2), 3, byRetries},
		{"D", "n = 15, M = 1 s", with(ka, scaled(15, 1)), busy, 0.5 + (14.4 + 1) + g(15.4, 2), 3, byRetries},
		{"D", "M = 1 s, a heartbeat", with(ka, func(s *record.Settings) { pings(1, 0)(s); scaled(15, 1)(s) }), idle, 1 + 0.5 + 15.4 + g(15.4, 2), 14.4, byRetries},
		{"D", "n = 3, a late write", with(ka, scaled(3, 0)), writes, 5 + g(5, 4) + 0.5 + 6.25 + g(6.25, 2), 3, byRetries},
		{"D", "default: longer than anybody waits", ka, busy, never, 3, ""},
		{"D", "n = 3, without keepalive: who only receives is never told", record.Settings{Retries: 3}, busy, never, 3, ""},

		{"E", "the next ping and its deadline", with(kau, pings(1, 5)), frozen, 6, 3.5, "heartbeat deadline"},
		{"E", "no kernel notices", kau, frozen, never, 0, ""},
		{"E", "pings without a deadline", with(kau, pings(1, 0)), frozen, never, 0, ""},
		{"E", "a full buffer may hit U, and need not", kau, frozenBusy, never, 5, ""},

		{"F", "U", kau, frozenFull, 0.5 + 5 + g(5, 1), 0, byUserTimeout},
		{"F", "a write deadline", with(ka, func(s *record.Settings) { s.Flush = 2 }), frozenFull, 2, 0, "write deadline"},
		{"F", "neither", ka, frozenFull, never, 0, ""},

		{"G", "U", kau, full, 0.5 + 5 + g(5, 1), 0, byUserTimeout},
		{"G", "M = 1 s, n = 3", with(ka, scaled(3, 1)), full, 0.5 + 4 + g(4, 4), 0, byProbes},
		{"G", "default: longer than anybody waits", ka, full, never, 0, ""},

		{"H", "the next heartbeat is told", with(kau, pings(1, 5)), reset, 1, 0, "RST to a heartbeat"},
		{"H", "the next probe is told", kau, reset, 2 + g(2, 1), 0, "RST to a keepalive probe"},
		{"H", "probes come before slow pings", with(kau, pings(4, 5)), reset, 2 + g(2, 1), 0, "RST to a keepalive probe"},
		{"H", "who never sends is never told", record.Settings{UserTimeout: 5}, reset, never, 0, ""},
		{"H", "a deadline needs no packet", with(record.Settings{}, pings(0, 5)), reset, 5, 4.5, "heartbeat deadline"},

		{"J", "the half-close bound", with(kau, func(s *record.Settings) { s.HalfClose = 3 }), Exposure{Class: record.HalfClosed}, 3, 3, "half-close bound"},
		{"J", "none: a living peer answers for ever", kau, Exposure{Class: record.HalfClosed}, never, 0, ""},

		{"read deadline", "puts an end to everything", with(ka, func(s *record.Settings) { s.ReadDeadline = 4 }), full, 4, 0, "read deadline"},
		{"read deadline", "frozen", with(ka, func(s *record.Settings) { s.ReadDeadline = 4 }), frozen, 4, 0, "read deadline"},
		{"read deadline", "put off by heartbeats", with(kau, func(s *record.Settings) { pings(1, 0)(s); s.ReadDeadline = 4 }), idle, 4, 2.5, "read deadline"},
		{"heartbeat deadline", "is first", with(kau, pings(1, 4)), idle, 4, 2.5, "heartbeat deadline"},
		{"window", "given, where nothing else is", with(ka, func(s *record.Settings) { s.Window = 1000 }), busy, 1000, 0, "window of the target's file"},
		{"window", "given, and not needed", with(ka, func(s *record.Settings) { s.Window = 1000 }), idle, 5 + g(5, 4), 3, byKeepalive},
	} {
		t.Run(c.row+" "+c.name, func(t *testing.T) {
			groups := Stated(c.settings, c.x)
			w := WindowOf(groups, c.x)
			if math.Abs(w.Upper-c.upper) > 1e-9 {
				t.Errorf("upper is %v, want %v", w.Upper, c.upper)
			}
			if math.Abs(w.Lower-c.lower) > 1e-9 {
				t.Errorf("lower is %v, want %v: %+v", w.Lower, c.lower, w.Rows)
			}
			got := map[string]bool{}
			for _, r := range w.Rows {
				if r.Decides {
					got[r.Role+" "+r.Detector] = true
				}
			}
			if c.decides == "" && (len(got) > 0 || Unbounded(groups, c.x) == "") {
				t.Errorf("decided by %v, want none, and a reason: %q", got, Unbounded(groups, c.x))
			}
			if c.decides != "" && !(got["server "+c.decides] && got["client "+c.decides] && Unbounded(groups, c.x) == "") {
				t.Errorf("decided by %v, want %s at both ends: %q", got, c.decides, Unbounded(groups, c.x))
			}
		})
	}
}

// Rows I and K: a flap, and a NAT that takes the connection up again, have the window of
// the silence that they could be taken for, and must be survived.
func TestSurvivable(t *testing.T) {
	for _, class := range []record.Class{record.Flap, record.Spared} {
		x := Exposure{Class: class}
		if w := WindowOf(Stated(testSettings, x), x); !w.Survive || w.Upper != 5 || w.Deadline != 5+Slack {
			t.Errorf("%s: %+v", class, w)
		}
		// Without any bound they are watched all the same.
		if w := WindowOf(Stated(record.Settings{}, x), x); !w.Survive || w.Upper != never || w.Deadline != watched {
			t.Errorf("%s, no detector: %+v", class, w)
		}
	}
}

func TestRetransmissions(t *testing.T) {
	for _, c := range []struct {
		n         int
		most      float64
		earliest  float64 // as the kernel's documentation has it: 924.6 s for 15
		doublings float64 // of the last timer's time
	}{
		{3, 120, 3, 3.25}, {5, 120, 12.6, 12.85}, {8, 120, 102.2, 102.45}, {15, 120, 924.6, 120}, {15, 1, 14.4, 1}, {5, 1, 4.4, 1}, {1, 120, 0.6, 0.85},
	} {
		if got := retransmitEarliest(c.n, c.most); math.Abs(got-c.earliest) > 1e-9 {
			t.Errorf("T(%d, %v) is %v, want %v", c.n, c.most, got, c.earliest)
		}
		want := 0.5 + c.earliest + c.doublings + g(c.earliest+c.doublings, 2)
		if got := retransmitLatest(c.n, c.most); math.Abs(got-want) > 1e-9 {
			t.Errorf("R(%d, %v) is %v, want %v", c.n, c.most, got, want)
		}
	}
}

// The timer wheel itself, against the bound on its lateness: every length from a jiffy to
// half an hour, at every HZ that Linux has.
func TestLateness(t *testing.T) {
	for _, hz := range []float64{100, 250, 300, 1000} {
		for jiffies := 1.0; jiffies < 1800*hz; jiffies = math.Ceil(jiffies * 1.001) {
			slot := 1.0 // of the lowest level that can hold the timer (LVL_START)
			for start := 63.0; jiffies >= start; start *= 8 {
				slot *= 8
			}
			if wheel := slot / hz; lateness(jiffies/hz) < wheel-1e-9 {
				t.Fatalf("HZ %v, %v jiffies: the wheel is late by %v s, the bound is %v s", hz, jiffies, wheel, lateness(jiffies/hz))
			}
		}
	}
}

func TestResidueOf(t *testing.T) {
	user := record.Settings{UserTimeout: 4}
	quick := record.Settings{RTOMax: 1}
	for _, c := range []struct {
		name         string
		s            record.Settings
		ns           record.Namespace
		what         Leftover
		upper, lower float64
	}{
		{"U lives on in the orphan", user, record.Namespace{}, Unheard, 0.5 + 4 + g(4, 1), 4},
		{"U, behind a closed window", user, record.Namespace{}, Unread, 0.5 + 4 + g(4, 1), 0},
		{"one retry", record.Settings{}, record.Namespace{OrphanRetries: 1}, Unheard, 0.5 + 0.6 + 0.85 + g(1.45, 2), 0.6},
		{"three", record.Settings{}, record.Namespace{OrphanRetries: 3}, Unheard, 0.5 + 3 + 3.25 + g(6.25, 2), 3},
		{"default: eight", record.Settings{}, record.Namespace{}, Unheard, 0.5 + 102.2 + 102.45 + g(204.65, 2), 102.2},
		{"default, RTO max 1 s: the cap is reached sooner", quick, record.Namespace{}, Unheard, 0.5 + 3 + g(3, 3), 1},
		{"default, behind a closed window", record.Settings{}, record.Namespace{}, Unread, 0.5 + 360 + g(360, 3), 0},
		{"FIN_WAIT2", record.Settings{}, record.Namespace{FinTimeout: 3}, FinWait2, 3 + g(3, 1), 2.75},
		{"TIME_WAIT", user, record.Namespace{}, TimeWait, 60 + g(60, 1), 60},
	} {
		b := ResidueOf(c.s, c.ns, c.what)
		if math.Abs(b.Latest-c.upper) > 1e-9 || math.Abs(b.Earliest-c.lower) > 1e-9 || b.Formula == "" {
			t.Errorf("%s: %v to %v, want %v to %v", c.name, b.Earliest, b.Latest, c.lower, c.upper)
		}
	}
}

func TestUnbounded(t *testing.T) {
	for _, c := range []struct {
		name     string
		settings record.Settings
		x        Exposure
		want     string
	}{
		{"data in flight without a user timeout", record.Settings{}, Exposure{Class: record.Silent, Busy: true}, "no heartbeat with a deadline and no TCP_USER_TIMEOUT"},
		{"a bound that nobody waits for", record.Settings{KeepaliveIdle: 2, KeepaliveInterval: 1, KeepaliveCount: 3}, Exposure{Class: record.Silent, Busy: true}, "retransmission limit takes up to 1178 s, and a story waits for 600 s at most"},
		{"visitor", record.Settings{HeartbeatInterval: 1, HeartbeatDeadline: 5}, Exposure{Class: record.Silent, Edge: "server"}, "connections to visitors have no keepalive"},
		{"frozen", record.Settings{}, Exposure{Class: record.Frozen}, "(a frozen peer's kernel answers for it) have no heartbeat with a deadline"},
	} {
		if got := Unbounded(Stated(c.settings, c.x), c.x); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q does not say %q", c.name, got, c.want)
		}
	}
}
