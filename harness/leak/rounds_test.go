package leak

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Kendall's exact distribution, by trying all orders.
func TestInversions(t *testing.T) {
	for n := 1; n <= 6; n++ {
		count := make([]float64, n*(n-1)/2+1)
		total := 0.0
		var try func(perm []int, left []int)
		try = func(perm, left []int) {
			if len(left) == 0 {
				inversions := 0
				for j := range perm {
					for i := range j {
						if perm[i] > perm[j] {
							inversions++
						}
					}
				}
				count[inversions]++
				total++
				return
			}
			for i, v := range left {
				try(append(slices.Clone(perm), v), slices.Delete(slices.Clone(left), i, i+1))
			}
		}
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		try(nil, all)
		for d, p := range inversions(n) {
			if math.Abs(p-count[d]/total) > 1e-12 {
				t.Errorf("n = %d: P(%d inversions) = %v, want %v", n, d, p, count[d]/total)
			}
		}
	}
}

func TestRank(t *testing.T) {
	for _, c := range []struct {
		n    int
		tail float64
		want int
	}{
		{5, .05, 9},     // P(D >= 9) = 5/120
		{5, .025, 10},   // P(D = 10) = 1/120
		{8, .05, 22},    // Kendall's table: P(S >= 16) = 0.031, P(S >= 14) = 0.054, and S = 28 - 2 D
		{3, .05, 3},     // too few points: the largest slope
		{8, .00001, 28}, // as well
	} {
		if got := rank(c.n, c.tail); got != c.want {
			t.Errorf("rank(%d, %v) = %d, want %d", c.n, c.tail, got, c.want)
		}
	}
}

// Sen's one-sided limit is exceeded by the truth in at most 5 % of series of white noise.
func TestSenLimitCovers(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 0))
	for _, n := range []int{5, 8} {
		const runs = 4000
		over, outside := 0, 0
		for range runs {
			y := make([]float64, n)
			for i := range y {
				y[i] = 3*float64(i) + r.NormFloat64()
			}
			x := trendOf(y)
			if x.limit(.05) < 3 {
				over++
			}
			if x.limit(.025) < 3 || x.lowerLimit(.025) > 3 {
				outside++
			}
			if x.lowerLimit(.025) > x.slope() || x.slope() > x.limit(.025) {
				t.Fatalf("%v is not within [%v, %v]", x.slope(), x.lowerLimit(.025), x.limit(.025))
			}
		}
		if over > runs*6/100 || outside > runs*6/100 {
			t.Errorf("%d points: the truth is above the limit in %d, outside the interval in %d of %d", n, over, outside, runs)
		}
	}
}

func TestTolerance(t *testing.T) {
	for _, c := range []struct {
		rule Rule
		n    int
		want float64
	}{
		{HeapRule, 20, 819.2}, {HeapRule, 100, 163.84}, {HeapRule, 500, 32.768}, {HeapRule, 5000, 32},
		{RSSRule, 20, 26214.4}, {RSSRule, 500, 1048.576}, {RSSRule, 5000, 1024},
	} {
		if got := c.rule.Tolerance(c.n); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%+v at %d: %v, want %v", c.rule, c.n, got, c.want)
		}
	}
}

// ramp grows by a cycle's bytes from one cycle to another, and is level elsewhere.
func ramp(n, from, to int, bytes float64) []float64 {
	s := make([]float64, n)
	for i := range s {
		s[i] = 1e6 + bytes*float64(min(max(i-from, 0), to-from))
	}
	return s
}

func TestRoundsGrowth(t *testing.T) {
	step := ramp(100, 50, 51, 1e5)
	peak := ramp(100, 0, 50, 400)
	for i := 50; i < 100; i++ {
		peak[i] -= 400 * float64(i-50)
	}
	stairs := ramp(80, 0, 0, 0) // every other step is a small one
	for i := range stairs {
		block := i / 10
		stairs[i] += float64((block+1)/2)*1e4 + float64(block/2)*500
	}
	slowing := make([]float64, 100)
	for i := range slowing {
		slowing[i] = 1e6 * (1 - math.Exp(-float64(i)/20))
	}
	for name, c := range map[string]struct {
		series []float64
		want   Growth
	}{
		"level":                       {ramp(100, 0, 0, 0), Flat},
		"below the tolerance":         {ramp(100, 0, 100, 160), Flat},
		"above it":                    {ramp(100, 0, 100, 170), Growing},
		"above it, five blocks":       {ramp(20, 0, 20, 850), Growing},
		"below it, five blocks":       {ramp(20, 0, 20, 800), Flat},
		"one step":                    {step, Flat},
		"up to the middle":            {ramp(100, 0, 50, 1000), Flat},
		"ever more slowly":            {slowing, Slowing},
		"given back":                  {ramp(100, 0, 100, -200), Shrinking},
		"given back in the last half": {ramp(100, 50, 100, -200), Shrinking},
		"given back a little":         {ramp(100, 0, 100, -50), Flat},
		"up and given back":           {peak, Shrinking},
		"every other block":           {stairs, Flat},
		"begins late":                 {ramp(100, 80, 100, 2000), Flat},
	} {
		if got := HeapRule.Judge(c.series); got.Growth != c.want {
			t.Errorf("%s: %s, want %s: %+v", name, got.Growth, c.want, got)
		}
	}
}

// What is found in a flat series with a leak added is at least the tolerance, and is
// really found; a little less is not.
func TestPlanted(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 0))
	for _, n := range []int{20, 63, 64, 100, 500} {
		for _, sd := range []float64{0, 100, 5000} {
			series := make([]float64, n)
			for i := range series {
				series[i] = 1e6 + sd*r.NormFloat64()
			}
			b := HeapRule.Planted(series)
			with := func(b float64) Growth {
				s := slices.Clone(series)
				for i := range s {
					s[i] += b * float64(i)
				}
				return HeapRule.Judge(s).Growth
			}
			if math.IsInf(b, 1) || with(b) != Growing || with(b/plantStep) == Growing {
				t.Errorf("%d cycles, sd %v: b* = %v is %s, %v is %s", n, sd, b, with(b), b/plantStep, with(b/plantStep))
			}
			if sd == 0 && (b < HeapRule.Tolerance(n) || b > 1.11*HeapRule.Tolerance(n)) {
				t.Errorf("%d cycles without noise: b* = %v, tolerance %v", n, b, HeapRule.Tolerance(n))
			}
		}
	}
}

func TestBlocks(t *testing.T) {
	for n, want := range map[int]int{20: 5, 63: 5, 64: 8, 500: 8} {
		if m := medians(make([]float64, n)); len(m) != want {
			t.Errorf("%d readings: %d blocks, want %d", n, len(m), want)
		}
	}
}

// Growth that has only just begun is in the upper limit.
func TestUpperSeesTheEnd(t *testing.T) {
	x := HeapRule.Judge(ramp(400, 350, 400, 1000))
	if low, high := x.Interval(); x.Growth != Flat || low != 0 || high > 500 || x.Upper() < 400 {
		t.Errorf("%s, %v to %v, at most %v", x.Growth, low, high, x.Upper())
	}
}

func TestWatch(t *testing.T) {
	join := func(parts ...[]float64) (all []float64) {
		level := 0.0
		for _, p := range parts {
			for _, v := range p {
				all = append(all, level+v-p[0])
			}
			level = all[len(all)-1]
		}
		return all
	}
	flat := func(n int) []float64 { return ramp(n, 0, 0, 0) }
	grows := func(n int, b float64) []float64 { return ramp(n, 0, n, b) }
	for name, c := range map[string]struct {
		series []float64
		n      int // of the last look
		growth Growth
		leaks  bool
		need   int
	}{
		"nothing":                           {nil, 0, "", false, 80},
		"still warm-up":                     {flat(79), 0, "", false, 1},
		"first look":                        {flat(80), 20, Flat, false, 0},
		"the end is a look":                 {flat(90), 30, Flat, false, 0},
		"candidate waits":                   {join(flat(60), grows(21, 2048)), 20, Growing, false, 19},
		"leak at 20":                        {join(flat(60), grows(41, 2048)), 20, Growing, true, 0},
		"2 KB from the first":               {grows(100, 2048), 20, Growing, true, 0},
		"512 B is for the second look":      {grows(260, 512), 100, Growing, true, 0},
		"growth that ends is no leak":       {join(grows(81, 2048), flat(40)), 61, Flat, false, 0},
		"warm-up is no leak":                {join(grows(60, 1e5), flat(60)), 60, Flat, false, 0},
		"so it must be long for short runs": {join(grows(60, 1e5), flat(21)), 21, Flat, false, 0},
		"and is forgotten":                  {join(grows(60, 1e5), flat(200)), 200, Flat, false, 0},
		"the look before the last":          {flat(259), 199, Flat, false, 0},
		"the third look":                    {flat(260), 200, Flat, false, 0},
		"a tenth is warm-up":                {flat(880), 800, Flat, false, 0},
	} {
		w := HeapRule.Watch(c.series, 0)
		if w.N != c.n || w.Growth != c.growth || w.Leaks != c.leaks || w.Need != c.need {
			t.Errorf("%s: n %d, %s, leaks %v, needs %d; want %d, %s, %v, %d", name, w.N, w.Growth, w.Leaks, w.Need, c.n, c.growth, c.leaks, c.need)
		}
	}
	if w := HeapRule.Watch(flat(219), 200); w.N != 0 || w.Need != 1 {
		t.Errorf("what is kept for 200 cycles: %+v", w)
	}
}
