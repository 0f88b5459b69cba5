package reports

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/halfopen/halfopen/harness/record"
)

// stepViews are the steps of the round's schedule, a row each, as faults of their own.
func (r *round) stepViews() []faultView {
	if r.schedule == nil || len(r.faults) == 0 {
		return nil
	}
	began := r.after(r.faults[0].at)
	var list []faultView
	for i, s := range r.schedule.Steps {
		list = append(list, faultView{
			Name: fmt.Sprintf("step %d: %s", i+1, stepText(s)), Place: s.At, Class: "", Exposures: "–", Witnessed: "–",
			Injected: seconds(began + s.Start), Healed: seconds(began + s.Start + s.For), Witness: s.Saw, Bit: s.Bit,
		})
	}
	return list
}

// stepText is the step's fault with its parameters.
func stepText(s record.Step) string {
	text := s.Fault
	for _, key := range slices.Sorted(maps.Keys(s.With)) {
		text += fmt.Sprintf(" %s=%s", key, s.With[key])
	}
	return text
}

// shrunkView is a schedule before and after it was shrunk.
type shrunkView struct {
	Word          word
	Sum, Replay   string
	Before, After []stepView
	Trials        []shrinkTrialView
	File          string // link to what is left, "" if its name would lead elsewhere
}

type (
	stepView struct {
		Number              int
		From, For, At, What string
		Kept                bool // the fault of this step is among those that are left
	}
	shrinkTrialView struct {
		Number, Steps, Took, What string
		Word                      word
		Red                       bool
	}
)

// shrunkViews draws what the run says of shrunk schedules.
func (s *story) shrunkViews() []shrunkView {
	var list []shrunkView
	for _, x := range s.shrunk {
		v := shrunkView{
			Word: verdictWord(known(x.Verdict)), Replay: x.Replay, File: localLink(x.After.File),
			Sum: fmt.Sprintf("%s, %s before; %s, %s after; %s.", count(len(x.Before.Steps), "step"), seconds(length(x.Before)),
				count(len(x.After.Steps), "step"), seconds(length(x.After)), count(len(x.Trials), "trial")),
		}
		left := map[string]int{}
		for i, step := range x.After.Steps {
			left[stepKey(step)]++
			v.After = append(v.After, drawStep(i, step, true))
		}
		for i, step := range x.Before.Steps {
			kept := left[stepKey(step)] > 0
			if kept {
				left[stepKey(step)]--
			}
			v.Before = append(v.Before, drawStep(i, step, kept))
		}
		for i, t := range x.Trials {
			v.Trials = append(v.Trials, shrinkTrialView{
				Number: fmt.Sprint(i + 1), Steps: fmt.Sprint(t.Steps), Took: seconds(t.Took), What: t.What,
				Word: verdictWord(known(t.Verdict)), Red: t.Red,
			})
		}
		list = append(list, v)
	}
	return list
}

// stepKey knows a step again although it was made shorter.
func stepKey(s record.Step) string { return fmt.Sprint(stepText(s), s.At, s.Start) }

func drawStep(i int, s record.Step, kept bool) stepView {
	return stepView{Number: i + 1, From: seconds(s.Start), For: seconds(s.For), At: cmp.Or(s.At, "–"), What: stepText(s), Kept: kept}
}

func length(s record.Schedule) float64 {
	last := 0.0
	for _, step := range s.Steps {
		last = max(last, step.Start+step.For)
	}
	return last
}
