package harness

import (
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

var (
	scheduleFlag = flag.String("schedule", "", "play the schedule in this YAML `FILE`, in place of one that is drawn from the seed")
	stepsFlag    = flag.Int("steps", 12, "how many steps a schedule that is drawn has")
)

// Schedule is the schedule that the suite was asked for: that in a YAML file (-schedule),
// which was checked before anything began, or one of so many steps (-steps) that is drawn
// from Ginkgo's seed. One that cannot be played fails the spec in one line.
func Schedule() fault.Schedule {
	ginkgo.GinkgoHelper()
	s, err := suite.schedule(*scheduleFlag, *stepsFlag)
	if err != nil {
		ginkgo.Fail("set-up: " + err.Error())
	}
	return s
}

// Shrink plays a schedule, again and again with fewer and shorter steps, in a World of its
// own each time, to find the few that make the story red. It fails the spec with them, and
// records them; also if there are none.
func Shrink(ctx ginkgo.SpecContext, topology lab.Topology, s fault.Schedule, story func(*World, fault.Schedule)) {
	ginkgo.GinkgoHelper()
	head, id := describe(ginkgo.CurrentSpecReport()), nextID()
	ginkgo.AddReportEntry(specEntry, id, ginkgo.ReportEntryVisibilityNever)
	write := func(id string, e record.Event) {
		e.At, e.Spec = time.Now(), id
		if err := suite.record.Write(e); err != nil {
			ginkgo.Fail(err.Error())
		}
	}
	write(id, record.Event{Kind: record.KindBegin, Begin: &head})
	quiet := *suite
	quiet.Evidence = EvidenceNone // of so many trials; play what is left for it
	x := shrinking{play: func(part fault.Schedule, name string) trial {
		spec, own, t := head, nextID(), &trialT{T: ginkgoT{}}
		spec.Name += ", " + name
		began, result := time.Now(), trial{}
		result.Verdict = record.Inconclusive
		t.run(func() {
			w := newWorld(ctx, t, &quiet, spec, own, topology)
			defer func() {
				if w.round.judged {
					result.Verdict = w.round.verdict
				}
			}()
			story(w, part)
		})
		result.said = brief(t.said)
		end := record.End{State: "passed", Failure: t.said, Duration: time.Since(began).Seconds()}
		if t.said != "" {
			end.State = "failed"
		}
		write(own, record.Event{Kind: record.KindEnd, End: &end})
		return result
	}}
	fmt.Printf("shrink: %d steps, %v\n%s", len(s.Steps), s.Length(), s)
	left, err := x.shrunk(ctx, s)
	verdict := record.Judgement{Verdict: x.found.Verdict, Returned: -1}
	switch {
	case !red(verdict.Verdict):
		verdict.Verdict, verdict.Reason = record.Inconclusive, err.Error()
	default:
		x.found.After = record.Schedule{Seed: left.Seed, Steps: Steps(left)}
		if failed := x.store(suite.Dir, s, left); failed != nil {
			ginkgo.Fail(failed.Error())
		}
		file := relative(shared.Root, filepath.Join(suite.Dir, x.found.After.File))
		x.found.Replay = replayOf("schedule", "-schedule="+file)
		write("", record.Event{Kind: record.KindShrunk, Shrunk: &x.found})
		verdict.Reason = fmt.Sprintf("%d steps were shrunk to %d in %d trials", len(s.Steps), len(left.Steps), len(x.found.Trials))
		if err != nil {
			verdict.Reason += ", then: " + err.Error()
		}
		fmt.Printf("shrink: left after %d trials\n%sshrink: again: %s\n", len(x.found.Trials), left, x.found.Replay)
	}
	write(id, record.Event{Kind: record.KindVerdict, Verdict: &verdict})
	ginkgo.Fail(fmt.Sprintf("%s: %s", verdict.Verdict, verdict.Reason))
}

// replayOf is the command that plays the stories with a label on the suite's target, with
// flags of the suite's own.
func replayOf(label string, own ...string) string {
	var b strings.Builder
	if suite.Mutant != "" {
		fmt.Fprintf(&b, "%s=%s ", EnvMutant, suite.Mutant)
	}
	fmt.Fprintf(&b, "go tool ginkgo --label-filter=%s ./scenarios --", label)
	if rel := relative(shared.Root, shared.Target); rel != DefaultTarget {
		own = append([]string{"-target=" + rel}, own...)
	}
	return b.String() + " " + strings.Join(own, " ")
}
