package leak

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

func TestWorst(t *testing.T) {
	for _, c := range []struct {
		want record.Verdict
		of   []record.Verdict
	}{
		{record.Inconclusive, nil},
		{record.Inconclusive, []record.Verdict{record.Skipped, record.Skipped}},
		{record.Pass, []record.Verdict{record.Skipped, record.Pass}},
		{record.Inconclusive, []record.Verdict{record.Pass, record.Inconclusive}},
		{record.Late, []record.Verdict{record.Inconclusive, record.Late, record.Pass}},
		{record.Dead, []record.Verdict{record.Late, record.Dead}},
		{record.Leak, []record.Verdict{record.Dead, record.Leak, record.Pass}},
	} {
		if got := Worst(c.of...); got != c.want {
			t.Errorf("worst of %v is %s, want %s", c.of, got, c.want)
		}
	}
}

func TestExitCode(t *testing.T) {
	for v, want := range map[record.Verdict]int{record.Pass: 0, record.Leak: 1, record.Late: 1, record.Dead: 1, record.Inconclusive: 3} {
		if got := ExitCode(v); got != want {
			t.Errorf("exit code of %s is %d, want %d", v, got, want)
		}
	}
}

func verdict(spec string, cycle int, v record.Verdict, exposures int) record.Event {
	return record.Event{Kind: record.KindVerdict, Spec: spec, Cycle: cycle, Verdict: &record.Judgement{
		Verdict: v, Reason: "because of " + spec, Exposures: exposures, FaultEvents: 1,
	}}
}

func TestSummarize(t *testing.T) {
	clean := []record.Event{
		{Kind: record.KindRun, Run: &record.Run{Target: "tunnel", Seed: 5, Command: "scripts/soak"}},
		verdict("1-1", 0, record.Pass, 24), verdict("2-1", 0, record.Skipped, 0),
		verdict("3-1", 1, record.Pass, 24), verdict("3-1", 2, record.Pass, 24),
		{Kind: record.KindFinish, Finish: &record.Finish{Reason: "done", Duration: 60}},
	}
	s := Summarize(clean)
	if s.Verdict != record.Pass || s.ExitCode != 0 || s.Exposures != 72 || s.FaultEvents != 3 || s.Cycles != 2 || s.Duration != 60 {
		t.Errorf("summary is %+v", s)
	}
	if s.Specs[record.Pass] != 2 || s.Specs[record.Skipped] != 1 {
		t.Errorf("specs are %v, want 2 PASS and 1 SKIPPED", s.Specs)
	}
	if len(s.Bounds) != 2 || math.Abs(s.Bounds[0].Value-3.0/72) > 0.002 {
		t.Errorf("bounds are %+v, want about 3/72 per exposure first", s.Bounds)
	}
	s = Summarize(append(clean, verdict("3-1", 3, record.Leak, 24)))
	if s.Verdict != record.Leak || s.Reason != "because of 3-1" || len(s.Bounds) != 0 {
		t.Errorf("summary of a leak is %+v: want its reason, and no bound", s)
	}
	if s.Specs[record.Leak] != 1 || s.Specs[record.Pass] != 1 {
		t.Errorf("specs are %v: a soak counts once, with its worst cycle", s.Specs)
	}
	// One cycle in ten may be starved: it is left out, and said to be. More are too many.
	starve := func(events []record.Event, cycle int) []record.Event {
		e := verdict("3-1", cycle, record.Inconclusive, 24)
		e.Verdict.Starved = true
		return append(slices.Clone(events), e)
	}
	ten := slices.Clone(clean)
	for cycle := 3; cycle < 10; cycle++ {
		ten = append(ten, verdict("3-1", cycle, record.Pass, 24))
	}
	ten = starve(ten, 10)
	s = Summarize(ten)
	if s.Verdict != record.Pass || s.Exposures != 24+9*24 || s.Cycles != 10 || s.Specs[record.Pass] != 2 || s.Statements[0].Text != "1 of 10 cycles are left out: the machine itself stood still" {
		t.Errorf("summary with a starved cycle is %+v", s)
	}
	s = Summarize(starve(ten, 11))
	if s.Verdict != record.Inconclusive || s.ExitCode != 3 || s.Specs[record.Inconclusive] != 1 || !strings.HasPrefix(s.Reason, "the machine itself stood still in 2 of 11 cycles, more than a tenth; the first: because of 3-1") {
		t.Errorf("summary with two starved cycles is %+v", s)
	}
	if s = Summarize(append(ten, verdict("3-1", 11, record.Leak, 24))); s.Verdict != record.Leak {
		t.Errorf("a leak beside a starved cycle: %s", s.Verdict)
	}
	// A story that is starved has no other cycle that speaks for it.
	story := verdict("5-1", 0, record.Inconclusive, 24)
	story.Verdict.Starved = true
	if s = Summarize(append(slices.Clone(clean), story)); s.Verdict != record.Inconclusive {
		t.Errorf("a starved story: %s", s.Verdict)
	}
	// What was not judged excludes nothing.
	s = Summarize([]record.Event{verdict("1-1", 0, record.Inconclusive, 24)})
	if s.Verdict != record.Inconclusive || s.Exposures != 0 || len(s.Bounds) != 0 {
		t.Errorf("summary without a judged spec is %+v", s)
	}
	// A detector that missed a known leak proves nothing by a pass; a leak stays one.
	blind := record.Event{Kind: record.KindCheck, Check: &record.Check{Error: "missed it"}}
	s = Summarize(append(slices.Clone(clean), blind))
	if s.Verdict != record.Inconclusive || !strings.Contains(s.Reason, "missed it") || len(s.Bounds) != 0 {
		t.Errorf("summary of a blind detector is %+v", s)
	}
	if s = Summarize(append(slices.Clone(clean), blind, verdict("4-1", 0, record.Leak, 1))); s.Verdict != record.Leak {
		t.Errorf("summary of a leak seen by a blind detector is %+v", s)
	}
	// A spec that ended badly, without a verdict or after a PASS, is no part of a pass.
	ended := func(spec, state string) record.Event {
		return record.Event{Kind: record.KindEnd, Spec: spec, End: &record.End{State: state, Failure: "it took too long"}}
	}
	for _, c := range []struct {
		spec, state string
		want        record.Verdict
	}{
		{"5-1", "timedout", record.Inconclusive}, {"5-1", "panicked", record.Inconclusive}, {"1-1", "failed", record.Inconclusive},
		{"1-1", "passed", record.Pass}, {"2-1", "skipped", record.Pass}, {"5-1", "interrupted", record.Pass},
	} {
		s := Summarize(append(slices.Clone(clean), ended(c.spec, c.state)))
		if s.Verdict != c.want || s.ExitCode != ExitCode(c.want) || (c.want != record.Pass && !strings.Contains(s.Reason, "it took too long")) {
			t.Errorf("a spec that ended %s: %s, exit %d, %q, want %s", c.state, s.Verdict, s.ExitCode, s.Reason, c.want)
		}
	}
	if s := Summarize(append(slices.Clone(clean), verdict("4-1", 0, record.Leak, 1), ended("4-1", "failed"))); s.Verdict != record.Leak {
		t.Errorf("a leak whose spec failed, as it must: %+v", s)
	}
	// A suite that failed is no pass where no verdict says why, in a merged record neither.
	failed := slices.Clone(clean)
	failed[len(failed)-1].Finish = &record.Finish{Reason: "done", Duration: 60, Failed: true}
	if s = Summarize(failed); s.Verdict != record.Inconclusive || s.ExitCode != 3 || !strings.Contains(s.Reason, "no verdict explains") {
		t.Errorf("summary of a suite that failed for no reason is %+v", s)
	}
	if s = Summarize(append(failed, verdict("4-1", 0, record.Leak, 1))); s.Verdict != record.Leak || s.Reason != "because of 4-1" {
		t.Errorf("summary of a suite that failed for a leak is %+v", s)
	}
	failed[0].Run = &record.Run{Target: "tunnel", Seed: 6}
	merged, err := Merge([]Source{{"runs/a", clean}, {"runs/b", failed}}, "")
	if err != nil {
		t.Fatal(err)
	}
	if s = Summarize(merged); s.Verdict != record.Inconclusive || !strings.Contains(s.Reason, "no verdict explains") {
		t.Errorf("summary of a merged record is %+v", s)
	}
	if s = Summarize(nil); s.Verdict != record.Inconclusive || s.ExitCode != 3 {
		t.Errorf("summary of nothing is %+v", s)
	}
}
