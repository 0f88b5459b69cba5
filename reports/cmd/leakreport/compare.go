package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"

	"github.com/aclements/go-moremath/stats"
	"github.com/spf13/cobra"

	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/reports"
)

// compareCommand says what differs between two runs.
func compareCommand(status *int) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "compare A B",
		Short: "Say what differs between two runs, beyond what is noise",
		Long: `compare takes two run folders and compares verdicts, bounds, and the times to recover.

Specs are matched by name. Times are compared for each fault, place and traffic, over
all rounds of each run: with four rounds or more on both sides by the Mann-Whitney U
test (it differs if p < 0.01 and the medians are more than 0.1 s apart, which is how
finely they are read); with fewer, it differs only if the ranges do not overlap and lie
further apart than the slack that the judge itself allows.

Exit status: 0 nothing differs; 1 something does; 2 wrong usage, or no record.`,
		Example: "  leakreport compare reports/runs/20261120-093000-soak reports/runs/latest",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			var sides [2]side
			for i, arg := range args {
				dir, err := folder([]string{arg})
				if err != nil {
					return err
				}
				if sides[i], err = readSide(dir); err != nil {
					return err
				}
			}
			d := differences(sides[0], sides[1])
			if d.Differs() {
				*status = 1
			}
			if asJSON {
				enc := json.NewEncoder(c.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(d)
			}
			return d.print(c.OutOrStdout())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}

// side is one of the two runs.
type side struct {
	summary record.Summary
	times   map[string][]float64 // by fault, place and traffic
	slack   map[string]float64
}

func readSide(dir string) (side, error) {
	s := side{times: map[string][]float64{}, slack: map[string]float64{}}
	var err error
	if s.summary, err = reports.Summarize(dir); err != nil {
		return s, err
	}
	events, err := record.Read(dir)
	if err != nil && !errors.Is(err, record.ErrCut) {
		return s, err
	}
	traffic := map[string]string{}
	for _, e := range events {
		if e.Load != nil {
			traffic[fmt.Sprint(e.Spec, " ", e.Cycle)] = e.Load.Traffic
		}
	}
	for _, c := range leak.Cases(events) {
		if c.Round.Outcome.Returned < 0 || c.Stored.Verdict == record.Inconclusive {
			continue
		}
		key := fmt.Sprintf("%s at %s, %s", c.Round.Fault.Name, c.Round.Fault.Place, traffic[fmt.Sprint(c.Spec, " ", c.Cycle)])
		s.times[key] = append(s.times[key], c.Round.Outcome.Returned)
		s.slack[key] = max(s.slack[key], c.Round.Window.Slack)
	}
	return s, nil
}

// difference is what compare found.
type difference struct {
	A        string     `json:"a"` // verdict and target
	B        string     `json:"b"`
	Verdicts []change   `json:"verdicts"` // specs that were judged otherwise, or only once
	Bounds   []change   `json:"bounds"`
	Times    []timeDiff `json:"times"`
}

type change struct {
	Name    string `json:"name"`
	A       string `json:"a"`
	B       string `json:"b"`
	Differs bool   `json:"differs"`
}

// timeDiff compares the times to recover from one fault; medians in seconds.
type timeDiff struct {
	Name    string  `json:"name"`
	A       float64 `json:"a"`
	B       float64 `json:"b"`
	RangeA  string  `json:"range_a"`
	RangeB  string  `json:"range_b"`
	Differs bool    `json:"differs"`
	Why     string  `json:"why"`
}

// Differs says whether anything does, beyond noise. A bound that is smaller only because
// more was tried is no difference.
func (d difference) Differs() bool {
	return slices.ContainsFunc(d.Verdicts, func(c change) bool { return c.Differs }) || slices.ContainsFunc(d.Times, func(t timeDiff) bool { return t.Differs })
}

func differences(a, b side) difference {
	d := difference{A: fmt.Sprintf("%s, target %s", a.summary.Verdict, a.summary.Target), B: fmt.Sprintf("%s, target %s", b.summary.Verdict, b.summary.Target),
		Verdicts: []change{}, Bounds: []change{}, Times: []timeDiff{}}
	verdicts := func(s side) map[string]record.Verdict {
		m := map[string]record.Verdict{}
		for _, r := range s.summary.Results {
			if old, ok := m[r.Spec]; ok {
				m[r.Spec] = leak.Worst(old, r.Verdict)
			} else {
				m[r.Spec] = r.Verdict
			}
		}
		return m
	}
	va, vb := verdicts(a), verdicts(b)
	for _, name := range keys(va, vb) {
		x, inA := va[name]
		y, inB := vb[name]
		if x != y || inA != inB {
			d.Verdicts = append(d.Verdicts, change{name, cmp.Or(string(x), "did not run"), cmp.Or(string(y), "did not run"), inA && inB})
		}
	}
	bounds := func(s side) map[string]string {
		m := map[string]string{}
		for _, l := range s.summary.Bounds {
			m[l.Resource+" per "+l.Per] = fmt.Sprintf("%.3g %%", 100*l.Value)
		}
		return m
	}
	ba, bb := bounds(a), bounds(b)
	for _, name := range keys(ba, bb) {
		d.Bounds = append(d.Bounds, change{Name: name, A: cmp.Or(ba[name], "none"), B: cmp.Or(bb[name], "none")})
	}
	for _, name := range keys(a.times, b.times) {
		if x, y := a.times[name], b.times[name]; len(x) > 0 && len(y) > 0 {
			d.Times = append(d.Times, compareTimes(name, x, y, max(a.slack[name], b.slack[name])))
		}
	}
	return d
}

func keys[V any](a, b map[string]V) []string {
	var names []string
	for _, m := range []map[string]V{a, b} {
		for name := range m {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

const (
	enough   = 4    // rounds on either side, for a test
	unlikely = 0.01 // p below which a difference is no chance
	fine     = 0.1  // seconds: two polls, closer times are not told apart
)

func compareTimes(name string, a, b []float64, slack float64) timeDiff {
	span := func(v []float64) string {
		return fmt.Sprintf("%.2f .. %.2f s, n=%d", slices.Min(v), slices.Max(v), len(v))
	}
	t := timeDiff{Name: name, A: median(a), B: median(b), RangeA: span(a), RangeB: span(b)}
	apart := math.Abs(t.A - t.B)
	if len(a) >= enough && len(b) >= enough {
		r, err := stats.MannWhitneyUTest(a, b, stats.LocationDiffers)
		switch {
		case err != nil: // all values are the same
			t.Why = "the same"
		case r.P < unlikely && apart > fine:
			t.Differs, t.Why = true, fmt.Sprintf("p=%.2g", r.P)
		default:
			t.Why = fmt.Sprintf("noise: p=%.2g", r.P)
		}
		return t
	}
	gap := max(slices.Min(a)-slices.Max(b), slices.Min(b)-slices.Max(a))
	if t.Differs = gap > slack; t.Differs {
		t.Why = fmt.Sprintf("%.2f s apart, more than the slack of %.3g s", gap, slack)
	} else {
		t.Why = "too few rounds to tell apart"
	}
	return t
}

func (d difference) print(out io.Writer) error {
	fmt.Fprintf(out, "A: %s\nB: %s\n", d.A, d.B)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	mark := func(differs bool) string {
		if differs {
			return "≠"
		}
		return " "
	}
	if len(d.Verdicts) > 0 {
		fmt.Fprintln(w, "\n \tverdict of\tA\tB")
		for _, c := range d.Verdicts {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", mark(c.Differs), c.Name, c.A, c.B)
		}
	}
	if len(d.Bounds) > 0 {
		fmt.Fprintln(w, "\n \tbound at 95 %\tA\tB")
		for _, c := range d.Bounds {
			fmt.Fprintf(w, " \t%s\t%s\t%s\n", c.Name, c.A, c.B)
		}
	}
	if len(d.Times) > 0 {
		fmt.Fprintln(w, "\n \tall gone after\tA median\t\tB median\t\t")
		for _, t := range d.Times {
			fmt.Fprintf(w, "%s\t%s\t%.2f s\t(%s)\t%.2f s\t(%s)\t%s\n", mark(t.Differs), t.Name, t.A, t.RangeA, t.B, t.RangeB, t.Why)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	word := "nothing differs beyond noise"
	if d.Differs() {
		word = "something differs: the lines with ≠"
	}
	_, err := fmt.Fprintf(out, "\n%s\n", word)
	return err
}
