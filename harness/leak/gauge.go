package leak

import (
	"fmt"
	"slices"
	"strings"

	"github.com/halfopen/halfopen/harness/record"
)

// gaugePrefix is before a gauge's name in the table back to baseline.
const gaugePrefix = "gauge "

// gaugesKind is the kind of gauges among the counts of a reading.
const gaugesKind = "gauges"

func isGauge(r record.Row) bool { return strings.HasPrefix(r.Resource, gaugePrefix) }

// gaugeIn finds a gauge of a sample. One that the sample lacks is in trouble.
func gaugeIn(s record.Sample, name string) record.Gauge {
	for _, g := range s.Gauges {
		if g.Name == name {
			return g
		}
	}
	return record.Gauge{Name: name, Trouble: "was not read"}
}

// gaugeRows compares the gauges that b names. One that could not be read in one of the
// samples is shown, and not judged: gaugeTrouble makes the round INCONCLUSIVE.
func gaugeRows(b, e, f, g record.Sample) []record.Row {
	var rows []record.Row
	for _, was := range b.Gauges {
		value := func(s record.Sample) float64 { return float64(gaugeIn(s, was.Name).Value) }
		r := record.Row{
			Role: g.Role, Resource: gaugePrefix + was.Name,
			Baseline: value(b), Peak: value(e), End: value(f), Settled: value(g),
		}
		r.Excess = max(0, r.Settled-r.Baseline)
		r.OK = r.Excess == 0
		if trouble := gaugeTrouble(Snapshots{B: b, E: e, F: f, G: g}, was.Name); trouble != "" {
			r.OK, r.Excess, r.Note = true, 0, "not judged: "+trouble
		}
		rows = append(rows, r)
	}
	return rows
}

// gaugeTrouble says at which snapshot a gauge could not be read, and why; "" if it could
// be at all that were taken.
func gaugeTrouble(p Snapshots, name string) string {
	for _, s := range p.labelled() {
		if g := gaugeIn(s.sample, name); s.sample.PID != 0 && g.Trouble != "" {
			return fmt.Sprintf("in snapshot %s it %s", s.label, g.Trouble)
		}
	}
	return ""
}

// UnreadGauge names the first gauge of a sample that could not be read, and says why; "" if
// all could be.
func UnreadGauge(s record.Sample) string {
	for _, g := range s.Gauges {
		if g.Trouble != "" {
			return fmt.Sprintf("gauge %s of %s %s", g.Name, s.Role, g.Trouble)
		}
	}
	return ""
}

// gaugeDoubt names the first gauge of a round that could not be read, "" if all could.
func gaugeDoubt(r Round) string {
	for _, p := range r.Processes {
		for _, g := range p.B.Gauges {
			if trouble := gaugeTrouble(p, g.Name); trouble != "" {
				return fmt.Sprintf("gauge %s of %s is not judged: %s", g.Name, p.B.Role, trouble)
			}
		}
	}
	return ""
}

// gaugeHolder names the first gauge that is above its baseline, and says why it counts.
func gaugeHolder(j record.Judgement) (where, why string) {
	for _, r := range j.Table {
		if isGauge(r) && !r.OK {
			return r.Resource + " of " + r.Role,
				fmt.Sprintf("the %s itself says that it holds %.0f, and held %.0f before", r.Role, r.Settled, r.Baseline)
		}
	}
	return "", ""
}

// still states which gauges, by role, were the same in all snapshots of all rounds: had
// what they count leaked, they would not have told.
func still(events []record.Event) []record.Statement {
	type key struct{ role, name string }
	var order []key
	moved := map[key]bool{}
	for _, e := range events {
		if e.Verdict == nil {
			continue
		}
		for _, r := range e.Verdict.Table {
			if !isGauge(r) {
				continue
			}
			k := key{r.Role, strings.TrimPrefix(r.Resource, gaugePrefix)}
			if !slices.Contains(order, k) {
				order = append(order, k)
			}
			moved[k] = moved[k] || r.Peak != r.Baseline || r.End != r.Baseline || r.Settled != r.Baseline
		}
	}
	var said []record.Statement
	for _, role := range roles {
		var names []string
		for _, k := range order {
			if k.role == role && !moved[k] {
				names = append(names, k.name)
			}
		}
		if len(names) > 0 {
			said = append(said, record.Statement{Role: role, Resource: gaugesKind,
				Text: fmt.Sprintf("%s: gauges: not stated: %s never moved in this run, which proves nothing of them", role, strings.Join(names, ", "))})
		}
	}
	return said
}
