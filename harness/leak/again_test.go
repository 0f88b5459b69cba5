package leak

import (
	"slices"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

// cycle is one round of a soak as its record has it.
func cycle(n int, r Round, v record.Verdict) []record.Event {
	p, o := r.Processes[0], r.Outcome
	o.Judged = []string{"server"}
	events := []record.Event{
		{Snapshot: &record.Snapshot{Label: record.Baseline, Sample: p.B}},
		{Snapshot: &record.Snapshot{Label: record.Exposed, Sample: p.E}},
		{Window: &r.Window},
		{Fault: &r.Fault},
		{Snapshot: &record.Snapshot{Label: record.WindowEnd, Sample: p.F}},
		{Snapshot: &record.Snapshot{Label: record.Unsettled, Sample: p.U}},
		{Snapshot: &record.Snapshot{Label: record.Settled, Sample: p.G}},
		{Outcome: &o},
		{Verdict: &record.Judgement{Verdict: v, Returned: o.Returned, Exposures: r.Fault.Exposures}},
	}
	for i := range events {
		events[i].Spec, events[i].Cycle = "soak", n
	}
	return events
}

// What crept in between two cycles is a leak of the later one; the first was a pass, and
// a merged record has no snapshots of it but those that the second is judged by.
func TestMergedRoundsAreJudgedAgain(t *testing.T) {
	crept := healthy()
	late := goroutine(40, "select (no cases)", nil, own+"late")
	for _, s := range []*record.Sample{&crept.Processes[0].B, &crept.Processes[0].E, &crept.Processes[0].F, &crept.Processes[0].G} {
		late(s)
	}
	source := func(seed int64) Source {
		events := []record.Event{{Run: &record.Run{Seed: seed, Settings: testSettings}}}
		events = append(events, cycle(1, healthy(), record.Pass)...)
		events = append(events, cycle(2, healthy(), record.Pass)...)
		events = append(events, cycle(3, crept, record.Leak)...)
		return Source{"a", append(events, record.Event{Finish: &record.Finish{}})}
	}
	merged, err := Merge([]Source{source(1), source(2)}, "")
	if err != nil {
		t.Fatal(err)
	}
	var whole []bool
	for _, c := range Cases(merged) {
		whole = append(whole, c.Whole())
		if c.Whole() {
			if j := Judge(c.Round); j.Verdict != record.Leak || c.Cycle != 3 {
				t.Errorf("cycle %d is %s: %s", c.Cycle, j.Verdict, j.Reason)
			}
		}
		if c.Round.Outcome.Returned != 5 {
			t.Errorf("cycle %d was back after %v s", c.Cycle, c.Round.Outcome.Returned)
		}
	}
	if want := []bool{false, false, true, false, false, true}; !slices.Equal(whole, want) {
		t.Errorf("rounds that can be judged again: %v, want %v", whole, want)
	}
	for _, c := range Cases(source(1).Events) {
		if !c.Whole() {
			t.Errorf("cycle %d of a record that was not merged cannot be judged", c.Cycle)
		}
	}
}

// What an INCONCLUSIVE cycle leaves behind is the next one's: its floor is that of the last
// PASS. What a cycle with a finding holds is not found again in each that follows.
func TestFloorIsCarriedOver(t *testing.T) {
	for between, want := range map[record.Verdict]int{record.Inconclusive: 1, record.Leak: 0, record.Late: 0, record.Dead: 0} {
		clean, left := healthy(), healthy()
		for _, s := range []*record.Sample{&left.Processes[0].B, &left.Processes[0].E, &left.Processes[0].F, &left.Processes[0].G} {
			s.FDs = append(slices.Clone(s.FDs), record.FD{Number: 99, Target: "/left"})
		}
		events := append([]record.Event{{Run: &record.Run{}}}, cycle(1, clean, record.Pass)...)
		events = append(events, cycle(2, left, between)...)
		events = append(events, cycle(3, left, record.Pass)...)
		last := Cases(events)[2]
		rows, _ := last.Round.Processes[0].Excesses()
		bad := 0
		for _, r := range rows {
			if !r.OK {
				bad++
			}
		}
		if bad != want {
			t.Errorf("after %s: %d rows above the floor, want %d: %+v", between, bad, want, rows)
		}
	}
}

// A cycle that was judged and then doubted, for the clock of the machine jumped, is one
// round with two verdicts: only the first is the judge's.
func TestDoubtIsNotJudgedAgain(t *testing.T) {
	r := healthy()
	events := append([]record.Event{{Run: &record.Run{}}}, cycle(1, r, record.Pass)...)
	events = append(events, record.Event{Spec: "soak", Cycle: 1, Verdict: &record.Judgement{Verdict: record.Inconclusive, Reason: "the clock jumped"}})
	// The next cycle's floor is its own B, not G of one that was doubted.
	events = append(events, cycle(2, r, record.Pass)...)
	cases := Cases(events)
	if len(cases) != 2 {
		t.Fatalf("%d rounds, want 2", len(cases))
	}
	if d := cases[0].Difference(); d != "" {
		t.Error(d)
	}
	if got := cases[1].Round.Processes[0].Before.PID; got != 0 {
		t.Errorf("the floor is that of a doubted cycle, of pid %d", got)
	}
}

// What a process of which the counts still moved had in its look before G is in the record:
// it is judged again as it was.
func TestWhatStillMovedIsJudgedAgain(t *testing.T) {
	for _, c := range []struct {
		before string
		want   record.Verdict
	}{{"x", record.Inconclusive}, {"y", record.Leak}} {
		r := healthy()
		p := &r.Processes[0]
		p.U = holdings(7.9, session(8, 208, 28, "2"), goroutine(40, "running", nil, own+c.before))
		p.G = holdings(8, session(8, 208, 28, "2"), goroutine(40, "running", nil, own+"y"))
		r.Outcome.SettledAfter = -1
		events := append([]record.Event{{Run: &record.Run{Settings: testSettings}}}, cycle(1, r, c.want)...)
		cases := Cases(events)
		if len(cases) != 1 || Judge(cases[0].Round).Verdict != c.want || cases[0].Difference() != "" {
			t.Errorf("%s, then y: %s, want %s", c.before, Judge(cases[0].Round).Verdict, c.want)
		}
	}
}
