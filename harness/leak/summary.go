package leak

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/halfopen/halfopen/harness/record"
)

// Confidence of every bound that a run states.
const Confidence = 0.95

// Summarize is the summary of a whole record. Report is left empty: it is the
// renderer's to name.
func Summarize(events []record.Event) record.Summary {
	s := record.Summary{Specs: map[record.Verdict]int{}}
	var all []record.Verdict
	var first *record.Judgement
	failedCheck, finished, failed := "", false, false
	var required []string
	cycles := map[string]int{}
	type cycle struct {
		spec string
		n    int
	}
	judged := map[cycle]record.Judgement{}
	bySpec := map[string]record.Verdict{}
	var seen []string
	count := func(id string, v record.Verdict) {
		all = append(all, v)
		if old, ok := bySpec[id]; ok {
			v = Worst(old, v)
		} else {
			seen = append(seen, id)
		}
		bySpec[id] = v
	}
	names := map[string]string{}
	starved := map[string][]*record.Judgement{} // cycles of a soak, by spec
	for _, e := range events {
		switch {
		case e.Run != nil:
			s.Target, s.Mutant, s.Seed, s.Replay = e.Run.Target, e.Run.Mutant, e.Run.Seed, e.Run.Command
			required = e.Run.Require
		case e.Verdict != nil:
			v := e.Verdict
			cycles[e.Spec] = max(cycles[e.Spec], e.Cycle)
			if e.Cycle > 0 && v.Starved {
				starved[e.Spec] = append(starved[e.Spec], v)
				continue
			}
			count(e.Spec, v.Verdict)
			counted := *v
			if v.Verdict == record.Skipped || v.Verdict == record.Inconclusive {
				counted.Exposures, counted.FaultEvents = 0, 0
			}
			s.Exposures += counted.Exposures
			s.FaultEvents += counted.FaultEvents
			if at := (cycle{e.Spec, e.Cycle}); e.Cycle > 0 { // one that is doubted has a second verdict, and the last holds
				s.Exposures -= judged[at].Exposures
				s.FaultEvents -= judged[at].FaultEvents
				judged[at] = counted
			}
			if first == nil || order[v.Verdict] > order[first.Verdict] {
				first = v
			}
		case e.Begin != nil:
			names[e.Spec] = e.Begin.Name
		case e.End != nil && unexplained(*e.End, bySpec[e.Spec]):
			count(e.Spec, record.Inconclusive)
			if first == nil || order[record.Inconclusive] > order[first.Verdict] {
				first = &record.Judgement{Verdict: record.Inconclusive, Reason: fmt.Sprintf("%q %s, and no verdict says why: %s", names[e.Spec], e.End.State, e.End.Failure)}
			}
		case e.Check != nil && !e.Check.OK:
			failedCheck = e.Check.Error
		case e.Finish != nil:
			finished, failed = true, failed || e.Finish.Failed
			s.Duration = e.Finish.Duration
			s.Interrupted = s.Interrupted || e.Finish.Reason == "interrupted"
		}
	}
	left := 0
	for _, id := range slices.Sorted(maps.Keys(starved)) {
		n := len(starved[id])
		left += n
		if !TooManyStarved(n, cycles[id]) {
			continue
		}
		count(id, record.Inconclusive)
		if first == nil || order[record.Inconclusive] > order[first.Verdict] {
			first = &record.Judgement{Verdict: record.Inconclusive, Reason: fmt.Sprintf(
				"the machine itself stood still in %d of %d cycles, more than a tenth; the first: %s", n, cycles[id], starved[id][0].Reason)}
		}
	}
	for _, n := range cycles {
		s.Cycles += n
	}
	for _, id := range seen {
		s.Specs[bySpec[id]]++
	}
	if s.Duration == 0 && len(events) > 0 {
		s.Duration = events[len(events)-1].At.Sub(events[0].At).Seconds()
	}
	s.Verdict = Worst(all...)
	if failedCheck != "" || !finished { // killed: nobody knows what it would have gone on to judge
		s.Verdict = Worst(s.Verdict, record.Inconclusive)
	}
	// A bound is what a clean count gives.
	if left > 0 {
		s.Statements = []record.Statement{{Resource: "cycles", Text: fmt.Sprintf("%d of %d cycles are left out: the machine itself stood still", left, s.Cycles)}}
	}
	s.Statements = append(s.Statements, Statements(events, order[s.Verdict] < order[record.Late] && failedCheck == "", s.Exposures, s.FaultEvents)...)
	trend, some := Decides(s.Statements)
	if some = some && order[trend.Verdict] > order[s.Verdict]; some {
		s.Verdict = trend.Verdict
	} else if lack, lacks := Lacks(s.Statements, required); lacks && order[s.Verdict] < order[record.Inconclusive] {
		s.Verdict, trend, some = record.Inconclusive, lack, true
	}
	wordless := failed && s.Verdict == record.Pass
	if wordless {
		s.Verdict = record.Inconclusive
	}
	s.ExitCode = ExitCode(s.Verdict)
	s.Bounds = []record.Limit{}
	for _, x := range s.Statements {
		if x.Limit != nil {
			s.Bounds = append(s.Bounds, *x.Limit)
		}
	}
	switch {
	case first == nil:
		s.Reason = "nothing was judged: no spec ran to its verdict"
	case s.Verdict == record.Inconclusive && failedCheck != "":
		s.Reason = "the detector failed its self-check: " + failedCheck
	case some:
		s.Reason = strings.Replace(trend.Text, string(s.Verdict)+" ", "", 1) // which stands before it
	case wordless:
		s.Reason = "Ginkgo reports a failure that no verdict explains: see its output"
	case !finished && first.Verdict == record.Pass:
		s.Reason = "the record ends before its run does: what was judged until then passed"
	case s.Verdict == record.Pass:
		s.Reason = fmt.Sprintf("nothing outlived its window: %d connections went through %d faults", s.Exposures, s.FaultEvents)
	default:
		s.Reason = first.Reason
	}
	return s
}

// TooManyStarved says whether a soak is INCONCLUSIVE because the machine itself stood still
// in so many of its cycles: more than a tenth. Fewer are left out: they are no part of a
// bound, and what they left behind, the next ones see.
func TooManyStarved(starved, cycles int) bool { return 10*starved > cycles }

// unexplained says whether a spec ended otherwise than its verdict tells: it failed, timed
// out or panicked without one, or after a PASS. One that was interrupted was stopped by
// its user.
func unexplained(e record.End, v record.Verdict) bool {
	switch e.State {
	case "passed", "skipped", "pending", "interrupted":
		return false
	}
	return v == "" || v == record.Pass || v == record.Skipped
}

// Limits are the bounds that n exposures and m fault events give, k of which leaked what
// is not held to be a leak. With 95 % confidence the chance of a leak is below
// 1 - 0.05^(1/n) for k = 0, about 3/n ("rule of three", Hanley and Lippman-Hand 1983), for
// each of them. Exposures of one fault are not independent of each other, so both are
// stated. None for a count of zero.
func Limits(k, exposures, faultEvents int) []record.Limit {
	var limits []record.Limit
	for _, c := range []struct {
		n   int
		per string
	}{{exposures, "exposure"}, {faultEvents, "fault event"}} {
		if c.n == 0 {
			continue
		}
		limits = append(limits, record.Limit{
			Resource: "sockets, fds, goroutines", Unit: "leaks", Per: c.per, Confidence: Confidence,
			Value: Upper(k, c.n, Confidence),
		})
	}
	return limits
}
