package reports

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

// starvedRun is a clean soak of n cycles, in some of which the machine itself stood still.
func starvedRun(t *testing.T, n int, still ...int) *recordBuilder {
	b := soakRun(t, n)
	for _, e := range b.events {
		if e.Verdict != nil && slices.Contains(still, e.Cycle) {
			e.Verdict.Verdict, e.Verdict.Starved, e.Verdict.Returned = record.Inconclusive, true, -1
			e.Verdict.Reason = fmt.Sprintf("this machine let threads wait for 2.%d s", e.Cycle)
		}
	}
	return b
}

// What the summary leaves out of a soak is left out by the page, by JUnit and by the page of
// all runs, too; what it does not, by none of them.
func TestStarvedCycles(t *testing.T) {
	const left = "1 of 10 cycles are left out: the machine itself stood still"
	for name, c := range map[string]struct {
		b           *recordBuilder
		spec, run   record.Verdict
		errors      int
		says, index string
	}{
		"one of ten":    {starvedRun(t, 10, 4), record.Pass, record.Pass, 0, "nothing outlived its window: 216 connections went through 9 faults", "✓"},
		"two of eleven": {starvedRun(t, 11, 4, 5), record.Inconclusive, record.Inconclusive, 1, "the machine itself stood still in 2 of 11 cycles, more than a tenth; the first: this machine let threads wait for 2.4 s", "?"},
	} {
		dir := c.b.write()
		s, page := mustWrite(t, dir)
		check(t, page)
		if s.Verdict != c.run || s.Reason != c.says || len(s.Results) != 1 || s.Results[0].Verdict != c.spec || s.Specs[c.spec] != 1 {
			t.Errorf("%s: the summary is %+v", name, s)
		}
		if strings.Contains(text(page), "cycle 4 cycle 4") {
			t.Errorf("%s: the legend names a cycle twice", name)
		}
		var junit junitRun
		if err := xml.Unmarshal([]byte(read(t, dir, JUnitName)), &junit); err != nil {
			t.Fatal(err)
		}
		if junit.Suites[0].Errors != c.errors || junit.Suites[0].Failures != 0 {
			t.Errorf("%s: JUnit counts %d errors, %d failures", name, junit.Suites[0].Errors, junit.Suites[0].Failures)
		}
		if (c.errors == 0) != strings.Contains(text(page), left) || !strings.Contains(page, "this machine let threads wait for 2.4 s") {
			t.Errorf("%s: what is left out, or the cycle's own sentence, is not as it must be", name)
		}
		m := matrixOf("tunnel", []indexed{{name: "20261120-093000-soak", summary: s}})
		if got := m.Rows[0].Cells[0].Word.Sign; got != c.index {
			t.Errorf("%s: the page of all runs shows %s, want %s", name, got, c.index)
		}
	}
}

// A run that is inconclusive for a reason of its own tells that, and not what is left out.
func TestReasonBesideAStarvedCycle(t *testing.T) {
	b := starvedRun(t, 10, 4)
	b.events[0].Run.Require = []string{"heap"}
	s, page := mustWrite(t, b.write())
	if s.Verdict != record.Inconclusive || !strings.HasPrefix(s.Reason, "heap: not stated") || !strings.Contains(page, "</span>INCONCLUSIVE: heap: not stated") {
		t.Errorf("the run is %s: %s", s.Verdict, s.Reason)
	}
}

// A soak that failed for what no verdict tells is no pass because a cycle is left out.
func TestFailureBesideAStarvedCycle(t *testing.T) {
	b := starvedRun(t, 10, 4)
	for _, e := range b.events {
		if e.End != nil {
			e.End.State, e.End.Failure = "panicked", "nil map"
		}
	}
	if s, _ := mustWrite(t, b.write()); s.Results[0].Verdict != record.Inconclusive || !strings.Contains(s.Reason, "nil map") {
		t.Errorf("the spec is %s: %s", s.Results[0].Verdict, s.Reason)
	}
}
