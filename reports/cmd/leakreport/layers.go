package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
)

// layersCommand prints which layer freed what.
func layersCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "layers DIR...",
		Short: "Print which layer ended connections after which fault, and when",
		Long: `layers takes the records of one or more runs, usually of one target with its layers
switched off in turn, and prints a line for each target, fault and kind of traffic:
the detector that bounds it, its window, and when the first connection (from the
beginning of the injection) and the last one (from its end) were really gone, the
median over the rounds. "never" lists the stories that were SKIPPED, each with the
layer that is missing.`,
		Example: "  leakreport layers reports/runs/20261123-1*",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var rows []layerRow
			for _, dir := range args {
				events, err := record.Read(dir)
				if err != nil && !errors.Is(err, record.ErrCut) {
					return err
				}
				rows = append(rows, layerRows(events)...)
			}
			return printLayers(c.OutOrStdout(), rows)
		},
	}
}

// layerRow is one target, fault and traffic.
type layerRow struct {
	target, fault, traffic string
	detector               string // "" if nothing was judged
	window                 float64
	first, last            []float64
	skipped                string // why
}

func layerRows(events []record.Event) []layerRow {
	target := ""
	traffic := map[string]string{} // by spec and cycle
	key := func(spec string, cycle int) string { return fmt.Sprint(spec, " ", cycle) }
	var rows []layerRow
	for _, e := range events {
		switch {
		case e.Run != nil:
			target = e.Run.Target
		case e.Load != nil:
			traffic[key(e.Spec, e.Cycle)] = e.Load.Traffic
		case e.Verdict != nil && e.Verdict.Verdict == record.Skipped:
			rows = append(rows, layerRow{target: target, skipped: e.Verdict.Reason})
		}
	}
	for _, c := range leak.Cases(events) {
		f, o := c.Round.Fault, c.Round.Outcome
		row := layerRow{
			target: target, fault: f.Name + " at " + f.Place, traffic: traffic[key(c.Spec, c.Cycle)],
			window: c.Round.Window.Upper, first: []float64{o.First}, last: []float64{o.Returned},
		}
		for _, b := range c.Round.Window.Rows {
			if b.Decides && row.detector == "" {
				row.detector = b.Detector
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// printLayers merges equal rows and prints them as a table.
func printLayers(out io.Writer, rows []layerRow) error {
	slices.SortStableFunc(rows, func(a, b layerRow) int {
		return cmp.Or(cmp.Compare(a.fault, b.fault), cmp.Compare(a.traffic, b.traffic), cmp.Compare(a.target, b.target))
	})
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	var never []string
	fmt.Fprintln(w, "fault\ttraffic\ttarget\tbounded by\twindow\tfirst gone\tlast gone\trounds")
	for i := 0; i < len(rows); {
		r, n := rows[i], 1
		for ; i+n < len(rows) && same(rows[i+n], r); n++ {
			r.first, r.last = append(r.first, rows[i+n].first...), append(r.last, rows[i+n].last...)
		}
		i += n
		if r.skipped != "" {
			never = append(never, r.skipped)
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.2f s\t%.2f s\t%.2f s\t%d\n", r.fault, r.traffic, r.target, r.detector, r.window, median(r.first), median(r.last), n)
	}
	if err := w.Flush(); err != nil || len(never) == 0 {
		return err
	}
	_, err := fmt.Fprintf(out, "\nnever:\n  %s\n", strings.Join(never, "\n  "))
	return err
}

func same(a, b layerRow) bool {
	return a.fault == b.fault && a.traffic == b.traffic && a.target == b.target && a.skipped == b.skipped && a.detector == b.detector
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
