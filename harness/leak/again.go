package leak

import (
	"fmt"
	"slices"

	"github.com/halfopen/halfopen/harness/record"
)

// Case is one judged round of a stored record.
type Case struct {
	Spec   string // the spec's ID in the record
	Name   string
	Cycle  int // of a soak, from 1; 0 outside
	Round  Round
	Stored record.Judgement // what was said when it ran
}

// Whole says whether the record has all that the round was judged by. Of a merged record
// those that passed have no snapshots: they cannot be judged again, but their times and
// verdicts are as good as any.
func (c Case) Whole() bool {
	return len(c.Round.Processes) == len(c.Round.Outcome.Judged) && (len(c.Round.Processes) == 0 || unseen(c.Round) == "")
}

// Cases gathers every round of a record that was judged, in the order of the
// verdicts. Verdicts that no round led to (SKIPPED, a spec that was not set up) are
// none.
func Cases(events []record.Event) []Case {
	type key struct {
		spec  string
		cycle int
	}
	rounds := map[key]*gathered{}
	names := map[string]string{}
	var settings record.Settings
	var cases []Case
	for _, e := range events {
		if e.Run != nil {
			settings = e.Run.Settings
			continue
		}
		if e.Begin != nil {
			names[e.Spec] = e.Begin.Name
		}
		k := key{e.Spec, e.Cycle}
		if rounds[k] == nil {
			rounds[k] = &gathered{samples: map[string]*Snapshots{}}
			if last := rounds[key{e.Spec, e.Cycle - 1}]; last != nil {
				for role, s := range last.samples {
					rounds[k].samples[role] = &Snapshots{Before: s.Carry(last.verdict)}
				}
			}
		}
		g := rounds[k]
		g.add(e)
		if e.Verdict != nil {
			g.verdict = e.Verdict.Verdict // a later one may doubt the judge's
		}
		if e.Verdict != nil && g.outcome {
			g.outcome = false
			c := Case{Spec: e.Spec, Name: names[e.Spec], Cycle: e.Cycle, Round: g.round, Stored: *e.Verdict}
			c.Round.Settings, c.Round.Settle = settings, SettleWindow(settings)
			for _, role := range g.round.Outcome.Judged {
				if s := g.samples[role]; s != nil && s.B.PID != 0 {
					c.Round.Processes = append(c.Round.Processes, *s)
				}
			}
			cases = append(cases, c)
		}
	}
	return cases
}

// gathered is a round while its events are read.
type gathered struct {
	round   Round
	samples map[string]*Snapshots
	outcome bool // there is one that no verdict has followed yet
	verdict record.Verdict
}

func (g *gathered) add(e record.Event) {
	switch {
	case e.Fault != nil:
		if e.Fault.Phase != "healed" {
			g.round.Fault = *e.Fault
		}
	case e.Window != nil:
		g.round.Window = *e.Window
	case e.Service != nil:
		g.round.Services = append(g.round.Services, *e.Service)
	case e.Outcome != nil:
		g.round.Outcome, g.outcome = *e.Outcome, true
	case e.Snapshot != nil:
		role := e.Snapshot.Sample.Role
		if g.samples[role] == nil {
			g.samples[role] = &Snapshots{}
		}
		g.samples[role].put(e.Snapshot.Label, e.Snapshot.Sample)
	}
}

func (s *Snapshots) put(label record.Label, sample record.Sample) {
	switch label {
	case record.Baseline:
		s.B = sample
	case record.Exposed:
		s.E = sample
	case record.WindowEnd:
		s.F = sample
	case record.Unsettled:
		s.U = sample
	case record.Settled:
		s.G = sample
	}
}

// Difference says how today's judgement of a stored round differs from the one that
// was stored, "" if it does not.
func (c Case) Difference() string {
	now := Judge(c.Round)
	switch {
	case now.Verdict != c.Stored.Verdict:
		return fmt.Sprintf("was %s (%s), is %s (%s)", c.Stored.Verdict, c.Stored.Reason, now.Verdict, now.Reason)
	case !slices.EqualFunc(now.Survivors, c.Stored.Survivors, sameSurvivor):
		return fmt.Sprintf("both %s, but the survivors differ: %d were named, %d are", now.Verdict, len(c.Stored.Survivors), len(now.Survivors))
	}
	return ""
}

func sameSurvivor(a, b record.Survivor) bool {
	if a.Role != b.Role || a.Resource != b.Resource {
		return false
	}
	if a.Goroutine != nil && b.Goroutine != nil {
		return a.Goroutine.ID == b.Goroutine.ID
	}
	return a.FD != nil && b.FD != nil && *a.FD == *b.FD
}
