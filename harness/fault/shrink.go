package fault

import (
	"fmt"
	"slices"
	"time"
)

// Oracle plays a part of a schedule and says whether that was red. what names the part,
// for who follows. An error ends the shrinking.
type Oracle func(part Schedule, what string) (red bool, err error)

// shortestStep is how long a step is at least when it is made shorter.
const shortestStep = 50 * time.Millisecond

// Shrink makes a red schedule as small as it can: first fewer steps, by ddmin (Zeller and
// Hildebrandt, Simplifying and Isolating Failure-Inducing Input, 2002), then each of
// those that are left half as long, again and again.
//
// A leak may need luck, and a machine may stand still: a part takes the place of the
// whole only if it was red, and then red again. So what is left has been red twice, but
// for the whole itself, of which the caller knows that it is; and no single step of it
// could be left out, as far as one try each can tell.
//
// The schedule that is returned is the smallest yet, also with an error.
func Shrink(s Schedule, red Oracle) (Schedule, error) {
	sh := shrinker{red: red, known: map[string]bool{}}
	s, err := sh.steps(s)
	if err != nil {
		return s, err
	}
	return sh.durations(s)
}

type shrinker struct {
	red   Oracle
	known map[string]bool // parts that were tried, and whether they were red twice
}

// holds says whether a part is red, and red again.
func (sh *shrinker) holds(part Schedule, what string) (bool, error) {
	key := fmt.Sprint(part.Steps)
	if was, ok := sh.known[key]; ok {
		return was, nil
	}
	red, err := sh.red(part, what)
	if red && err == nil {
		red, err = sh.red(part, what+", again")
	}
	if err != nil {
		return false, err
	}
	sh.known[key] = red
	return red, nil
}

// steps is ddmin: it tries each of n parts alone, then the whole without each of them,
// and goes on with what is red; if nothing is, with parts half as large.
func (sh *shrinker) steps(s Schedule) (Schedule, error) {
	for n := 2; len(s.Steps) > 1; {
		smaller, left, err := sh.reduce(s, n)
		switch {
		case err != nil:
			return s, err
		case smaller != nil:
			s, n = *smaller, left
		case n >= len(s.Steps):
			return s, nil
		default:
			n = min(2*n, len(s.Steps))
		}
	}
	return s, nil
}

// reduce looks for a smaller part that is red, and says in how many parts to divide that;
// nil if there is none.
func (sh *shrinker) reduce(s Schedule, n int) (*Schedule, int, error) {
	size := len(s.Steps)
	cut := func(i int) (from, to int) { return i * size / n, (i + 1) * size / n }
	for i := range n {
		from, to := cut(i)
		part := Schedule{Seed: s.Seed, Steps: slices.Clone(s.Steps[from:to])}
		if red, err := sh.holds(part, fmt.Sprintf("part %d of %d", i+1, n)); err != nil || red {
			return &part, 2, err
		}
	}
	if n == 2 { // to leave one half out is to try the other
		return nil, 0, nil
	}
	for i := range n {
		from, to := cut(i)
		rest := Schedule{Seed: s.Seed, Steps: slices.Delete(slices.Clone(s.Steps), from, to)}
		if red, err := sh.holds(rest, fmt.Sprintf("without part %d of %d", i+1, n)); err != nil || red {
			return &rest, max(n-1, 2), err
		}
	}
	return nil, 0, nil
}

// durations halves the length of each step while that is red.
func (sh *shrinker) durations(s Schedule) (Schedule, error) {
	for i := range s.Steps {
		for s.Steps[i].For/2 >= shortestStep {
			shorter := Schedule{Seed: s.Seed, Steps: slices.Clone(s.Steps)}
			step := &shorter.Steps[i]
			step.For = (step.For / 2).Truncate(time.Millisecond)
			red, err := sh.holds(shorter, fmt.Sprintf("step %d (%s) for %v", i+1, step.Fault, step.For))
			if err != nil {
				return s, err
			}
			if !red {
				break
			}
			s = shorter
		}
	}
	return s, nil
}
