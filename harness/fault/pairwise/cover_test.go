package pairwise

import (
	"reflect"
	"slices"
	"testing"
)

func letters(n int, from byte) (f Factor) {
	f.Name = string(from)
	for i := range n {
		f.Levels = append(f.Levels, string(from)+string(rune('0'+i)))
	}
	return f
}

// a3 goes with b0 only, and c0 with no a0: what those leave out is excluded.
func table() Table {
	return Table{
		Factors: []Factor{letters(4, 'a'), letters(5, 'b'), letters(3, 'c'), letters(2, 'd')},
		Excluded: func(row []string) string {
			switch {
			case row[0] == "a3" && row[1] != "b0":
				return "a3 is at b0"
			case row[0] == "a0" && row[2] == "c0":
				return "a0 has no c0"
			}
			return ""
		},
	}
}

func TestCover(t *testing.T) {
	for strength, c := range map[int]struct{ covered, excluded, most int }{
		1: {14, 0, 5},
		2: {20 + 12 + 8 + 15 + 10 + 6 - 5, 5, 24},
		3: {0, 0, 80},
		4: {0, 0, 120},
	} {
		s, err := table().Cover(strength)
		if err != nil {
			t.Fatal(err)
		}
		if missing := table().Missing(s.Rows, strength); len(missing) > 0 {
			t.Errorf("T=%d: %v are missing", strength, missing)
		}
		for _, row := range s.Rows {
			if why := table().Excluded(row); why != "" {
				t.Errorf("T=%d: %v: %s", strength, row, why)
			}
		}
		if c.covered > 0 && (s.Covered != c.covered || len(s.Excluded) != c.excluded) {
			t.Errorf("T=%d: %d covered, %d excluded: %v", strength, s.Covered, len(s.Excluded), s.Excluded)
		}
		if len(s.Rows) > c.most {
			t.Errorf("T=%d: %d rows", strength, len(s.Rows))
		}
		again, err := table().Cover(strength)
		if err != nil || !reflect.DeepEqual(s, again) {
			t.Errorf("T=%d: the same table gave another set", strength)
		}
	}
	if _, err := table().Cover(5); err == nil {
		t.Error("more factors than there are")
	}
}

// Every row is needed: without it something is missing.
func TestEveryRowIsNeeded(t *testing.T) {
	for strength := 1; strength <= 4; strength++ {
		s, err := table().Cover(strength)
		if err != nil {
			t.Fatal(err)
		}
		for i := range s.Rows {
			if len(table().Missing(slices.Delete(slices.Clone(s.Rows), i, i+1), strength)) == 0 {
				t.Errorf("T=%d: row %v is not needed", strength, s.Rows[i])
			}
		}
	}
}

// A combination that each rule alone allows may still be in no row: it is excluded too.
func TestExcludedByTwoRulesTogether(t *testing.T) {
	x := Table{
		Factors: []Factor{letters(2, 'a'), letters(2, 'b'), letters(2, 'c')},
		Excluded: func(row []string) string {
			switch {
			case row[0] == "a0" && row[1] == "b0":
				return "a0 is not at b0"
			case row[1] == "b1" && row[2] == "c1":
				return "b1 has no c1"
			}
			return ""
		},
	}
	s, err := x.Cover(2)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range s.Excluded {
		if e.Reason == "" {
			t.Errorf("%v has no reason", e.Combination)
		}
		names = append(names, e.Combination.String())
	}
	if want := []string{"b1 + c1", "a0 + c1", "a0 + b0"}; !reflect.DeepEqual(names, want) {
		t.Errorf("excluded are %v, want %v", names, want)
	}
}
