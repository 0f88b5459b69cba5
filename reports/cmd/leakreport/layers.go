package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
)

// layersCommand prints which layer freed what.
func layersCommand() *cobra.Command {
	file := ""
	cmd := &cobra.Command{
		Use:   "layers DIR...",
		Short: "Print which layer ended connections after which fault, and when",
		Long: `layers takes the records of one or more runs, usually of one target with its layers
switched off in turn, and prints a line for each fault and kind of traffic, with a
column for each target:

  5.1 of 5.0 s, flush 7 heartbeat 1

says that the last connection was gone 5.1 s after the fault was in force, the
median over the rounds; that the window was 5.0 s; and that by the target's own
words ("noticed" in its file) a write deadline ended seven sessions and a missed
heartbeat one. In brackets stands the detector that bounds the window, where the
target says nothing. "survived" is what an outage must be that is shorter than all
detectors, and "never" refers to the layer that is missing, listed below the table.

--json writes the same, and when the first connection was gone (from the beginning
of the injection), for scripts.`,
		Example: "  leakreport layers reports/runs/20261123-1*",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var t layerTable
			for _, dir := range args {
				events, err := record.Read(dir)
				if err != nil && !errors.Is(err, record.ErrCut) {
					return err
				}
				t.add(events)
			}
			if len(t.Rows) == 0 {
				return errors.New("print layers: no story was judged in these runs")
			}
			t.order()
			if file != "" {
				if err := t.write(file); err != nil {
					return err
				}
			}
			return t.print(c.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&file, "json", "", "write the table to this `FILE` too")
	return cmd
}

// layerTable is what --json writes.
type layerTable struct {
	Targets []string   `json:"targets"`
	Rows    []layerRow `json:"rows"`
}

// layerRow is a fault and a traffic on one target.
type layerRow struct {
	Target    string         `json:"target"`
	Story     string         `json:"story"` // the first of them
	Fault     string         `json:"fault"` // "cable pulled at client"; the story's name if it was judged nowhere
	Traffic   string         `json:"traffic"`
	Verdict   record.Verdict `json:"verdict"`              // the worst
	BoundedBy string         `json:"bounded_by,omitempty"` // the detector that decides the window
	Window    float64        `json:"window_s"`
	First     float64        `json:"first_gone_s"` // -1: none was
	Last      float64        `json:"last_gone_s"`  // -1: not all were
	Survived  bool           `json:"survived"`
	Noticed   map[string]int `json:"noticed,omitempty"` // what ended sessions, by the target's own words
	Rounds    int            `json:"rounds"`
	Never     string         `json:"never,omitempty"` // the layer that is missing

	first, last []float64
}

// add adds what one run says.
func (t *layerTable) add(events []record.Event) {
	target := ""
	names, traffic := map[string]string{}, map[string]string{} // by spec; by spec and cycle
	key := func(spec string, cycle int) string { return fmt.Sprint(spec, " ", cycle) }
	for _, e := range events {
		switch {
		case e.Run != nil:
			target = e.Run.Target
			if !slices.Contains(t.Targets, target) {
				t.Targets = append(t.Targets, target)
			}
		case e.Begin != nil:
			names[e.Spec] = e.Begin.Name
		case e.Load != nil:
			traffic[key(e.Spec, e.Cycle)] = e.Load.Traffic
		case e.Verdict != nil && e.Verdict.Verdict == record.Skipped:
			t.put(layerRow{Target: target, Story: names[e.Spec], Verdict: record.Skipped, Never: e.Verdict.Reason, first: []float64{-1}, last: []float64{-1}})
		}
	}
	for _, c := range leak.Cases(events) {
		f, o := c.Round.Fault, c.Round.Outcome
		row := layerRow{
			Target: target, Story: c.Name, Fault: f.Name + " at " + f.Place, Traffic: traffic[key(c.Spec, c.Cycle)], Verdict: c.Stored.Verdict,
			Window: c.Round.Window.Upper, Survived: c.Round.Window.Survive && o.First < 0, Noticed: maps.Clone(o.Noticed),
			first: []float64{o.First}, last: []float64{o.Returned},
		}
		for _, b := range c.Round.Window.Rows {
			if b.Decides && row.BoundedBy == "" {
				row.BoundedBy = b.Detector
			}
		}
		t.put(row)
	}
}

// put adds a row, to those that are like it.
func (t *layerTable) put(r layerRow) {
	r.Rounds = 1
	for i := range t.Rows {
		old := &t.Rows[i]
		alike := old.Fault == r.Fault && old.Traffic == r.Traffic
		if r.Never != "" {
			alike = old.Story == r.Story
		}
		if old.Target != r.Target || (old.Never == "") != (r.Never == "") || !alike {
			continue
		}
		old.Rounds++
		old.first, old.last = append(old.first, r.first...), append(old.last, r.last...)
		old.Verdict = leak.Worst(old.Verdict, r.Verdict)
		if r.Never != "" {
			old.Verdict = record.Skipped // the worst of nothing judged would be INCONCLUSIVE
		}
		old.Survived = old.Survived && r.Survived
		if old.Noticed == nil {
			old.Noticed = map[string]int{}
		}
		for what, n := range r.Noticed {
			old.Noticed[what] += n
		}
		return
	}
	t.Rows = append(t.Rows, r)
}

// order gives what was skipped the fault and the traffic that the same story had on
// another target, and sorts.
func (t *layerTable) order() {
	judged := map[string]layerRow{}
	for _, r := range t.Rows {
		if r.Never == "" {
			judged[r.Story] = r
		}
	}
	for i := range t.Rows {
		r := &t.Rows[i]
		if r.Never != "" {
			r.Fault, r.Traffic = r.Story, ""
			if j, ok := judged[r.Story]; ok {
				r.Fault, r.Traffic = j.Fault, j.Traffic
			}
		}
		r.First, r.Last = median(r.first), median(r.last)
	}
	slices.SortStableFunc(t.Rows, func(a, b layerRow) int {
		return cmp.Or(cmp.Compare(a.Fault, b.Fault), cmp.Compare(a.Traffic, b.Traffic),
			cmp.Compare(slices.Index(t.Targets, a.Target), slices.Index(t.Targets, b.Target)))
	})
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// write writes the table as JSON.
func (t *layerTable) write(file string) error {
	text, err := json.MarshalIndent(t, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o755)
	}
	if err == nil {
		err = os.WriteFile(file, append(text, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write layers: %w", err)
	}
	return nil
}

// print prints the table for people: a line for a fault and a traffic.
func (t *layerTable) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "fault\ttraffic\t%s\n", strings.Join(t.Targets, "\t"))
	var never []string
	for i := 0; i < len(t.Rows); {
		first := t.Rows[i]
		cells := map[string]string{}
		for ; i < len(t.Rows) && t.Rows[i].Fault == first.Fault && t.Rows[i].Traffic == first.Traffic; i++ {
			r := t.Rows[i]
			text := r.cell()
			if r.Never != "" {
				n := slices.Index(never, r.Never)
				if n < 0 {
					n, never = len(never), append(never, r.Never)
				}
				text = fmt.Sprintf("never [%d]", n+1)
			}
			if old := cells[r.Target]; old != "" {
				text = old + "; " + text
			}
			cells[r.Target] = text
		}
		fmt.Fprintf(w, "%s\t%s", first.Fault, first.Traffic)
		for _, target := range t.Targets {
			fmt.Fprintf(w, "\t%s", cmp.Or(cells[target], "-"))
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for n, why := range never {
		if n == 0 {
			fmt.Fprintln(out)
		}
		if _, err := fmt.Fprintf(out, "[%d] %s\n", n+1, why); err != nil {
			return err
		}
	}
	return nil
}

// cell is what one target did.
func (r layerRow) cell() string {
	switch {
	case r.Verdict != record.Pass:
		return string(r.Verdict)
	case r.Survived:
		return "survived"
	}
	text := fmt.Sprintf("%.1f of %.1f s", r.Last, r.Window)
	switch {
	case r.Last < 0: // a PASS all the same: what was done there may end a connection or not
		text = "none had to end"
		if len(r.Noticed) == 0 {
			return text
		}
	case len(r.Noticed) == 0:
		return fmt.Sprintf("%s (%s)", text, r.BoundedBy)
	}
	var by []string
	for _, what := range slices.SortedFunc(maps.Keys(r.Noticed), func(a, b string) int {
		return cmp.Or(cmp.Compare(r.Noticed[b], r.Noticed[a]), cmp.Compare(a, b))
	}) {
		by = append(by, fmt.Sprintf("%s %d", what, r.Noticed[what]))
	}
	return text + ", " + strings.Join(by, " ")
}
