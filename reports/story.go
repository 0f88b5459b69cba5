package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
)

// story is a record, put in order: what events of parallel specs lie mixed in
// the file, lies here spec by spec and cycle by cycle.
type story struct {
	runs    []record.Run // a suite appended to the same record adds one
	start   time.Time
	specs   []*spec // in the order of their first events
	checks  []record.Check
	finish  []record.Finish
	shrunk  []record.Shrunk
	cut     *cutOff // the record ended in the middle of a line
	summary record.Summary
}

// spec is one spec of the story.
type spec struct {
	number  int    // counts from 1
	anchor  string // where the page draws it
	id      string
	head    record.Spec
	rounds  []*round // by cycle; a catalogue spec has one, of cycle 0
	end     *record.End
	verdict record.Verdict // "" if nothing was judged, and nothing failed either
	worst   *round
	seconds float64
}

// round is what belongs together in time: a catalogue spec, or one cycle of a
// soak.
type round struct {
	cycle       int
	first, last time.Time
	processes   []timed[record.Process]
	loads       []timed[record.Load]
	faults      []timed[record.Fault]
	windows     []timed[record.Window]
	points      []timed[record.Point]
	snapshots   []timed[record.Snapshot]
	services    []timed[record.Service]
	outcomes    []timed[record.Outcome]
	evidence    []timed[record.Evidence]
	cut         *record.Cut      // of a packet sweep, and what it hit
	schedule    *record.Schedule // as it was played, or was to be
	readings    []timed[record.Reading]
	judgements  []record.Judgement
	verdict     record.Verdict
}

// cutOff is where a record ends in the middle of a line: the number of that line, how long
// after the first event the last whole one was, and the spec of that, "" for none.
type cutOff struct {
	line  int
	after time.Duration
	spec  string
}

// newCutOff takes the events before the cut, each of which was one line.
func newCutOff(events []record.Event) *cutOff {
	c := &cutOff{line: len(events) + 1}
	if len(events) == 0 {
		return c
	}
	last := events[len(events)-1]
	c.after = last.At.Sub(events[0].At)
	for _, e := range events {
		if e.Begin != nil && e.Spec == last.Spec {
			c.spec = e.Begin.Name
		}
	}
	return c
}

// String says where, and what was written last.
func (c *cutOff) String() string {
	if c.line == 1 {
		return "The record is cut off in its first line: nothing of it can be read."
	}
	text := fmt.Sprintf("The record is cut off in its last line, number %s: the run was killed, or the disk was full. What follows is all that was written, as far as %s after its beginning", thousands(c.line), seconds(c.after.Seconds()))
	if c.spec != "" {
		text += fmt.Sprintf(", in “%s”", cutText(c.spec, 200))
	}
	return text + "."
}

type timed[T any] struct {
	at time.Time
	it T
}

// tell puts the events in order and sums them up. A spec that ended badly
// without a verdict counts as inconclusive, in the summary too: a run in which
// specs died before they were judged is no pass.
func tell(events []record.Event, cut bool) *story {
	clean(events)
	s := &story{}
	if cut {
		s.cut = newCutOff(events)
	}
	byID := map[string]*spec{}
	for i := range events {
		e := &events[i]
		if s.start.IsZero() {
			s.start = e.At
		}
		switch {
		case e.Run != nil:
			s.runs = append(s.runs, *e.Run)
			continue
		case e.Check != nil:
			s.checks = append(s.checks, *e.Check)
			continue
		case e.Finish != nil:
			s.finish = append(s.finish, *e.Finish)
			continue
		case e.Shrunk != nil:
			s.shrunk = append(s.shrunk, *e.Shrunk)
			continue
		}
		if e.Verdict != nil {
			e.Verdict.Verdict = known(e.Verdict.Verdict)
		}
		sp := byID[e.Spec]
		if sp == nil || e.Begin != nil && sp.head.Name != "" { // two suites of one run may give the same ID
			sp = &spec{number: len(s.specs) + 1, id: e.Spec}
			byID[e.Spec] = sp
			s.specs = append(s.specs, sp)
		}
		sp.add(e)
	}
	for _, sp := range s.specs {
		if j, missing := sp.missing(s.finished()); missing {
			e := record.Event{At: sp.last(), Kind: record.KindVerdict, Spec: sp.id, Verdict: &j}
			events = append(events, e)
			sp.add(&e)
		}
		sp.close()
	}
	s.summary = leak.Summarize(events)
	if worst := s.byHarm(); len(worst) > 0 && worst[0].worst != nil && s.summary.Verdict != record.Pass && worst[0].verdict == s.summary.Verdict {
		// The sentence and the story below it are one and the same spec's. A run that
		// is worse than all of its specs has a reason of its own: the self-check.
		if reason := worst[0].worst.judgement().Reason; !strings.Contains(s.summary.Reason, reason) {
			s.summary.Reason = reason
		}
	}
	if s.cut != nil {
		s.summary.Interrupted = true
	}
	s.summary.Started = s.start
	if len(s.runs) > 0 {
		s.summary.Name = s.runs[0].Name
	}
	for _, sp := range s.specs {
		r := record.Result{Spec: sp.head.Name, Verdict: sp.verdict, Returned: -1}
		r.Exposures, _ = totals(sp.rounds)
		if returned, timed := slowest(sp.rounds); timed {
			r.Returned = returned
		}
		s.summary.Results = append(s.summary.Results, r)
	}
	return s
}

// known turns a verdict that this program does not know into INCONCLUSIVE.
func known(v record.Verdict) record.Verdict {
	switch v {
	case record.Pass, record.Leak, record.Late, record.Dead, record.Skipped:
		return v
	}
	return record.Inconclusive
}

func (sp *spec) add(e *record.Event) {
	r := sp.round(e.Cycle)
	if r.first.IsZero() || e.At.Before(r.first) {
		r.first = e.At
	}
	if e.At.After(r.last) {
		r.last = e.At
	}
	switch {
	case e.Begin != nil:
		sp.head = *e.Begin
	case e.End != nil:
		sp.end = e.End
	case e.Process != nil:
		r.processes = append(r.processes, timed[record.Process]{e.At, *e.Process})
	case e.Load != nil:
		r.loads = append(r.loads, timed[record.Load]{e.At, *e.Load})
	case e.Fault != nil:
		r.faults = append(r.faults, timed[record.Fault]{e.At, *e.Fault})
	case e.Window != nil:
		r.windows = append(r.windows, timed[record.Window]{e.At, *e.Window})
	case e.Point != nil:
		r.points = append(r.points, timed[record.Point]{e.At, *e.Point})
	case e.Snapshot != nil:
		r.snapshots = append(r.snapshots, timed[record.Snapshot]{e.At, *e.Snapshot})
	case e.Service != nil:
		r.services = append(r.services, timed[record.Service]{e.At, *e.Service})
	case e.Outcome != nil:
		r.outcomes = append(r.outcomes, timed[record.Outcome]{e.At, *e.Outcome})
	case e.Reading != nil:
		r.readings = append(r.readings, timed[record.Reading]{e.At, *e.Reading})
	case e.Schedule != nil:
		r.schedule = e.Schedule
	case e.Cut != nil:
		r.cut = e.Cut
	case e.Evidence != nil:
		r.evidence = append(r.evidence, timed[record.Evidence]{e.At, *e.Evidence})
	case e.Verdict != nil:
		r.judgements = append(r.judgements, *e.Verdict)
	}
}

// round finds the round of a cycle, or makes it. Cycles come in order, so the
// search from the end is short.
func (sp *spec) round(cycle int) *round {
	for i := len(sp.rounds) - 1; i >= 0; i-- {
		if sp.rounds[i].cycle == cycle {
			return sp.rounds[i]
		}
	}
	r := &round{cycle: cycle}
	sp.rounds = append(sp.rounds, r)
	return r
}

func (sp *spec) last() time.Time {
	var last time.Time
	for _, r := range sp.rounds {
		if r.last.After(last) {
			last = r.last
		}
	}
	return last
}

// finished says whether the run came to its end, and was not interrupted.
func (s *story) finished() bool {
	return slices.ContainsFunc(s.finish, func(f record.Finish) bool { return f.Reason == "done" })
}

// missing is the judgement that the record lacks: of a spec that ended without
// one, or that failed although the judge found nothing.
func (sp *spec) missing(finished bool) (record.Judgement, bool) {
	worst, judged, excused := record.Skipped, false, sp.excuses()
	for _, r := range sp.rounds {
		for _, j := range r.judgements {
			judged = true
			if worse(j.Verdict, worst) && !(excused && r.starved()) {
				worst = j.Verdict
			}
		}
	}
	state, failure := "", ""
	if sp.end != nil {
		state, failure = sp.end.State, firstLine(sp.end.Failure)
	}
	j := record.Judgement{Verdict: record.Inconclusive, Returned: -1}
	switch state {
	case "passed":
		return j, false
	case "":
		j.Reason = "nothing was judged: the record ends before this spec does"
		if judged && finished {
			j.Reason = "the spec never ended: its process died under it"
			return j, worst == record.Pass || worst == record.Skipped
		}
		return j, !judged
	case "interrupted", "aborted":
		j.Reason = "nothing was judged: the spec was interrupted"
		return j, !judged
	case "skipped", "pending":
		j.Verdict, j.Reason = record.Skipped, cmp.Or(failure, "no reason given")
		return j, !judged
	}
	if !judged {
		j.Reason = fmt.Sprintf("the spec ended %q without a verdict", state)
	} else {
		j.Reason = fmt.Sprintf("the spec ended %q although the judge found nothing", state)
	}
	if failure != "" {
		j.Reason += ": " + failure
	}
	return j, !judged || worst == record.Pass || worst == record.Skipped
}

// close fills in what needs all events of the spec.
func (sp *spec) close() {
	slices.SortStableFunc(sp.rounds, func(a, b *round) int { return a.cycle - b.cycle })
	excused := sp.excuses()
	for _, r := range sp.rounds {
		for _, j := range r.judgements {
			if r.verdict == "" || worse(j.Verdict, r.verdict) {
				r.verdict = j.Verdict
			}
		}
		if excused && r.starved() {
			continue
		}
		if r.verdict != "" && (sp.worst == nil || worse(r.verdict, sp.worst.verdict)) {
			sp.worst = r
		}
	}
	if sp.worst != nil {
		sp.verdict = sp.worst.verdict
	}
	if sp.end != nil {
		sp.seconds = sp.end.Duration
	}
	if sp.seconds == 0 {
		sp.seconds = sp.last().Sub(sp.rounds[0].first).Seconds()
	}
	if sp.head.Name == "" {
		sp.head.Name = cmp.Or(sp.id, "(events of no spec)")
	}
}

// excuses says whether the cycles of a soak in which the machine itself stood still are so
// few that they are left out, and say nothing of the spec.
func (sp *spec) excuses() bool {
	starved, last := 0, 0
	for _, r := range sp.rounds {
		if r.starved() {
			starved++
		}
		if len(r.judgements) > 0 {
			last = max(last, r.cycle)
		}
	}
	return !leak.TooManyStarved(starved, last)
}

// starved says whether the round is a cycle of which is only known that the machine itself
// stood still.
func (r *round) starved() bool {
	return r.cycle > 0 && len(r.judgements) > 0 && !slices.ContainsFunc(r.judgements, func(j record.Judgement) bool { return !j.Starved })
}

// judgement is the round's worst, nil if it has none.
func (r *round) judgement() *record.Judgement {
	for i := range r.judgements {
		if r.judgements[i].Verdict == r.verdict {
			return &r.judgements[i]
		}
	}
	return nil
}

// reason is the spec's word in one sentence, with the cycle in front in a soak.
func (sp *spec) reason() string {
	if sp.worst == nil {
		return "nothing was judged"
	}
	reason := sp.worst.judgement().Reason
	if sp.worst.cycle > 0 && sp.verdict != record.Pass {
		return fmt.Sprintf("cycle %d: %s", sp.worst.cycle, reason)
	}
	return reason
}

// cycles are the rounds of a soak that belong to a cycle.
func (sp *spec) cycles() []*round {
	return slices.DeleteFunc(slices.Clone(sp.rounds), func(r *round) bool { return r.cycle == 0 })
}

// byHarm lists the specs with the worst verdict first, else in their order.
func (s *story) byHarm() []*spec {
	list := slices.Clone(s.specs)
	slices.SortStableFunc(list, func(a, b *spec) int {
		switch {
		case worse(a.verdict, b.verdict):
			return -1
		case worse(b.verdict, a.verdict):
			return 1
		}
		return 0
	})
	return list
}

// worse tells whether a is a worse verdict than b. What judged nothing (SKIPPED,
// "") is the best: it is never the reason for a run's verdict.
func worse(a, b record.Verdict) bool {
	idle := func(v record.Verdict) bool { return v == record.Skipped || v == "" }
	switch {
	case idle(a):
		return a == record.Skipped && b == ""
	case idle(b):
		return true
	}
	return a != b && leak.Worst(a, b) == a
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
