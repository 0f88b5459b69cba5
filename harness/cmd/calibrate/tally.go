package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
)

// row is what the trials of one experiment, or of all healthy servers, say of the rules.
type row struct {
	Name      string `json:"name"`
	What      string `json:"what"`
	Healthy   bool   `json:"healthy"`
	Runs      int    `json:"runs"`
	Wanted    int    `json:"wanted"`
	Loaded    int    `json:"loaded"` // of Runs, with all CPUs busy
	Cycles    int    `json:"cycles"`
	Exposures int    `json:"exposures"`
	// Leaks are the runs in which anything is found to leak: false alarms on a healthy
	// server. Found are those that name the planted resource.
	Leaks        int `json:"leaks"`
	Found        int `json:"found"`
	Inconclusive int `json:"inconclusive"` // runs, of those without a leak
	// Bound, with 95 % confidence, is the highest rate of false alarms, or of leaks that
	// are missed.
	Bound float64 `json:"bound"`
	// Y is the median of the resolutions of heap and RssAnon, in bytes a cycle; 0 where
	// no trial states one.
	HeapY float64 `json:"heap_y"`
	RSSY  float64 `json:"rss_y"`
	Pace  float64 `json:"pace_s"` // median of the seconds a cycle
	Cost  float64 `json:"cost_s"` // median of the seconds that a reading takes
	// Alarms are the sentences of what is a false alarm, or of what was missed.
	Alarms []string `json:"alarms,omitempty"`

	heap, rss, pace, cost []float64
}

// table judges all trials, with today's rules. The last row adds up the healthy ones.
func table(done []record.Trial) []row {
	var rows []row
	all := row{Name: "all healthy", What: "every healthy server together", Healthy: true}
	for _, x := range plan {
		r := row{Name: x.name, What: x.what, Healthy: x.finds == "", Wanted: x.runs}
		for _, t := range done {
			if t.Name != x.name {
				continue
			}
			said := leak.Trial(t)
			r.count(x, t, said)
			if r.Healthy {
				all.count(x, t, said)
			}
		}
		if r.Healthy {
			all.Wanted += r.Wanted
		}
		r.close()
		rows = append(rows, r)
	}
	all.close()
	return append(rows, all)
}

func (r *row) count(x experiment, t record.Trial, said []record.Statement) {
	r.Runs++
	if t.Loaded {
		r.Loaded++
	}
	r.Cycles += len(t.Exposures)
	for _, n := range t.Exposures {
		r.Exposures += n
	}
	r.pace, r.cost = append(r.pace, t.Pace), append(r.cost, t.Cost)
	leaks, found, open := "", false, ""
	for _, s := range said {
		switch s.Verdict {
		case record.Leak:
			leaks, found = s.Text, found || s.Resource == x.finds
		case record.Inconclusive:
			open = s.Text
		case record.Pass:
			switch s.Resource {
			case leak.Heap:
				r.heap = append(r.heap, s.Limit.Value)
			case leak.RSS:
				r.rss = append(r.rss, s.Limit.Value)
			}
		}
	}
	note := func(text string) { r.Alarms = append(r.Alarms, fmt.Sprintf("%s, seed %d: %s", t.Name, t.Seed, text)) }
	if found {
		r.Found++
	}
	switch {
	case leaks != "":
		r.Leaks++
		if r.Healthy {
			note(leaks)
		}
	case open != "":
		r.Inconclusive++
		note(open)
	case !r.Healthy:
		note("nothing was found")
	}
}

func (r *row) close() {
	bad := r.Leaks
	if !r.Healthy {
		bad = r.Runs - r.Found
	}
	r.Bound = leak.Upper(bad, r.Runs, leak.Confidence)
	r.HeapY, r.RSSY, r.Pace, r.Cost = middle(r.heap), middle(r.rss), middle(r.pace), middle(r.cost)
}

func middle(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// print prints the table and its sentences.
func print(out io.Writer, rows []row) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "server\truns\tunder load\tcycles\tLEAK\topen\twhat that excludes (95 %)\theap Y\tRssAnon Y\tcycle\treading")
	for _, r := range rows {
		if r.Runs == 0 {
			fmt.Fprintf(w, "%s\t0 of %d\n", r.Name, r.Wanted)
			continue
		}
		leaks, excludes := fmt.Sprintf("%d false", r.Leaks), fmt.Sprintf("false alarms above %.2g %%", 100*r.Bound)
		if !r.Healthy {
			leaks, excludes = fmt.Sprintf("%d of %d found", r.Found, r.Runs), fmt.Sprintf("missing more than %.2g %%", 100*r.Bound)
		}
		fmt.Fprintf(w, "%s\t%d of %d\t%d\t%d\t%s\t%d\t%s\t%s\t%s\t%.0f ms\t%.0f ms\n", r.Name, r.Runs, r.Wanted, r.Loaded, r.Cycles,
			leaks, r.Inconclusive, excludes, bytesOrNone(r.HeapY), bytesOrNone(r.RSSY), 1e3*r.Pace, 1e3*r.Cost)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range rows[:len(rows)-1] {
		for _, text := range r.Alarms {
			fmt.Fprintln(out, "  "+text)
		}
	}
	return nil
}

func bytesOrNone(b float64) string {
	if b == 0 {
		return "-"
	}
	return leak.Bytes(b)
}

// save writes the table as JSON, whole or not at all.
func save(dir string, rows []row) error {
	text, err := json.MarshalIndent(map[string]any{"rules": rows}, "", "  ")
	if err != nil {
		return fmt.Errorf("save table: %w", err)
	}
	name := filepath.Join(dir, latestName)
	if err := os.WriteFile(name+".new", append(text, '\n'), 0o644); err != nil {
		return errors.Join(fmt.Errorf("save table: %w", err), os.Remove(name+".new"))
	}
	if err := os.Rename(name+".new", name); err != nil {
		return fmt.Errorf("save table: %w", err)
	}
	return nil
}

// status is the exit status that the rows give: 1 for a false alarm or a miss, 3 while
// trials are missing.
func status(rows []row) int {
	missing := false
	for _, r := range rows {
		if r.Healthy && r.Leaks > 0 || !r.Healthy && r.Found < r.Runs {
			return 1
		}
		missing = missing || r.Runs < r.Wanted
	}
	if missing {
		return 3
	}
	return 0
}
