package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

// row is one line of the table: a figure of ours beside that of one peer, or
// beside a goal in its own unit.
type row struct {
	Figure    string     `json:"figure"`
	Unit      string     `json:"unit"`
	Ours      float64    `json:"ours"` // median
	Peer      string     `json:"peer,omitempty"`
	PeerValue float64    `json:"peer_value,omitempty"` // median
	Ratio     float64    `json:"ratio,omitempty"`      // median of the rounds' ratios
	Spread    [2]float64 `json:"spread"`               // interval of the median, at least 90 %; least and most below 8 rounds
	Rounds    int        `json:"rounds,omitempty"`
	Goal      float64    `json:"goal,omitempty"` // of the ratio, or of ours where there is no peer; 0 for none
	AtMost    bool       `json:"at_most,omitempty"`
	OK        bool       `json:"ok"`
	Note      string     `json:"note,omitempty"`
	Error     string     `json:"error,omitempty"`
}

// result is a whole run.
type result struct {
	Taken      time.Time `json:"taken"`
	Rounds     int       `json:"rounds"`
	Window     float64   `json:"window_s"`
	Congestion string    `json:"congestion_control"`
	Skipped    []string  `json:"skipped"`
	Figures    []row     `json:"figures"`
}

// absolute is a row without a peer.
func absolute(figure, unit string, value, goal float64, atMost bool, note string) row {
	return row{Figure: figure, Unit: unit, Ours: value, Goal: goal, AtMost: atMost, OK: value <= goal == atMost, Note: note}
}

// relative is a row beside a peer, from what was measured round by round.
func relative(figure, unit, peer string, mine, theirs, ratios []float64, g goal, less bool) row {
	ratios = real(ratios)
	r := row{
		Figure: figure, Unit: unit, Peer: peer, Rounds: len(ratios), Goal: g.ratio, AtMost: less,
		Ours: median(real(mine)), PeerValue: median(real(theirs)), Ratio: median(ratios), Spread: interval(ratios),
	}
	r.OK = g.ratio == 0 || r.Rounds > 0 && (less && r.Ratio <= g.ratio || !less && r.Ratio >= g.ratio)
	return r
}

// real drops what failed.
func real(values []float64) (good []float64) {
	for _, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			good = append(good, v)
		}
	}
	return good
}

// median is 0 of nothing.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// interval holds the true median in at least 90 of 100 runs: between order
// statistics, whatever the distribution (binomial with p = 1/2). Where there are
// too few values for that it is their range.
func interval(values []float64) [2]float64 {
	if len(values) == 0 {
		return [2]float64{}
	}
	s := slices.Sorted(slices.Values(values))
	cut, below, n := 0, 0.0, len(s)
	for k := 0; k < n/2; k++ {
		below += binomial(n, k)
		if 2*below > 0.1 {
			break
		}
		cut = k + 1
	}
	lowest := max(cut-1, 0)
	return [2]float64{s[lowest], s[n-1-lowest]}
}

// binomial is the chance of k heads in n tosses.
func binomial(n, k int) float64 {
	c := 1.0
	for i := range k {
		c = c * float64(n-i) / float64(i+1)
	}
	return c * math.Pow(0.5, float64(n))
}

// print writes the table.
func (r result) print(out io.Writer) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "figure\tours\tunit\tpeer\tits\tratio\tspread\tgoal\t\t")
	for _, f := range r.Figures {
		if f.Error != "" {
			fmt.Fprintf(t, "%s\t\t\t\t\t\t\t\tFAILED\t\n", f.Figure)
			continue
		}
		sign, word := ">=", ""
		if f.AtMost {
			sign = "<="
		}
		goal := fmt.Sprintf("%s %g", sign, f.Goal)
		switch {
		case f.Goal == 0:
			goal = ""
		case f.OK:
			word = "ok"
		default:
			word = "MISSED"
		}
		if f.Peer == "" {
			fmt.Fprintf(t, "%s\t%s\t%s\t\t\t\t\t%s\t%s\t\n", f.Figure, digits(f.Ours), f.Unit, goal, word)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%.2f\t%.2f..%.2f\t%s\t%s\t\n", f.Figure, digits(f.Ours), f.Unit,
			f.Peer, digits(f.PeerValue), f.Ratio, f.Spread[0], f.Spread[1], goal, word)
	}
	_ = t.Flush() // to a terminal: who would be told?
	for _, f := range r.Figures {
		if f.Error != "" {
			fmt.Fprintf(out, "%s failed: %s\n", f.Figure, f.Error)
		}
	}
}

// digits shows three figures that count.
func digits(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// save writes the run as JSON.
func (r result) save(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err == nil {
		err = os.WriteFile(path, append(text, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("save figures: %w", err)
	}
	return nil
}

// status is the exit status.
func (r result) status() int {
	judged, status := 0, 0
	for _, f := range r.Figures {
		if f.Error != "" || f.Goal != 0 && !f.OK {
			status = missed
		}
		if f.Goal != 0 && f.Error == "" {
			judged++
		}
	}
	if judged == 0 {
		return nothing
	}
	return status
}
