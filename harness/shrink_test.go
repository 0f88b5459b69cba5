package harness

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/record"
)

func thirty() (s fault.Schedule) {
	for i := range 30 {
		s.Steps = append(s.Steps, fault.Step{Fault: "blackhole", Start: time.Duration(i) * time.Second, For: 80 * time.Millisecond})
	}
	return s
}

// A trial is red if it comes to the verdict of the whole; another one is another finding.
// What is INCONCLUSIVE is played once more.
func TestShrinkingKeepsItsVerdict(t *testing.T) {
	matters := thirty().Steps[11]
	stood := 0
	x := shrinking{play: func(part fault.Schedule, _ string) (t trial) {
		t.Verdict = record.Dead // a part is dead without it, which is not the leak
		if slices.ContainsFunc(part.Steps, func(s fault.Step) bool { return s.Start == matters.Start }) {
			t.Verdict = record.Leak
			if stood++; stood%2 == 0 {
				t.Verdict = record.Inconclusive
			}
		}
		return t
	}}
	left, err := x.shrunk(t.Context(), thirty())
	if err != nil || len(left.Steps) != 1 || left.Steps[0].Start != matters.Start {
		t.Fatalf("left are %v (%v)", left.Steps, err)
	}
	if x.found.Verdict != record.Leak || len(x.found.Before.Steps) != 30 {
		t.Errorf("found %+v", x.found)
	}
	for _, tr := range x.found.Trials {
		if tr.Red != (tr.Verdict == record.Leak) {
			t.Errorf("%+v", tr)
		}
	}
}

func TestNothingToShrink(t *testing.T) {
	for _, v := range []record.Verdict{record.Pass, record.Inconclusive, record.Skipped} {
		x := shrinking{play: func(fault.Schedule, string) (t trial) { t.Verdict = v; return t }}
		if _, err := x.shrunk(t.Context(), thirty()); err == nil || !strings.Contains(err.Error(), "nothing to shrink: the whole schedule is "+string(v)) {
			t.Errorf("%s: %v", v, err)
		}
	}
}

func TestShrinkingEndsWhenInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	x := shrinking{play: func(fault.Schedule, string) (t trial) {
		if n++; n == 4 {
			cancel()
		}
		t.Verdict = record.Leak
		return t
	}}
	left, err := x.shrunk(ctx, thirty())
	if err == nil || n != 4 || len(left.Steps) >= 30 || len(left.Steps) == 0 {
		t.Errorf("left are %d steps after %d trials (%v)", len(left.Steps), n, err)
	}
}

// What ends a trial early ends neither its clean-ups nor the spec.
func TestTrialEndsAlone(t *testing.T) {
	var order []string
	tr := &trialT{}
	tr.run(func() {
		tr.Cleanup(func() { order = append(order, "first") })
		tr.Cleanup(func() { tr.Fatalf("take down: no") })
		tr.Cleanup(func() { order = append(order, "last") })
		tr.Fatalf("LEAK: %d things\n  where: server: here", 3)
		order = append(order, "went on")
	})
	if !slices.Equal(order, []string{"last", "first"}) || !strings.HasPrefix(tr.said, "LEAK: 3 things") {
		t.Errorf("ran %v, said %q", order, tr.said)
	}
	if got := brief(tr.said); got != "server: here" {
		t.Errorf("in brief: %q", got)
	}
	if got := brief("DEAD: no service\n  report: x"); got != "no service" {
		t.Errorf("in brief: %q", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a real panic was swallowed")
		}
	}()
	(&trialT{}).run(func() { panic("real") })
}
