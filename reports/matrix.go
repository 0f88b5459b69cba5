package reports

import (
	"cmp"
	"slices"
	"strings"

	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
)

// matrixView is what was tried: a row for each fault at a place, a column for each
// kind of traffic.
type matrixView struct {
	Traffic []string
	Rows    []matrixRow
}

type matrixRow struct {
	Fault, Place                                 string
	Cells                                        []matrixCell
	Faults, Exposures, Slowest, Window, Excluded string
}

// matrixCell is the verdicts of one combination; Link leads to the worst of them.
type matrixCell struct {
	Word  word
	Count int
	Link  string
}

// tried is a row while it is counted.
type tried struct {
	fault, place string
	cells        map[string]*matrixCell
	rounds       []*round
	worst        map[string]record.Verdict
	upper        float64
}

// matrix sums up the rounds, nil if no fault was injected.
func (s *story) matrix() *matrixView {
	var rows []*tried
	var traffic []string
	for _, sp := range s.specs {
		for _, r := range sp.rounds {
			f, ok := r.injected()
			if !ok {
				continue
			}
			kind := "unknown"
			if len(r.loads) > 0 {
				kind = cmp.Or(r.loads[len(r.loads)-1].it.Traffic, "no visitors")
			}
			if !slices.Contains(traffic, kind) {
				traffic = append(traffic, kind)
			}
			at := slices.IndexFunc(rows, func(t *tried) bool { return t.fault == f.Name && t.place == f.Place })
			if at < 0 {
				at = len(rows)
				rows = append(rows, &tried{fault: f.Name, place: f.Place, cells: map[string]*matrixCell{}, worst: map[string]record.Verdict{}})
			}
			rows[at].add(sp, r, kind)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	slices.Sort(traffic)
	m := &matrixView{Traffic: traffic}
	for _, t := range rows {
		m.Rows = append(m.Rows, t.row(traffic))
	}
	return m
}

// injected is the fault of the round.
func (r *round) injected() (record.Fault, bool) {
	for _, f := range r.faults {
		if f.it.Phase == "injected" {
			return f.it, true
		}
	}
	return record.Fault{}, false
}

func (t *tried) add(sp *spec, r *round, kind string) {
	c := t.cells[kind]
	if c == nil {
		c = &matrixCell{}
		t.cells[kind] = c
	}
	c.Count++
	if c.Count == 1 || worse(r.verdict, t.worst[kind]) {
		t.worst[kind] = r.verdict
		c.Word, c.Link = verdictWord(r.verdict), sp.anchor
	}
	t.rounds = append(t.rounds, r)
	if w, known := r.upper(); known {
		t.upper = max(t.upper, w)
	}
}

func (t *tried) row(traffic []string) matrixRow {
	exposures, events := totals(t.rounds)
	row := matrixRow{Fault: t.fault, Place: t.place, Faults: thousands(events), Exposures: thousands(exposures), Slowest: cleanAfter(t.rounds), Window: seconds(t.upper), Excluded: "–"}
	clean := true
	for _, kind := range traffic {
		c := t.cells[kind]
		if c == nil {
			c = &matrixCell{}
		}
		clean = clean && (c.Count == 0 || t.worst[kind] == record.Pass)
		row.Cells = append(row.Cells, *c)
	}
	survived := slices.ContainsFunc(t.rounds, func(r *round) bool {
		return slices.ContainsFunc(r.windows, func(w timed[record.Window]) bool { return w.it.Survive })
	})
	if survived {
		row.Window = "–"
	}
	if limits := leak.Limits(0, exposures, events); clean && len(limits) > 0 {
		row.Excluded = strings.TrimSuffix(shareWords(limits[0]), " exposures")
	}
	return row
}
