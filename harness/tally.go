package harness

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
)

// tally is where a soak stands.
type tally struct {
	exposures, faults int
	bad               map[record.Verdict]int // cycles that were not PASS
	readings          []record.Event
	end               time.Time
	cycle             int // the last one
	starved           int // cycles that the machine stood still in

	profile               []byte // of the server's heap, after the cycle profiled
	profiled, profiledPID int
}

// grows says whether the server's heap is found to leak, or may.
func (t *tally) grows() bool {
	for _, x := range leak.Statements(t.readings, false, 0, 0) {
		if x.Role == "server" && x.Resource == leak.Heap && (x.Verdict == record.Leak || x.Verdict == record.Inconclusive) {
			return true
		}
	}
	return false
}

// line tells one cycle in one line, and what the soak excludes so far.
func (t *tally) line(cycle int, r *round, j record.Judgement, took time.Duration) string {
	gone := fmt.Sprintf("gone after %4.1f s", j.Returned)
	switch {
	case j.Returned < 0 && j.Verdict == record.Pass:
		gone = "none may be lost" // a fault that must be survived
	case j.Returned < 0:
		gone = "NOT GONE        "
	}
	what := fmt.Sprintf("%s at %s, %s", r.fault.Name, r.fault.Place, r.traffic)
	line := fmt.Sprintf("cycle %3d  %-12s  %-41s  %3d exposed, %s  %4.1f s  | %s, %d faults, %s left",
		cycle, j.Verdict, what, j.Exposures, gone, took.Seconds(), t.bounds(), t.faults, max(0, time.Until(t.end)).Round(time.Second))
	if j.Verdict != record.Pass {
		line += "\n           " + j.Reason
	}
	return line
}

// bounds are what the soak excludes so far, in a few words: "5020 exposures: < 1 in
// 1675; heap < 230 B".
func (t *tally) bounds() string {
	text := fmt.Sprintf("%5d exposures", t.exposures)
	for _, x := range leak.Statements(t.readings, len(t.bad) == 0, t.exposures, t.faults) {
		switch {
		case x.Limit != nil && x.Limit.Per == "exposure":
			text += fmt.Sprintf(": < 1 in %d", int(1/x.Limit.Value)) // rounded so that more is not claimed
		case x.Role != "server" || x.Resource != leak.Heap && x.Verdict != record.Leak:
		case x.Limit != nil:
			text += fmt.Sprintf("; heap < %s a cycle", leak.Bytes(x.Limit.Value))
		case x.Verdict == record.Leak:
			text += "; LEAK " + x.Resource
		case x.Verdict == record.Inconclusive:
			text += "; heap open"
		}
	}
	return text
}

// observed says what it cost the target to be read.
func (t *tally) observed() string {
	var took []float64
	for _, e := range t.readings {
		took = append(took, e.Reading.Took)
	}
	if len(took) == 0 {
		return "no cycle came to its end"
	}
	slices.Sort(took)
	return strings.TrimSpace(fmt.Sprintf("reading a process's memory took %.0f ms (median; %.0f ms at most), once a cycle, at rest", 1e3*took[len(took)/2], 1e3*took[len(took)-1]))
}
