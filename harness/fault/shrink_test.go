package fault

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// numbered is a schedule whose steps are told apart by their starts, in seconds.
func numbered(n int) Schedule {
	var s Schedule
	for i := range n {
		s.Steps = append(s.Steps, Step{Fault: "blackhole", Start: time.Duration(i) * time.Second, For: 800 * time.Millisecond})
	}
	return s
}

// number finds the step with that start.
func number(s Schedule, n int) *Step {
	i := slices.IndexFunc(s.Steps, func(x Step) bool { return x.Start == time.Duration(n)*time.Second })
	if i < 0 {
		return nil
	}
	return &s.Steps[i]
}

func has(s Schedule, numbers ...int) bool {
	return !slices.ContainsFunc(numbers, func(n int) bool { return number(s, n) == nil })
}

func TestShrinkFindsTheStepsThatMatter(t *testing.T) {
	for _, c := range []struct {
		name string
		need []int
		most int // trials
	}{
		{"one", []int{17}, 24},
		{"the first", []int{0}, 24},
		{"two far apart", []int{3, 28}, 90},
		{"two together", []int{14, 15}, 90},
		{"three", []int{1, 15, 29}, 150},
	} {
		trials := 0
		got, err := Shrink(numbered(30), func(part Schedule, _ string) (bool, error) {
			trials++
			return has(part, c.need...), nil
		})
		if err != nil || len(got.Steps) != len(c.need) || !has(got, c.need...) {
			t.Errorf("%s: left are %v (%v)", c.name, got.Steps, err)
		}
		if trials > c.most {
			t.Errorf("%s: %d trials", c.name, trials)
		}
	}
}

// Either of two steps is enough: one is left.
func TestShrinkLeavesOneOfSeveral(t *testing.T) {
	got, err := Shrink(numbered(30), func(part Schedule, _ string) (bool, error) {
		return has(part, 4) || has(part, 20), nil
	})
	if err != nil || len(got.Steps) != 1 {
		t.Errorf("left are %v (%v)", got.Steps, err)
	}
}

func TestShrinkHalvesDurations(t *testing.T) {
	got, err := Shrink(numbered(10), func(part Schedule, _ string) (bool, error) {
		step := number(part, 6)
		return step != nil && step.For >= 150*time.Millisecond, nil
	})
	if err != nil || len(got.Steps) != 1 || got.Steps[0].For != 200*time.Millisecond {
		t.Errorf("left are %v (%v)", got.Steps, err)
	}
	got, err = Shrink(numbered(1), func(Schedule, string) (bool, error) { return true, nil })
	if err != nil || got.Steps[0].For != shortestStep {
		t.Errorf("where length does not matter: %v (%v)", got.Steps, err)
	}
}

// What was red only once is not kept.
func TestShrinkAsksAgain(t *testing.T) {
	tried := map[int]int{}
	got, err := Shrink(numbered(8), func(part Schedule, _ string) (bool, error) {
		if has(part, 2, 5) {
			return true, nil
		}
		tried[len(part.Steps)]++
		return tried[len(part.Steps)]%2 == 1, nil // a false alarm, each first time
	})
	if err != nil || len(got.Steps) != 2 || !has(got, 2, 5) {
		t.Errorf("left are %v (%v)", got.Steps, err)
	}
}

// A leak that shows in six runs of ten is never lost, and what is left is seldom large.
func TestShrinkOfAFlakyLeak(t *testing.T) {
	large := 0
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		got, err := Shrink(numbered(30), func(part Schedule, _ string) (bool, error) {
			return has(part, 9, 22) && r.Float64() < 0.6, nil
		})
		if err != nil || !has(got, 9, 22) {
			t.Fatalf("seed %d: left are %v (%v)", seed, got.Steps, err)
		}
		if len(got.Steps) > 8 {
			large++
		}
	}
	if large > 40 {
		t.Errorf("%d of 200 are larger than 8 steps", large)
	}
}

// An interruption leaves the smallest yet.
func TestShrinkIsInterrupted(t *testing.T) {
	over, trials := errors.New("over"), 0
	got, err := Shrink(numbered(16), func(part Schedule, _ string) (bool, error) {
		if trials++; trials > 5 {
			return false, over
		}
		return has(part, 3), nil
	})
	if !errors.Is(err, over) || len(got.Steps) >= 16 || !has(got, 3) {
		t.Errorf("left are %v (%v)", got.Steps, err)
	}
}

// Every part of a schedule that can be played can be played.
func TestShrinkOfASoundSchedule(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		_, err := Shrink(Draw(seed, 30, all), func(part Schedule, _ string) (bool, error) {
			return r.IntN(2) == 0, part.Check()
		})
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}
