package leak

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

// readings are n cycles of 20 exposures at rest; change may spoil each, from 0.
func readings(n int, change func(i int, r *record.Reading)) []record.Reading {
	rs := make([]record.Reading, n)
	for i := range rs {
		rs[i] = record.Reading{
			Role: "server", Exposures: 20, FaultEvents: 1, Quiescent: true,
			Counts: map[string]int{"fds": 9, "sockets LISTEN": 2, "goroutines main.serve < main.main": 3},
			Memory: record.Memory{HeapAlloc: 2_000_000, RssAnon: 9_000_000, Freed: true},
		}
		if change != nil {
			change(i, &rs[i])
		}
	}
	return rs
}

func TestStatements(t *testing.T) {
	leaks := func(name string, cycles ...int) func(int, *record.Reading) {
		return func(i int, r *record.Reading) {
			for _, c := range cycles {
				if i+1 >= c {
					r.Counts[name]++
				}
			}
		}
	}
	heap := func(bytes float64) func(int, *record.Reading) {
		return func(i int, r *record.Reading) { r.Memory.HeapAlloc += int64(bytes * float64(i)) }
	}
	const clean = "NO LEAK sockets: 0 in 640 exposures; a leak of 1 in 214 or more would have been seen (95 %)"
	for name, c := range map[string]struct {
		s    Series
		want []string // the beginning of each statement, or all of it
	}{
		"clean": {Series{Readings: readings(38, nil), Pace: 10}, []string{
			clean, strings.Replace(clean, "sockets", "fds", 1), strings.Replace(clean, "sockets", "goroutines", 1),
			"heap: not stated: needs 42 more cycles, about 7 min", "RssAnon: not stated: needs 42 more cycles, about 7 min",
		}},
		"two goroutines": {Series{Readings: readings(505, leaks("goroutines main.hold < main.serve", 100, 300))}, []string{
			"NO LEAK sockets", "NO LEAK fds",
			"LEAK goroutines: 2 in 500 cycles, 0.004 per cycle (95 % CI 0.00048 to 0.014), 1 in 4990 exposures, main.hold < main.serve",
			"NO LEAK heap: +0 B per cycle; no leak above 39 B per cycle could hide in these 445 cycles (95 %), 2 B per exposure",
			"NO LEAK RssAnon: +0 B per cycle; no leak above",
		}},
		"one descriptor, too early to tell": {Series{Readings: readings(40, leaks("fds", 12)), Pace: 60}, []string{
			"NO LEAK sockets", "INCONCLUSIVE fds: SUSPECT, +1 once at cycle 12, fds; 8 more cycles, about 8 min needed", "NO LEAK goroutines",
		}},
		"one descriptor, and no more": {Series{Readings: readings(50, leaks("fds", 12))}, []string{
			"NO LEAK sockets", "NO LEAK fds: +1 once at cycle 12 of 50, fds; a leak of 1 in 185 exposures or more would have been seen twice (95 %)", "NO LEAK goroutines",
		}},
		"signatures are not netted": {Series{Readings: readings(40, func(i int, r *record.Reading) {
			leaks("goroutines main.a", 10, 20)(i, r)
			if i >= 9 {
				r.Counts["goroutines main.serve < main.main"]--
			}
			if i >= 19 {
				r.Counts["goroutines main.serve < main.main"]--
			}
		})}, []string{"NO LEAK sockets", "NO LEAK fds", "LEAK goroutines: 2 in 35 cycles"}},
		"too few for anything": {Series{Readings: readings(6, nil), Pace: 30}, []string{
			"sockets: not stated: needs 1 more cycle, about 1 min", "fds: not stated", "goroutines: not stated", "heap: not stated", "RssAnon: not stated",
		}},
		"2 KB a cycle": {Series{Readings: readings(100, heap(2048))}, []string{
			"NO LEAK", "NO LEAK", "NO LEAK", "LEAK heap: 2.0 KB per cycle (95 % CI 2.0 KB to 2.0 KB), found again in 20 fresh cycles", "NO LEAK RssAnon",
		}},
		"a candidate": {Series{Readings: readings(82, heap(2048)), Pace: 12}, []string{
			"NO LEAK", "NO LEAK", "NO LEAK", "INCONCLUSIVE heap: LEAK of 2.0 KB per cycle, unconfirmed; needs 18 more cycles, about 4 min",
		}},
		"given back": {Series{Readings: readings(120, heap(-1000))}, []string{
			"NO LEAK", "NO LEAK", "NO LEAK", "INCONCLUSIVE heap: memory is being given back (-1.0 KB per cycle)",
		}},
		"never at rest": {Series{Readings: readings(120, func(_ int, r *record.Reading) { r.Quiescent = false })}, []string{
			"NO LEAK", "NO LEAK", "NO LEAK", "INCONCLUSIVE heap: not at rest after 120 of 120 cycles", "INCONCLUSIVE RssAnon",
		}},
		"restless": {Series{Readings: readings(120, func(i int, r *record.Reading) { r.Quiescent = i%8 != 0 })}, []string{
			"NO LEAK", "NO LEAK", "NO LEAK", "INCONCLUSIVE heap: not at rest after 15 of 120 cycles", "INCONCLUSIVE RssAnon",
		}},
		"what is not at rest is left out": {Series{Readings: readings(121, func(i int, r *record.Reading) {
			if r.Quiescent = i%20 != 0; !r.Quiescent {
				r.Memory.HeapAlloc += 1e9
			}
		})}, []string{"NO LEAK", "NO LEAK", "NO LEAK", "NO LEAK heap: +0 B per cycle"}},
		"not Go": {Series{Readings: readings(120, func(_ int, r *record.Reading) { r.Memory.HeapAlloc = 0 })}, []string{
			"NO LEAK", "NO LEAK", "NO LEAK", "heap: not stated: the target does not tell its heap", "NO LEAK RssAnon: +0 B per cycle",
		}},
	} {
		all := append(c.s.Counts(FloorConfirm), c.s.Memory()...)
		for i, want := range c.want {
			if i >= len(all) || !strings.HasPrefix(all[i].Text, want) {
				t.Errorf("%s: statement %d of %v, want %q", name, i, texts(all), want)
				break
			}
			word, _, _ := strings.Cut(all[i].Text, " ")
			verdict := map[string]record.Verdict{"NO": record.Pass, "LEAK": record.Leak, "INCONCLUSIVE": record.Inconclusive}[word]
			if all[i].Verdict != verdict || (verdict == record.Pass) != (all[i].Limit != nil) || (verdict == record.Leak) != (all[i].Rate != nil) {
				t.Errorf("%s: %q with verdict %q, limit %v, rate %v", name, all[i].Text, all[i].Verdict, all[i].Limit, all[i].Rate)
			}
		}
	}
}

func texts(all []record.Statement) (t []string) {
	for _, x := range all {
		t = append(t, x.Text)
	}
	return t
}

func TestBytes(t *testing.T) {
	for b, want := range map[float64]string{0: "0 B", 9.4: "9 B", 999: "999 B", 999.7: "1.0 KB", 2048: "2.0 KB", -1500: "-1.5 KB", 78e3: "78 KB", 3.44e6: "3.4 MB", 2e9: "2.0 GB"} {
		if got := Bytes(b); got != want {
			t.Errorf("Bytes(%v) = %q, want %q", b, got, want)
		}
	}
	for b, want := range map[float64]string{-0.3: "+0 B", 9: "+9 B", -9: "-9 B", 2100: "+2.1 KB"} {
		if got := signedBytes(b); got != want {
			t.Errorf("signedBytes(%v) = %q, want %q", b, got, want)
		}
	}
}

// A claim of "1 in N" is never stronger than the bound.
func TestOneIn(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 0))
	for range 1000 {
		n := 1 + r.IntN(5000)
		u := Upper(0, n, Confidence)
		text := NoLeak("fds", 0, n, "exposure")
		if claim := 1 / u; !strings.Contains(text, "1 in "+oneIn(u)+" or more") || claim < 1 {
			t.Fatalf("%d: %s", n, text)
		}
	}
	if oneIn(1) != "1" || oneIn(0.3) != "3" || oneIn(0.0051) != "196" {
		t.Errorf("%s %s %s", oneIn(1), oneIn(.3), oneIn(.0051))
	}
}

// The pages of one process are excused by its own heap, not by another's.
func TestDecides(t *testing.T) {
	heap := record.Statement{Role: "server", Resource: Heap, Verdict: record.Pass}
	for _, c := range []struct {
		role string // whose RssAnon is INCONCLUSIVE
		want record.Verdict
	}{{"server", record.Pass}, {"client", record.Inconclusive}} {
		said := []record.Statement{heap, {Role: c.role, Resource: RSS, Verdict: record.Inconclusive}}
		if got, told := Decides(said); !told || got.Verdict != c.want {
			t.Errorf("RssAnon of the %s: %q decides (%v), want %q", c.role, got.Verdict, told, c.want)
		}
	}
}
