package harness

import (
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
)

// restless is a look at a server that holds a listener, and a goroutine of each signature
// that is named.
func restless(at time.Time, signatures ...string) record.Sample {
	s := record.Sample{Role: "server", PID: 7, At: at, Sockets: []record.Socket{{FD: 3, Inode: 100, State: "LISTEN", Local: "10.0.0.1:4443"}},
		FDs: []record.FD{{Number: 3, Target: "socket:[100]", Inode: 100}}, Groups: []record.Group{{Signature: "accept", Count: 1}}}
	for _, signature := range signatures {
		s.Groups = append(s.Groups, record.Group{Signature: signature, Count: 1})
	}
	return s
}

// A process whose counts still move when the time is over is judged by what is in both of
// its last looks; one that is at rest with too much, or that holds nothing exposed any more,
// is waited for.
func TestSettles(t *testing.T) {
	const x, y = "stack X", "stack Y"
	pipe := func(s record.Sample) record.Sample {
		s.FDs = append(s.FDs, record.FD{Number: 9, Target: "pipe:[900]", Inode: 900})
		return s
	}
	file := func(s record.Sample) record.Sample {
		s.FDs = append(s.FDs, record.FD{Number: 9, Target: "/tmp/x"})
		return s
	}
	gauge := func(s record.Sample, n int) record.Sample {
		s.Gauges = []record.Gauge{{Name: "held", Value: n}}
		return s
	}
	still := func(s record.Sample, state string) record.Sample {
		s.Sockets = append(s.Sockets, record.Socket{FD: 8, Inode: 108, State: state, Local: "127.0.0.1:6060", Remote: "127.0.0.1:999"})
		s.FDs = append(s.FDs, record.FD{Number: 8, Target: "socket:[108]", Inode: 108})
		return s
	}
	at := time.Date(2026, 11, 26, 21, 0, 0, 0, time.UTC)
	b := restless(at)
	for _, c := range []struct {
		name  string
		base  record.Sample
		looks []record.Sample
		back  bool // at the last look
		want  record.Verdict
	}{
		{"one stack, then another", b, []record.Sample{b, restless(at, x), restless(at, y)}, false, record.Inconclusive},
		{"a stack in the last look only", b, []record.Sample{b, b, restless(at, x)}, false, record.Inconclusive},
		{"a stack in both, beside one that moves", b, []record.Sample{b, restless(at, x), restless(at, x, y)}, false, record.Leak},
		{"a stack in both", b, []record.Sample{b, restless(at, x), restless(at, x)}, false, record.Leak},
		{"one kind of descriptor, then another", b, []record.Sample{b, pipe(b), file(b)}, false, record.Inconclusive},
		{"a descriptor in both", b, []record.Sample{b, pipe(b), pipe(restless(at, y))}, false, record.Leak},
		{"one state, then another", still(b, "ESTABLISHED"), []record.Sample{still(b, "ESTABLISHED"), still(b, "FIN_WAIT1"), still(b, "CLOSE_WAIT")}, false, record.Inconclusive},
		{"a gauge that goes up and down", gauge(b, 0), []record.Sample{gauge(b, 0), gauge(b, 0), gauge(b, 2)}, false, record.Inconclusive},
		{"a gauge that is up in both", gauge(b, 0), []record.Sample{gauge(b, 0), gauge(b, 1), gauge(b, 2)}, false, record.Leak},
		{"at rest", b, []record.Sample{restless(at, x), b, b}, true, record.Pass},
	} {
		r := &round{outcome: record.Outcome{Returned: 1}, snapshots: map[string]*leak.Snapshots{"server": {B: c.base, E: c.base, F: c.base}}}
		back := false
		for _, g := range c.looks {
			back = r.settles("server", g)
		}
		o := record.Outcome{Judged: []string{"server"}, Returned: 1, First: -1, SettledAfter: -1}
		if back {
			o.SettledAfter = 0.2
		}
		j := leak.Judge(leak.Round{Fault: record.Fault{Name: "kill -9", Bit: true, Exposures: 2}, Window: record.Window{Upper: 5, Deadline: 6.1, Last: 15},
			Settle: record.Window{Deadline: 4.1, Last: 13}, Processes: []leak.Snapshots{*r.snapshots["server"]}, Outcome: o})
		if back != c.back || j.Verdict != c.want {
			t.Errorf("%s: back %v, %s (%s), want %v and %s", c.name, back, j.Verdict, j.Reason, c.back, c.want)
		}
	}
}

// The last look of the window still saw something, and snapshot F did not: the rest may go
// until its bound is over. What F still has is a leak already, and nobody waits.
func TestWhatIsGoneInFMayReturn(t *testing.T) {
	b := restless(time.Time{})
	held := restless(time.Time{})
	held.Sockets = append(held.Sockets, record.Socket{FD: 8, Inode: 108, State: "ESTABLISHED", Local: "10.0.0.1:4443", Remote: "10.0.0.2:40000"})
	held.FDs = append(held.FDs, record.FD{Number: 8, Target: "socket:[108]", Inode: 108})
	lingers := restless(time.Time{}, "linger")
	for _, c := range []struct {
		name  string
		f     record.Sample
		looks []record.Sample
		back  []bool
	}{
		{"gone in F", b, []record.Sample{lingers, lingers, b, b}, []bool{false, false, false, true}},
		{"held in F", held, []record.Sample{lingers, lingers}, []bool{false, true}},
	} {
		r := &round{outcome: record.Outcome{Returned: -1}, snapshots: map[string]*leak.Snapshots{"server": {B: b, E: held, F: c.f}}}
		for i, g := range c.looks {
			if back := r.settles("server", g); back != c.back[i] {
				t.Errorf("%s: look %d: back %v, want %v", c.name, i, back, c.back[i])
			}
		}
		want := record.Leak
		if c.name == "gone in F" {
			want = record.Late
		}
		j := leak.Judge(leak.Round{Fault: record.Fault{Name: "kill -9", Bit: true, Exposures: 1}, Window: record.Window{Upper: 5, Deadline: 6.1, Last: 15},
			Settle: record.Window{Deadline: 4.1, Last: 13}, Processes: []leak.Snapshots{*r.snapshots["server"]},
			Outcome: record.Outcome{Judged: []string{"server"}, Returned: -1, First: -1, SettledAfter: 1}})
		if j.Verdict != want {
			t.Errorf("%s: %s (%s), want %s", c.name, j.Verdict, j.Reason, want)
		}
	}
}
