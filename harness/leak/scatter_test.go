package leak

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"testing"
)

// The heap of a server in soaks of ten minutes, a reading after each cycle: twice timers
// held some of the ended sessions, then it was mended. After a flap that the sessions
// lived through it holds 100 KB more than after a fault that ended them.
func TestScatterOfRealSoaks(t *testing.T) {
	text, err := os.ReadFile("testdata/heaps.json")
	if err != nil {
		t.Fatal(err)
	}
	var heaps map[string][]float64
	if err := json.Unmarshal(text, &heaps); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]Growth{
		"timers that hold ended sessions": Slowing,
		"one kind of them":                Growing,
		"mended":                          Flat,
	} {
		judged := heaps[name][WarmUp(FewestRounds, 0):]
		x := HeapRule.Judge(judged)
		if x.Growth != want {
			t.Errorf("%s: %s by %.0f B a cycle, want %s", name, x.Growth, x.Slope, want)
		}
		// What could hide behind such scatter is said.
		if y := HeapRule.Resolution(judged); want == Flat && (y < 5e3 || y > 25e3) {
			t.Errorf("%s: no leak above %.0f B a cycle could hide", name, y)
		}
	}
}

// A leak as large as what the readings scatter by is found, with more of them.
func TestScatterHidesNoLeakForLong(t *testing.T) {
	const leak = 2000.0
	series := make([]float64, 200)
	for i := range series {
		series[i] = 3e6 + leak*float64(i) + 1e5*float64((i*7919)%5%2)
	}
	for n, want := range map[int]Growth{20: Flat, 200: Growing} {
		if x := HeapRule.Judge(series[:n]); x.Growth != want {
			t.Errorf("%d cycles: %s, slope %.0f of %.0f B a cycle, tolerance %.0f", n, x.Growth, x.Slope, leak, x.D)
		}
	}
}

// Of sound targets that hold 100 KB more after one fault in four, few are taken for
// anything else, and none for a leak that is found again.
func TestScatterIsNoTrend(t *testing.T) {
	const runs, n = 500, 20
	random := rand.New(rand.NewPCG(1, 2))
	other, leaks := 0, 0
	for range runs {
		series := make([]float64, 2*n)
		for i := range series {
			series[i] = 3e6 + 1e4*random.NormFloat64()
			if random.IntN(4) == 0 {
				series[i] += 1e5
			}
		}
		first := HeapRule.Judge(series[:n]).Growth
		if first != Flat {
			other++
		}
		if first == Growing && HeapRule.Judge(series[n:]).Growth == Growing {
			leaks++
		}
	}
	if other > runs/10 || leaks > 0 {
		t.Errorf("of %d sound targets %d are not flat, and %d leak", runs, other, leaks)
	}
}
