package leak

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// noises are what memory at rest can look like, as series of n with a standard
// deviation of 1, from a generator of random numbers.
var noises = []struct {
	name string
	make func(r *rand.Rand, n int) []float64
	// The largest share of healthy runs that may be taken for a leak, after the look and
	// its confirmation, and the smallest share of leaks of twice the tolerance that one
	// look must find, at 100 and at 500 cycles.
	falsely    float64
	found      [2]float64
	understate float64 // largest share of runs whose Y is too small
}{
	{"white", func(r *rand.Rand, n int) []float64 { return autoregressive(r, n, 0) }, 0, [2]float64{.95, .97}, .02},
	{"AR(1) of 0.8", func(r *rand.Rand, n int) []float64 { return autoregressive(r, n, .8) }, 0, [2]float64{.65, .95}, .02},
	{"AR(1) of 0.98", func(r *rand.Rand, n int) []float64 { return autoregressive(r, n, .98) }, 0, [2]float64{.9, .65}, .02},
	{"spikes in 5 %", func(r *rand.Rand, n int) []float64 {
		s := autoregressive(r, n, 0)
		for i := range s {
			if r.Float64() < .05 {
				s[i] += 20
			}
		}
		return s
	}, 0, [2]float64{.95, .97}, .02},
	{"warm-up", func(r *rand.Rand, n int) []float64 {
		s := autoregressive(r, n, 0)
		for i := range s {
			s[i] += 10 * (1 - math.Exp(-10*float64(i)/float64(n)))
		}
		return s
	}, 0, [2]float64{.95, .97}, .02},
	{"one step", func(r *rand.Rand, n int) []float64 {
		s, at := autoregressive(r, n, 0), r.IntN(n)
		for i := at; i < n; i++ {
			s[i] += 6
		}
		return s
	}, 0, [2]float64{.95, .97}, .02},
	{"steps that get rarer", func(r *rand.Rand, n int) []float64 {
		s, level := autoregressive(r, n, 0), 0.0
		for i := range s {
			if r.Float64() < 10/float64(10+i) {
				level++
			}
			s[i] += level / 2
		}
		return s
	}, .03, [2]float64{.9, .97}, .02},
	{"random walk", func(r *rand.Rand, n int) []float64 {
		s, level := make([]float64, n), 0.0
		for i := range s {
			level += r.NormFloat64() * 3 / math.Sqrt(float64(n))
			s[i] = level
		}
		return s
	}, .03, [2]float64{.6, .25}, .06},
}

// autoregressive noise: each value is rho times the last, and something new.
func autoregressive(r *rand.Rand, n int, rho float64) []float64 {
	s, x := make([]float64, n), r.NormFloat64()
	for i := range s {
		x = rho*x + math.Sqrt(1-rho*rho)*r.NormFloat64()
		s[i] = x
	}
	return s
}

// simulated is the rule for series with a standard deviation of 1: six of them in all
// are tolerated.
var simulated = Rule{Total: 6}

// What the rule says under each kind of noise: it raises no false alarm, and finds what
// leaks.
func TestRoundsUnderNoise(t *testing.T) {
	const runs = 400
	for _, kind := range noises {
		for size, n := range []int{100, 500} {
			r := rand.New(rand.NewPCG(5, uint64(n)))
			falsely, found := 0, 0
			for range runs {
				s := kind.make(r, 2*n)
				if simulated.Judge(s[:n]).Growth == Growing && simulated.Judge(s[n:]).Growth == Growing {
					falsely++
				}
				leak := kind.make(r, n)
				for i := range leak {
					leak[i] += 2 * simulated.Tolerance(n) * float64(i)
				}
				if simulated.Judge(leak).Growth == Growing {
					found++
				}
			}
			t.Logf("%-22s n = %d: false alarms %5.1f %%, leaks found %5.1f %%", kind.name, n, percent(falsely, runs), percent(found, runs))
			if float64(falsely) > kind.falsely*runs {
				t.Errorf("%s, %d cycles: %d of %d healthy runs are taken for a leak", kind.name, n, falsely, runs)
			}
			if float64(found) < kind.found[size]*runs {
				t.Errorf("%s, %d cycles: a leak of twice the tolerance is found in %d of %d runs", kind.name, n, found, runs)
			}
		}
	}
}

func percent(k, n int) float64 { return 100 * float64(k) / float64(n) }

// A run that is found flat states a Y. It is wrong if the true leak was larger.
func TestResolutionCovers(t *testing.T) {
	const runs, n = 400, 100
	for _, kind := range noises {
		for _, leak := range []float64{0, 1, 2} { // times the tolerance
			r := rand.New(rand.NewPCG(6, uint64(leak)))
			wrong, alone := 0, 0
			for range runs {
				s := kind.make(r, n)
				b := leak * simulated.Tolerance(n)
				for i := range s {
					s[i] += b * float64(i)
				}
				x := simulated.Judge(s)
				if x.Growth != Flat {
					continue
				}
				if simulated.Resolution(s) < b {
					wrong++
				}
				if x.slopeLimit() < b {
					alone++
				}
			}
			if float64(wrong) > kind.understate*runs {
				t.Errorf("%s: a leak of %v tolerances is above Y in %d of %d runs (above Sen's limit alone in %d)", kind.name, leak, wrong, runs, alone)
			}
		}
	}
}

func (x Rounds) slopeLimit() float64 { return trendOf(x.Medians).limit(.05) / x.length }

func ExampleRule_Resolution() {
	r := rand.New(rand.NewPCG(7, 0))
	series := make([]float64, 500)
	for i := range series {
		series[i] = 2e6 + 1000*r.NormFloat64()
	}
	w := HeapRule.look(series, 500)
	fmt.Printf("%s: %s per cycle, nothing above %s per cycle could hide\n", w.Growth, signedBytes(w.Slope), Bytes(HeapRule.Y(w)))
	// Output: flat: -1 B per cycle, nothing above 41 B per cycle could hide
}
