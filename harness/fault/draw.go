package fault

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/halfopen/halfopen/harness/record"
)

// Draw draws a schedule of n steps from a seed: the same arguments give the same one. Of
// the processes it ends the client's only, so that the server is judged.
//
// allow says which faults may be drawn, by how they describe themselves: those that the
// target has a window for.
func Draw(seed uint64, n int, allow func(record.Fault) bool) Schedule {
	r := rand.New(rand.NewPCG(seed, 0))
	var choice []Step
	for _, name := range sortedKeys(vocabulary) {
		k := vocabulary[name]
		if k.draw == nil {
			continue
		}
		for _, at := range k.places {
			choice = append(choice, Step{Fault: name, At: at, For: max(k.shortest, drawnFor)})
		}
	}
	s := Schedule{Seed: seed}
	span := max(drawnSpan, time.Duration(n)*drawnEvery)
	for range n * drawnTries {
		step := choice[r.IntN(len(choice))].draw(r)
		f, _, err := step.fault()
		if err != nil || f.Describe().Ends == "server" || !allow(f.Describe()) {
			continue
		}
		if s.Steps = append(s.Steps, s.place(r, step, span)); len(s.Steps) == n {
			break
		}
	}
	slices.SortStableFunc(s.Steps, func(a, b Step) int { return int(a.Start - b.Start) })
	return s
}

// Drawn schedules have a step each drawnEvery, over drawnSpan at least; most steps take
// up to drawnFor longer than they need.
const (
	drawnSpan  = 3 * time.Second
	drawnEvery = 500 * time.Millisecond
	drawnFor   = 400 * time.Millisecond
	grain      = 10 * time.Millisecond
	drawnTries = 1000 // for a step that is allowed; a target that allows none gets no steps
)

// draw draws the step's parameters.
func (s Step) draw(r *rand.Rand) Step {
	s.With = vocabulary[s.Fault].draw(r)
	return s
}

// place gives the step a time that suits those that are there: by chance, or, where
// chance finds none, after all of them.
func (s Schedule) place(r *rand.Rand, step Step, span time.Duration) Step {
	step.For += time.Duration(r.Int64N(int64(3 * drawnFor))).Truncate(grain)
	for range 50 {
		step.Start = time.Duration(r.Int64N(int64(span))).Truncate(grain)
		with := Schedule{Steps: append(slices.Clone(s.Steps), step)}
		if with.Check() == nil {
			return step
		}
	}
	step.Start = s.Length()
	return step
}
