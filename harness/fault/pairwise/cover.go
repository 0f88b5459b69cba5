// Package pairwise makes covering sets: few rows in which every combination of T factors
// (every pair, with T = 2) occurs that can occur at all. Most failures need one or two
// factors to be as they are, few need three (Kuhn, Wallace and Gallo, Software Fault
// Interactions and Implications for Software Testing, 2004).
package pairwise

import (
	"fmt"
	"slices"
	"strings"
)

// Factor is one thing that may be different from row to row.
type Factor struct {
	Name   string
	Levels []string
}

// Table is the factors, and what cannot be.
type Table struct {
	Factors []Factor
	// Excluded says why a row, one level a factor, cannot be; "" if it can. Of a combination,
	// with "" for the other levels, it says why no row can have it, if it knows. A combination
	// that is in no row that can be is excluded.
	Excluded func(row []string) string
}

// Combination is the levels of some factors; "" for each of the others.
type Combination []string

// String names them: "fault=kill, traffic=idle" without the names of the factors.
func (c Combination) String() string {
	return strings.Join(slices.DeleteFunc(slices.Clone(c), func(s string) bool { return s == "" }), " + ")
}

// Excluded is a combination that is in no row, with the reason.
type Excluded struct {
	Combination Combination `json:"combination"`
	Reason      string      `json:"reason"`
}

// Set is a covering set.
type Set struct {
	T        int        `json:"t"`
	Rows     [][]string `json:"rows"`     // one level a factor; none could be left out
	Covered  int        `json:"covered"`  // combinations of T factors
	Excluded []Excluded `json:"excluded"` // those of T factors that cannot be
}

// Cover makes a covering set, greedily: each row is the one that covers the most of what is
// left, the first of those that are equally good. Then rows go that the later ones made
// needless. The same table gives the same set.
func (t Table) Cover(strength int) (Set, error) {
	if strength < 1 || strength > len(t.Factors) {
		return Set{}, fmt.Errorf("cover combinations of %d factors: there are %d", strength, len(t.Factors))
	}
	s := Set{T: strength}
	rows, reasons := t.rows()
	left := map[string]bool{}
	parts := make([][]string, len(rows)) // the combinations of each row
	for i, row := range rows {
		parts[i] = combinations(row, strength)
		for _, c := range parts[i] {
			left[c] = true
		}
	}
	s.Covered = len(left)
	s.Excluded = t.excluded(left, reasons, strength)
	for len(left) > 0 {
		best, most := -1, 0
		for i := range rows {
			n := 0
			for _, c := range parts[i] {
				if left[c] {
					n++
				}
			}
			if n > most {
				best, most = i, n
			}
		}
		s.Rows = append(s.Rows, rows[best])
		for _, c := range parts[best] {
			delete(left, c)
		}
	}
	times := map[string]int{}
	for _, row := range s.Rows {
		for _, c := range combinations(row, strength) {
			times[c]++
		}
	}
	for i := len(s.Rows) - 1; i >= 0; i-- {
		own := combinations(s.Rows[i], strength)
		if slices.ContainsFunc(own, func(c string) bool { return times[c] == 1 }) {
			continue
		}
		for _, c := range own {
			times[c]--
		}
		s.Rows = slices.Delete(s.Rows, i, i+1)
	}
	return s, nil
}

// Missing are the combinations that can be, and are in none of the rows.
func (t Table) Missing(rows [][]string, strength int) []Combination {
	have := map[string]bool{}
	for _, row := range rows {
		for _, c := range combinations(row, strength) {
			have[c] = true
		}
	}
	var missing []Combination
	possible, _ := t.rows()
	for _, row := range possible {
		for _, c := range combinations(row, strength) {
			if !have[c] {
				have[c] = true
				missing = append(missing, strings.Split(c, separator))
			}
		}
	}
	return missing
}

// rows are all that can be, in order, and why the others cannot.
func (t Table) rows() (rows [][]string, reasons map[string]string) {
	reasons = map[string]string{}
	row := make([]string, len(t.Factors))
	var fill func(int)
	fill = func(i int) {
		if i == len(row) {
			if why := t.Excluded(row); why != "" {
				reasons[strings.Join(row, separator)] = why
			} else {
				rows = append(rows, slices.Clone(row))
			}
			return
		}
		for _, level := range t.Factors[i].Levels {
			row[i] = level
			fill(i + 1)
		}
	}
	fill(0)
	return rows, reasons
}

// excluded are the combinations that occur in rows that cannot be only. The reason of one
// is its own, or else that of most of its rows.
func (t Table) excluded(possible map[string]bool, reasons map[string]string, strength int) []Excluded {
	votes := map[string]map[string]int{}
	for _, joined := range sorted(reasons) {
		for _, c := range combinations(strings.Split(joined, separator), strength) {
			if possible[c] {
				continue
			}
			if votes[c] == nil {
				votes[c] = map[string]int{}
			}
			votes[c][reasons[joined]]++
		}
	}
	var all []Excluded
	for _, c := range sorted(votes) {
		part := strings.Split(c, separator)
		why, most := t.Excluded(part), 0
		if why != "" {
			all = append(all, Excluded{Combination: part, Reason: why})
			continue
		}
		for _, reason := range sorted(votes[c]) {
			if votes[c][reason] > most {
				why, most = reason, votes[c][reason]
			}
		}
		all = append(all, Excluded{Combination: part, Reason: why})
	}
	return all
}

const separator = "\x00"

// combinations are those of n of the row's levels, each with "" for the others, joined.
func combinations(row []string, n int) []string {
	var all []string
	part := make([]string, len(row))
	var pick func(from, left int)
	pick = func(from, left int) {
		if left == 0 {
			all = append(all, strings.Join(part, separator))
			return
		}
		for i := from; i <= len(row)-left; i++ {
			part[i] = row[i]
			pick(i+1, left-1)
			part[i] = ""
		}
	}
	pick(0, n)
	return all
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
