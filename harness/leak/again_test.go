package leak

import (
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

// A cycle that was judged and then doubted, for the clock of the machine jumped, is one
// round with two verdicts: only the first is the judge's.
func TestDoubtIsNotJudgedAgain(t *testing.T) {
	r := healthy()
	p, o := r.Processes[0], r.Outcome
	o.Judged = []string{"server"}
	events := []record.Event{{Run: &record.Run{}}}
	add := func(e record.Event) {
		e.Spec, e.Cycle = "soak", 1
		events = append(events, e)
	}
	add(record.Event{Snapshot: &record.Snapshot{Label: record.Baseline, Sample: p.B}})
	add(record.Event{Snapshot: &record.Snapshot{Label: record.Exposed, Sample: p.E}})
	add(record.Event{Window: &r.Window})
	add(record.Event{Fault: &r.Fault})
	add(record.Event{Snapshot: &record.Snapshot{Label: record.WindowEnd, Sample: p.F}})
	add(record.Event{Snapshot: &record.Snapshot{Label: record.Settled, Sample: p.G}})
	add(record.Event{Outcome: &o})
	add(record.Event{Verdict: &record.Judgement{Verdict: record.Pass}})
	add(record.Event{Verdict: &record.Judgement{Verdict: record.Inconclusive, Reason: "the clock jumped"}})
	// The next cycle's floor is its own B, not G of one that was doubted.
	events = append(events, record.Event{Spec: "soak", Cycle: 2, Snapshot: &record.Snapshot{Label: record.Baseline, Sample: p.B}},
		record.Event{Spec: "soak", Cycle: 2, Outcome: &o}, record.Event{Spec: "soak", Cycle: 2, Verdict: &record.Judgement{Verdict: record.Pass}})
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
