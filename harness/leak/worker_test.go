package leak

import (
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

// A goroutine that came with the visits and is still there: a worker back in its pool is
// none, unless there are more of them than before; one that stands where nothing stood at
// rest is parked.
func TestWorkersAndParkedHandlers(t *testing.T) {
	idle := func(id int64, labels map[string]string) func(*record.Sample) {
		return goroutine(id, "chan receive", labels, own+"(*pool).worker")
	}
	serving := func(id int64, labels map[string]string) func(*record.Sample) {
		return goroutine(id, "IO wait", labels, "internal/poll.(*FD).Read", own+"serve", own+"(*pool).worker")
	}
	parked := func(id int64, labels map[string]string) func(*record.Sample) {
		return goroutine(id, "select (no cases)", labels, own+"serve", own+"(*pool).worker")
	}
	apart := func(id int64, name string) func(*record.Sample) { // a session over another path
		peer := "10.9.0.1:400" + name
		return func(s *record.Sample) {
			socket(int(id), uint64(id), "10.9.0.2:4443", peer, "ESTABLISHED")(s)
			serving(id, map[string]string{"session": name, "peer": peer})(s)
		}
	}
	listens := func(name string) map[string]string {
		return map[string]string{"session": name, "peer": "[::]:7001"}
	}
	type adds = []func(*record.Sample)
	for _, c := range []struct {
		name       string
		b, e, f, g adds
		verdict    record.Verdict
		says       string
	}{
		{"a worker that was born for the visit is back in the pool, another has retired",
			adds{idle(30, nil)}, adds{idle(30, nil), serving(31, nil)}, adds{idle(31, nil)}, adds{idle(31, nil)}, record.Pass, ""},
		{"the same, and it was idle in E, too",
			adds{idle(30, nil)}, adds{idle(30, nil), idle(31, nil)}, adds{idle(31, nil)}, adds{idle(31, nil)}, record.Pass, ""},
		{"a worker that had a label while it served",
			adds{idle(30, nil)}, adds{idle(30, nil), serving(31, named("1"))}, adds{idle(31, nil)}, adds{idle(31, nil)}, record.Pass, ""},
		{"a worker serves another session now",
			adds{idle(30, nil)}, adds{idle(30, nil), serving(31, named("1"))}, adds{idle(30, nil), serving(31, named("2"))}, adds{idle(30, nil)}, record.Pass, ""},
		{"the pool has grown",
			adds{idle(30, nil)}, adds{idle(30, nil), serving(31, nil)}, adds{idle(30, nil), idle(31, nil)}, adds{idle(30, nil), idle(31, nil)}, record.Leak, "1 goroutine outlived"},
		{"a worker is parked in its handler",
			adds{idle(30, nil)}, adds{idle(30, nil), serving(31, nil)}, adds{idle(30, nil), parked(31, nil)}, adds{idle(30, nil), parked(31, nil)}, record.Leak, "1 goroutine outlived"},
		{"a worker is parked in its handler, and gone by G",
			adds{idle(30, nil)}, adds{idle(30, nil), serving(31, nil)}, adds{idle(30, nil), parked(31, nil)}, adds{idle(30, nil)}, record.Leak, "1 goroutine outlived"},
		{"a handler is parked where another was parked before",
			adds{parked(30, nil)}, adds{parked(30, nil), serving(31, nil)}, adds{parked(30, nil), parked(31, nil)}, adds{parked(30, nil), parked(31, nil)}, record.Leak, "1 goroutine outlived"},
		{"a handler of the dead session stands where those of living ones do",
			adds{serving(30, named("1"))}, adds{serving(30, named("1")), serving(31, named("1"))}, adds{serving(31, named("1"))}, adds{serving(32, named("2"))}, record.Leak, "1 goroutine outlived"},
		{"a session that is not on the path came in the place of another",
			adds{apart(30, "1")}, adds{apart(30, "1"), apart(31, "2")}, adds{apart(31, "2")}, adds{apart(31, "2")}, record.Pass, ""},
		{"one came beside another",
			adds{apart(30, "1")}, adds{apart(30, "1"), apart(31, "2")}, adds{apart(30, "1"), apart(31, "2")}, adds{apart(30, "1")}, record.Leak, "1 goroutine outlived"},
		{"what a login that came with the fault listens with stands where another's did, and is gone by G",
			adds{serving(30, listens("1"))}, adds{serving(31, listens("2"))}, adds{serving(31, listens("2"))}, adds{serving(32, listens("3"))}, record.Leak, "1 goroutine outlived"},
		{"the same without labels is for the counts to see",
			adds{serving(30, nil)}, adds{serving(30, nil), serving(31, nil)}, adds{serving(31, nil)}, adds{serving(31, nil), serving(32, nil)}, record.Leak, "server goroutines +1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := healthy()
			r.Fault.Peers = map[string][]string{"server": {"10.0.0.2"}}
			r.Processes = []Snapshots{{
				B: holdings(0, append(adds{session(8, 108, 18, "0")}, c.b...)...),
				E: holdings(1, append(adds{session(8, 108, 18, "0")}, c.e...)...),
				F: holdings(6, c.f...),
				G: holdings(8, append(adds{session(8, 208, 28, "9")}, c.g...)...),
			}}
			j := Judge(r)
			if j.Verdict != c.verdict || !strings.Contains(j.Reason, c.says) {
				t.Errorf("verdict is %s (%s), want %s that says %q", j.Verdict, j.Reason, c.verdict, c.says)
			}
		})
	}
}
