package leak

import (
	"bytes"
	"math"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

var kept [][]byte

// keep has a library allocate, and lets go of every other object.
//
//go:noinline
func keep(n, size int) {
	for range n {
		kept = append(kept, nil)
		for range 2 {
			kept[len(kept)-1] = bytes.Repeat([]byte{1}, size)
		}
	}
}

// Two profiles of this very program, which keeps 20 objects a cycle in between.
func TestSites(t *testing.T) {
	rate := runtime.MemProfileRate
	runtime.MemProfileRate = 1
	defer func() { runtime.MemProfileRate, kept = rate, nil }()
	kept = make([][]byte, 0, 1000)
	heap := func() []byte {
		for range 3 { // the profile is as old as the collection before the last
			runtime.GC()
		}
		var b bytes.Buffer
		if err := pprof.Lookup("heap").WriteTo(&b, 0); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	keep(7, 1024) // those are in both
	first := heap()
	keep(200, 1024)
	sites, err := Sites(first, heap(), 10)
	if err != nil || len(sites) == 0 {
		t.Fatalf("%v (%v)", sites, err)
	}
	s := sites[0]
	if !strings.HasPrefix(s.Where, "sites_test.go:") || !strings.HasSuffix(s.Where, "leak.keep") || math.Abs(s.Objects-20) > .5 || math.Abs(s.Bytes-20480) > 600 || s.Share < .5 {
		t.Errorf("%+v", sites)
	}
	x := record.Statement{Resource: Heap, Verdict: record.Leak, Text: "LEAK heap"}
	if blame(&x, sites); !strings.Contains(x.Text, "% of what grew is at sites_test.go:") || !strings.Contains(x.Text, " 20.0") || x.Where != s.Where {
		t.Errorf("%+v", x)
	}
	y := record.Statement{Resource: Heap, Verdict: record.Pass, Text: "NO LEAK"}
	z := record.Statement{Resource: Heap, Verdict: record.Inconclusive, Text: "INCONCLUSIVE heap: " + givenBack}
	if blame(&z, sites); z.Where != "" {
		t.Errorf("memory that is given back is blamed on %s", z.Where)
	}
	if blame(&y, sites); y.Where != "" {
		t.Errorf("a pass is blamed on %s", y.Where)
	}
	if _, err := Sites(nil, first, 1); err == nil {
		t.Error("nothing is a profile")
	}
}
