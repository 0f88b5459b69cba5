package matrix

import (
	"slices"
	"testing"
)

// Every fault of the table can be made at each of its places, and has one.
func TestFaultsOfTheTableAreReal(t *testing.T) {
	for _, name := range faults {
		places, class := placesOf(name)
		if len(places) == 0 || class == "" {
			t.Errorf("%s: places %v, class %q", name, places, class)
		}
		if name == Flap {
			continue
		}
		for _, at := range places {
			if _, err := Step(name, at).Make(); err != nil {
				t.Errorf("%s at %s: %v", name, at, err)
			}
		}
	}
}

// Each pair and each triple that can be is in the set, each row is needed, and each level
// is in some row.
func TestMatrixIsCovered(t *testing.T) {
	for _, strength := range []int{2, 3} {
		s, err := Table().Cover(strength)
		if err != nil {
			t.Fatal(err)
		}
		if missing := Table().Missing(s.Rows, strength); len(missing) > 0 {
			t.Errorf("T=%d: missing are %v", strength, missing)
		}
		for i, f := range Table().Factors {
			for _, level := range f.Levels {
				if !slices.ContainsFunc(s.Rows, func(row []string) bool { return row[i] == level }) {
					t.Errorf("T=%d: no row has %s %s", strength, f.Name, level)
				}
			}
		}
		step := 1
		if strength == 3 {
			step = 100 // looking at each takes too long
		}
		for i := 0; i < len(s.Rows); i += step {
			if len(Table().Missing(slices.Delete(slices.Clone(s.Rows), i, i+1), strength)) == 0 {
				t.Errorf("T=%d: without %v nothing is missing", strength, s.Rows[i])
			}
		}
		for _, e := range s.Excluded {
			if e.Reason == "" {
				t.Errorf("T=%d: %v has no reason", strength, e.Combination)
			}
		}
		t.Logf("T=%d: %d rows, %d combinations, %d excluded", strength, len(s.Rows), s.Covered, len(s.Excluded))
	}
}
