package main

import (
	"strings"
	"testing"
)

func TestTakeShard(t *testing.T) {
	for _, c := range []struct {
		shard, index string
		seed, want   int64
		name, fails  string
	}{
		{"", "", 7, 7, "soak", ""},
		{"1/4", "", 7, 10000000007, "soak-1of4", ""},
		{"4/4", "", 7, 40000000007, "soak-4of4", ""},
		{"2/4", "9", 7, 20000000007, "soak-2of4", ""}, // told goes before found
		{"", "0", 7, 10000000007, "soak-1", ""},
		{"", "3", 7, 40000000007, "soak-4", ""},
		{"0/4", "", 7, 0, "", "shard 0/4: want the second of four as 2/4"},
		{"5/4", "", 7, 0, "", "shard 5/4"},
		{"2", "", 7, 0, "", "shard 2:"},
		{"a/b", "", 7, 0, "", "shard a/b"},
		{"", "x", 7, 0, "", "JOB_COMPLETION_INDEX=x"},
		{"1/2", "", 1e10, 0, "", "seed 10000000000: with a shard it must be below"},
	} {
		j := job{options: options{shard: c.shard, seed: c.seed}}
		err := j.takeShard(c.index)
		switch {
		case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
			t.Errorf("%+v: %v", c, err)
		case c.fails == "" && (err != nil || j.seed != c.want || j.name() != c.name):
			t.Errorf("%+v: seed %d, %s (%v)", c, j.seed, j.name(), err)
		}
	}
}
