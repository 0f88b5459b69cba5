package leak

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestFloorOf(t *testing.T) {
	steady := slices.Repeat([]int{4}, 20)
	steps := func(at ...int) []int {
		c := slices.Clone(steady)
		for _, from := range at {
			for i := from - 1; i < len(c); i++ {
				c[i]++
			}
		}
		return c
	}
	noisy := steps(6, 11)
	noisy[2], noisy[7], noisy[13] = 9, 8, 7
	for name, c := range map[string]struct {
		counts []int
		events []int
		gain   int
	}{
		"nothing":                 {steady, nil, 0},
		"too short":               {steady[:5], nil, 0},
		"one":                     {steps(6), []int{6}, 1},
		"two":                     {steps(6, 11), []int{6, 11}, 2},
		"two in one cycle":        {steps(6, 6), []int{6}, 2},
		"noise above it":          {noisy, []int{6, 11}, 2},
		"from the start":          {steps(1), nil, 0},
		"in the last five cycles": {steps(16), nil, 0},
		"just before them":        {steps(15), []int{15}, 1},
		"a peak that goes":        {append(slices.Clone(steady), 9, 9, 9, 9, 4), nil, 0},
	} {
		f := FloorOf(c.counts, FloorConfirm)
		if !slices.Equal(f.Events, c.events) || f.Gain != c.gain {
			t.Errorf("%s: events %v, gain %d; want %v, %d", name, f.Events, f.Gain, c.events, c.gain)
		}
	}
}

func TestFloorSuspect(t *testing.T) {
	counts := func(n, event int) []int {
		c := make([]int, n)
		for i := event - 1; i < n; i++ {
			c[i] = 1
		}
		return c
	}
	for _, c := range []struct {
		n, event int
		suspect  bool
	}{
		{20, 8, true}, {31, 8, true}, {32, 8, false}, {1999, 700, true}, {2000, 700, false},
	} {
		f := FloorOf(counts(c.n, c.event), FloorConfirm)
		if f.Suspect() != c.suspect || f.Leaks() {
			t.Errorf("event %d of %d cycles: %+v, suspect %v", c.event, c.n, f, f.Suspect())
		}
	}
}

// The figures of the published example: ten things in 500 cycles.
func TestFloorRate(t *testing.T) {
	f := Floor{Cycles: 505, Effective: 500, Events: make([]int, 10), Gain: 10}
	rate, low, high := f.Rate()
	if rate != 0.02 || math.Abs(low-0.0096) > 5e-5 || math.Abs(high-0.0365) > 5e-5 {
		t.Errorf("rate %.4f (%.4f to %.4f), want 0.0200 (0.0096 to 0.0365)", rate, low, high)
	}
	f.Gain = 30
	if r, l, h := f.Rate(); r != 0.06 || math.Abs(l-3*low) > 1e-12 || math.Abs(h-3*high) > 1e-12 {
		t.Errorf("three an event: %.4f (%.4f to %.4f)", r, l, h)
	}
}

func TestUpper(t *testing.T) {
	for _, c := range []struct {
		k, n       int
		confidence float64
		want       float64 // times n
	}{
		{0, 10000, .95, 2.9953}, {1, 10000, .95, 4.7428}, {0, 10000, .99, 4.6041},
	} {
		if got := Upper(c.k, c.n, c.confidence) * float64(c.n); math.Abs(got-c.want) > 1e-3 {
			t.Errorf("Upper(%d, %d, %v) = %.4f/n, want %.4f/n", c.k, c.n, c.confidence, got, c.want)
		}
	}
	for _, n := range []int{1, 3, 20, 600} {
		if got, want := Upper(0, n, .95), 1-math.Pow(.05, 1/float64(n)); math.Abs(got-want) > 1e-9 {
			t.Errorf("Upper(0, %d) = %v, want %v", n, got, want)
		}
	}
	for _, c := range []struct {
		n, want int
	}{{597, 199}, {598, 200}, {919, 307}} {
		if got := int(1 / Upper(0, c.n, .95)); got != c.want {
			t.Errorf("0 in %d excludes 1 in %d, want 1 in %d", c.n, got, c.want)
		}
	}
	if Upper(0, 0, .95) != 1 || Upper(3, 3, .95) != 1 {
		t.Error("no trials, or nothing but events, exclude something")
	}
}

// The exact interval has the truth at least as often as it says.
func TestClopperPearsonCovers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	for _, p := range []float64{0.005, 0.05, 0.4} {
		missed := 0
		const runs, n = 2000, 200
		for range runs {
			k := 0
			for range n {
				if r.Float64() < p {
					k++
				}
			}
			low, high := ClopperPearson(k, n, .95)
			if low > high || low < 0 || high > 1 {
				t.Fatalf("%d of %d: [%v, %v]", k, n, low, high)
			}
			if p < low || p > high {
				missed++
			}
		}
		if missed > runs/20+30 { // three standard deviations
			t.Errorf("p = %v: missed in %d of %d", p, missed, runs)
		}
	}
}

// How often floor events find a leak, and how often noise alone looks like one.
func TestFloorRates(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 0))
	const runs = 400
	noises := map[string]func() func() int{
		"none": func() func() int { return func() int { return 0 } },
		"1 to 3 more in 10 % of the reads": func() func() int {
			return func() int {
				if r.Float64() < .1 {
					return 1 + r.IntN(3)
				}
				return 0
			}
		},
		"one that stays for 8 cycles, on 20 %": func() func() int {
			on := 0
			return func() int {
				switch {
				case on == 1 && r.Float64() < 1.0/8:
					on = 0
				case on == 0 && r.Float64() < 1.0/32:
					on = 1
				}
				return on
			}
		},
	}
	for _, name := range slices.Sorted(maps.Keys(noises)) { // one generator: the order is the result
		noise := noises[name]
		leaks := func(chance float64, n int) (found int) {
			for range runs {
				next, held, c := noise(), 0, make([]int, n)
				for i := range c {
					if r.Float64() < chance {
						held++
					}
					c[i] = held + next()
				}
				if FloorOf(c, FloorConfirm).Leaks() {
					found++
				}
			}
			return found
		}
		if n := leaks(0, 500); n > 2 {
			t.Errorf("%s: %d of %d healthy runs leak", name, n, runs)
		}
		// Two events of a chance of 1 in 200: 71 % at 500 cycles, 97.6 % at 1200.
		if n := leaks(1.0/200, 500); n < runs*62/100 || n > runs*80/100 {
			t.Errorf("%s: 1 in 200 found in %d of %d runs of 500 cycles, want about 71 %%", name, n, runs)
		}
		if n := leaks(1.0/200, 1200); n < runs*93/100 {
			t.Errorf("%s: 1 in 200 found in %d of %d runs of 1200 cycles", name, n, runs)
		}
	}
}
