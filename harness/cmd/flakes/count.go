package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/halfopen/halfopen/harness/leak"
)

// What a run came to.
const (
	clean      = "clean"
	falseAlarm = "false alarm"
	flake      = "flake"
	starved    = "starved"
)

// run is one run of the catalogue.
type run struct {
	At       time.Time `json:"at"`
	Class    string    `json:"class"` // clean, false alarm, flake, starved
	Hogs     int       `json:"hogs"`
	Specs    int       `json:"specs"` // that were judged
	Skipped  int       `json:"skipped"`
	Duration float64   `json:"duration_s"`
	What     string    `json:"what,omitempty"`   // what was not clean, in one line
	Folder   string    `json:"folder,omitempty"` // where it is kept
}

// count is the runs of one catalogue on one target: of the same programs.
type count struct {
	Target string    `json:"target"`
	Key    string    `json:"key"` // of the compiled stories, the target's programs and its file
	Commit string    `json:"commit"`
	Label  string    `json:"label"`
	Began  time.Time `json:"began"`
	Runs   []run     `json:"runs"`
}

// The files of a count.
const (
	countName  = "count.json"
	latestName = "latest.json"
)

func (c *count) folder(base string) string { return filepath.Join(base, c.Target+"-"+c.Key) }

// resume reads what was counted before, if anything was, and says so. Otherwise a
// new count begins, and it says when the last one of this target was made.
func (c *count) resume(base string) (string, error) {
	text, err := os.ReadFile(filepath.Join(c.folder(base), countName))
	switch {
	case err == nil:
		if err := json.Unmarshal(text, c); err != nil {
			return "", fmt.Errorf("resume the count in %s: %w: remove that folder to begin anew", c.folder(base), err)
		}
		return fmt.Sprintf("going on with the count of %s since %s: %d runs so far", c.Target, c.Began.Format(time.DateTime), len(c.Runs)), nil
	case !errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("resume the count: %w", err)
	}
	others, err := filepath.Glob(filepath.Join(base, c.Target+"-*", countName))
	if err != nil {
		return "", fmt.Errorf("resume the count: %w", err)
	}
	var last count
	for _, file := range others {
		var o count
		if text, err := os.ReadFile(file); err == nil && json.Unmarshal(text, &o) == nil && o.Target == c.Target && o.Began.After(last.Began) {
			last = o
		}
	}
	if last.Key == "" {
		return fmt.Sprintf("a new count of %s begins", c.Target), nil
	}
	return fmt.Sprintf("a new count of %s begins: the %d runs of the last one (since %s, %s) were of other stories or programs, and are not added",
		c.Target, len(last.Runs), last.Began.Format(time.DateTime), last.Commit), nil
}

// store writes the count and its summary, each whole or not at all.
func (c *count) store(base string) error {
	if err := writeJSON(filepath.Join(c.folder(base), countName), c); err != nil {
		return err
	}
	return writeJSON(filepath.Join(base, latestName), c.summary())
}

func writeJSON(path string, value any) (err error) {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("store the count: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("store the count: %w", err)
	}
	whole := path + ".new"
	if err := errors.Join(os.WriteFile(whole, append(text, '\n'), 0o644), os.Rename(whole, path)); err != nil {
		return fmt.Errorf("store the count: %w", err)
	}
	return nil
}

// tally is some of a count's runs, by what they came to.
type tally struct {
	Runs        int `json:"runs"`
	Clean       int `json:"clean"`
	FalseAlarms int `json:"false_alarms"`
	Flakes      int `json:"flakes"`
	Starved     int `json:"starved"`
}

func (t *tally) add(r run) {
	t.Runs++
	switch r.Class {
	case clean:
		t.Clean++
	case falseAlarm:
		t.FalseAlarms++
	case flake:
		t.Flakes++
	case starved:
		t.Starved++
	}
}

// judged is how many runs the bound rests on: a starved one says nothing.
func (t tally) judged() int { return t.Runs - t.Starved }

func (t tally) bad() int { return t.FalseAlarms + t.Flakes }

func (t tally) String() string {
	return fmt.Sprintf("%d clean, %d false alarms, %d flakes, %d starved (INCONCLUSIVE, not counted)", t.Clean, t.FalseAlarms, t.Flakes, t.Starved)
}

// summary is latest.json.
type summary struct {
	Target string    `json:"target"`
	Key    string    `json:"key"`
	Commit string    `json:"commit"`
	Label  string    `json:"label"`
	Began  time.Time `json:"began"`
	tally
	ByHogs     map[int]tally `json:"by_hogs"`  // the number of busy processes beside
	Excludes   float64       `json:"excludes"` // a higher rate of false alarms and flakes a run; 1 if nothing was judged
	Confidence float64       `json:"confidence"`
	Statement  string        `json:"statement"`
	Kept       []string      `json:"kept"` // folders of runs that were not clean
}

func (c *count) summary() summary {
	s := summary{Target: c.Target, Key: c.Key, Commit: c.Commit, Label: c.Label, Began: c.Began,
		ByHogs: map[int]tally{}, Confidence: leak.Confidence, Kept: []string{}}
	for _, r := range c.Runs {
		s.add(r)
		by := s.ByHogs[r.Hogs]
		by.add(r)
		s.ByHogs[r.Hogs] = by
		if r.Folder != "" {
			s.Kept = append(s.Kept, r.Folder)
		}
	}
	s.Excludes = upper(s.bad(), s.judged(), s.Confidence)
	s.Statement = statement(s.bad(), s.judged(), s.Excludes)
	return s
}

// statement is what n runs exclude, k of them bad.
func statement(k, n int, excludes float64) string {
	if n == 0 {
		return "0 in 0: excludes nothing, for no run was judged"
	}
	about := ""
	if k == 0 && n > 3 {
		about = fmt.Sprintf("3/%d, exactly ", n)
	}
	return fmt.Sprintf("%d in %d: excludes a flake rate above %s%.1f %% of the runs (%.0f %%)", k, n, about, 100*excludes, 100*leak.Confidence)
}

// upper is the one-sided upper bound of a rate after k of n (Clopper and Pearson
// 1934): the rate with which at most k in n has the chance 1 - confidence. For k = 0
// it is 1 - 0.05^(1/n), about 3/n.
func upper(k, n int, confidence float64) float64 {
	if k >= n {
		return 1
	}
	low, high := float64(k)/float64(n), 1.0
	for range 60 {
		rate := (low + high) / 2
		if atMost(k, n, rate) > 1-confidence {
			low = rate
		} else {
			high = rate
		}
	}
	return high
}

// atMost is the chance of at most k in n at a rate between 0 and 1.
func atMost(k, n int, rate float64) float64 {
	sum := 0.0
	for i := range k + 1 {
		choose, _ := math.Lgamma(float64(n + 1))
		for _, m := range []int{i, n - i} {
			part, _ := math.Lgamma(float64(m + 1))
			choose -= part
		}
		sum += math.Exp(choose + float64(i)*math.Log(rate) + float64(n-i)*math.Log1p(-rate))
	}
	return sum
}

// lines are what is printed at the end; the statement comes last.
func (s summary) lines() []string {
	lines := []string{s.tally.String()}
	var hogs []int
	for n := range s.ByHogs {
		hogs = append(hogs, n)
	}
	slices.Sort(hogs)
	if len(hogs) > 1 || len(hogs) == 1 && hogs[0] > 0 {
		for _, n := range hogs {
			lines = append(lines, fmt.Sprintf("  with %d CPU hogs: %s", n, s.ByHogs[n]))
		}
	}
	if len(s.Kept) > 0 {
		lines = append(lines, "kept: "+strings.Join(s.Kept, " "))
	}
	return append(lines, s.Statement)
}
