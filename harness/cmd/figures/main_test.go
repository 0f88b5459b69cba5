package main

import (
	"maps"
	"testing"
)

func TestParse(t *testing.T) {
	got := parse(`goos: linux
BenchmarkLab/ThreeHostsNAT-2         	     174	   6592543 ns/op
BenchmarkCrowd/TargetCPU-2   20	 12076785248 ns/op	 0.01559 %core-alone	 0.002978 %core-sampled
PASS
ok  	github.com/halfopen/halfopen/harness/lab	11.180s
`)
	want := map[string]float64{
		"BenchmarkLab/ThreeHostsNAT ns/op":       6592543,
		"BenchmarkCrowd/TargetCPU ns/op":         12076785248,
		"BenchmarkCrowd/TargetCPU %core-alone":   0.01559,
		"BenchmarkCrowd/TargetCPU %core-sampled": 0.002978,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAMissedGoalIsNotOK(t *testing.T) {
	for _, c := range []struct {
		value, goal float64
		want        bool
	}{{15, 15, true}, {15.1, 15, false}, {99, 0, true}} {
		if f := show(figure{Value: c.value, Goal: c.goal}); f.OK != c.want {
			t.Errorf("%g with a goal of %g: %v", c.value, c.goal, f.OK)
		}
	}
}
