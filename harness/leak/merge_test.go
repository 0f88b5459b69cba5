package leak

import (
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

// source is a soak of n cycles with a seed; cut takes away its end, and puts a round
// there that was under way.
func source(name string, n int, seed int64, cut bool) Source {
	events := soakRecord(n, nil)
	events[0].Run.Seed, events[0].Run.Environment.Kernel = seed, "6.18"
	if cut {
		last := events[len(events)-1]
		events = append(events[:len(events)-1],
			record.Event{At: last.At, Kind: record.KindFault, Spec: "1-1", Cycle: n + 1, Fault: &record.Fault{Name: "kill -9", Phase: "injected"}},
			record.Event{At: last.At, Kind: record.KindFault, Spec: "1-2", Fault: &record.Fault{Name: "kill -9", Phase: "injected"}})
	}
	return Source{name, events}
}

func TestMerge(t *testing.T) {
	a, b := source("runs/a", 40, 1, true), source("runs/b", 60, 2, false)
	if alone := Summarize(a.Events); alone.Verdict != record.Inconclusive || alone.Exposures != 800 {
		t.Errorf("a killed run: %s, %d exposures", alone.Verdict, alone.Exposures)
	}
	if err := Belong([]Source{a, b}); err != nil {
		t.Fatal(err)
	}
	events, err := Merge([]Source{a, b}, "leakreport merge a b")
	if err != nil {
		t.Fatal(err)
	}
	s := Summarize(events)
	if s.Verdict != record.Pass || s.Exposures != 2000 || s.FaultEvents != 100 || s.Cycles != 100 {
		t.Errorf("%s (%s), %d exposures, %d faults, %d cycles", s.Verdict, s.Reason, s.Exposures, s.FaultEvents, s.Cycles)
	}
	for i, want := range []string{
		"merged from 2 runs: exposures and fault events add up, each memory series starts anew; one was cut off, and counts as far as it had judged",
		"NO LEAK sockets, fds, goroutines: 0 in 2000 exposures; a leak of 1 in 668 or more",
		"NO LEAK sockets, fds, goroutines: 0 in 100 fault events",
		"server: heap: not stated: needs 20 more cycles", // of the longer of two, not of both together
	} {
		if i >= len(s.Statements) || !strings.HasPrefix(s.Statements[i].Text, want) {
			t.Errorf("statement %d of %q, want %q", i, texts(s.Statements), want)
		}
	}
	c := source("runs/c", 40, 3, true)
	if events, err = Merge([]Source{a, b, c}, ""); err != nil {
		t.Fatal(err)
	}
	if got := Summarize(events).Statements[0].Text; !strings.HasSuffix(got, "; 2 were cut off, and count as far as they had judged") {
		t.Errorf("two of three were cut off: %q", got)
	}
	// A leak in one of them is a leak of all, with its evidence.
	for i := range b.Events {
		if v := b.Events[i].Verdict; v != nil && b.Events[i].Cycle == 30 {
			leak := *v
			leak.Verdict, leak.Reason = record.Leak, "held"
			b.Events[i].Verdict = &leak
		}
	}
	b.Events = append(b.Events, record.Event{Kind: record.KindPoint, Spec: "1-1", Cycle: 30, Point: &record.Point{}},
		record.Event{Kind: record.KindPoint, Spec: "1-1", Cycle: 31, Point: &record.Point{}})
	if events, err = Merge([]Source{a, b}, ""); err != nil {
		t.Fatal(err)
	}
	points := 0
	for _, e := range events {
		if e.Point != nil {
			points += e.Cycle
		}
	}
	if s := Summarize(events); s.Verdict != record.Leak || len(s.Bounds) != 0 || points != 30 {
		t.Errorf("%s with bounds %v; points of cycles that add up to %d", s.Verdict, s.Bounds, points)
	}
}

func TestBelong(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*record.Run)
		want   string
	}{
		"another target":   {func(r *record.Run) { r.TargetHash = "0123456789abcdef" }, "merge b: the target's file differs from that of a: 0123456789ab"},
		"other settings":   {func(r *record.Run) { r.Settings.UserTimeout = 9 }, "settings"},
		"another kernel":   {func(r *record.Run) { r.Environment.Kernel = "5.4" }, "merge b: the kernel differs from that of a: 5.4, not 6.18"},
		"another build":    {func(r *record.Run) { r.Environment.Commit = "abc" }, "merge b: the commit that the programs were built from differs from that of a: abc, not none"},
		"a leak planted":   {func(r *record.Run) { r.Mutant = "slow-close" }, "planted leak"},
		"the same seed":    {func(r *record.Run) { r.Seed = 1 }, "merge b: a has the same seed 1"},
		"nothing (belong)": {func(*record.Run) {}, ""},
	} {
		a, b := source("a", 3, 1, false), source("b", 3, 2, false)
		c.change(b.Events[0].Run)
		err := Belong([]Source{a, b})
		if c.want == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if err := Belong([]Source{source("a", 3, 1, false)}); err == nil {
		t.Error("one run is merged")
	}
	if err := Belong([]Source{source("a", 3, 1, false), {"b", nil}}); err == nil || !strings.Contains(err.Error(), "merge b: its record has no head") {
		t.Errorf("a record without a head: %v", err)
	}
}
