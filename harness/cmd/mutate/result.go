package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/halfopen/halfopen/harness/record"
)

// reportFile is where the results go, relative to the module.
const reportFile = "reports/mutants/latest.json"

// Result is what came of one mutant.
type Result struct {
	Definition Definition `json:"mutant"`
	Story      Attempt    `json:"story"`             // the one that must catch it
	Without    *Attempt   `json:"without,omitempty"` // the one that must miss it
	Also       []Attempt  `json:"also,omitempty"`    // the others that must catch it
	// Named says that the judgement has the texts of the holder; Lacks are those that
	// it has not.
	Named  bool     `json:"named"`
	Lacks  []string `json:"lacks,omitempty"`
	Caught bool     `json:"caught"` // the verdict is the expected one, and the holder named
	Missed bool     `json:"missed"` // the story without the fault saw nothing of it
	// Unseen says which of Also did not catch it, and what they came to.
	Unseen  []string `json:"unseen,omitempty"`
	Seconds float64  `json:"seconds"`
	Error   string   `json:"error,omitempty"`
}

// ok says that the mutant was caught by every story that must, and missed where its
// fault was left out.
func (r *Result) ok() bool {
	return r.Error == "" && r.Caught && len(r.Unseen) == 0 && (r.Definition.Misses == "" || r.Missed)
}

// judge compares the stories' verdicts with what the definition asks for.
func (r *Result) judge() {
	d := r.Definition
	r.Lacks = unnamedIn(d, r.Story)
	r.Named = len(r.Lacks) == 0
	r.Caught = r.Named && r.Story.Verdict == d.Verdict
	for _, a := range r.Also {
		if missing := unnamedIn(d, a); a.Verdict != d.Verdict || len(missing) > 0 {
			r.Unseen = append(r.Unseen, fmt.Sprintf("%q came to %s, not named %q: %s", a.Focus, a.Verdict, missing, a.Reason))
		}
	}
}

// unnamedIn is what a story did not name of d's holder: one of the judgements that have the
// expected verdict must name the whole of it.
func unnamedIn(d Definition, a Attempt) []string {
	lacks := d.Holder
	for _, j := range a.judgings {
		if j.Verdict != d.Verdict {
			continue
		}
		if lacks = unnamed(d, j); len(lacks) == 0 {
			break
		}
	}
	return lacks
}

// missed says whether the story without the fault that is meant for d saw nothing of
// it.
func missed(d Definition, a Attempt) bool {
	return a.Verdict == record.Pass ||
		d.Besides != "" && a.Verdict == record.Inconclusive && strings.Contains(a.Reason, d.Besides)
}

// unnamed are the texts of d's holder that the judgement does not contain, and the
// roles that hold something and should not.
func unnamed(d Definition, j record.Judgement) []string {
	text := words(j)
	var lacks []string
	for _, want := range d.Holder {
		if !strings.Contains(text, want) {
			lacks = append(lacks, want)
		}
	}
	for _, role := range roles(j) {
		if d.HeldBy != "" && role != d.HeldBy {
			lacks = append(lacks, "held by the "+d.HeldBy+" alone (the "+role+" holds, too)")
		}
	}
	return lacks
}

// roles are those of the processes that hold something.
func roles(j record.Judgement) []string {
	var found []string
	for _, s := range j.Survivors {
		found = append(found, s.Role)
	}
	for _, x := range j.Excess {
		found = append(found, x.Role)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// words are all that a judgement says of what is held, and of who holds it.
func words(j record.Judgement) string {
	var b strings.Builder
	fmt.Fprintln(&b, j.Reason)
	fmt.Fprintln(&b, j.Where)
	fmt.Fprintln(&b, j.Why)
	goroutine := func(g record.Goroutine) {
		fmt.Fprintln(&b, g.State)
		for _, f := range append(slices.Clone(g.Frames), g.Creator) {
			fmt.Fprintf(&b, "%s %s:%d\n", f.Func, f.File, f.Line)
		}
	}
	for _, s := range j.Survivors {
		fmt.Fprintf(&b, "%s: %s %s: %s\n", s.Role, s.Resource, s.Peer, s.Why)
		if s.Socket != nil {
			fmt.Fprintf(&b, "%s -> %s %s %s\n", s.Socket.Local, s.Socket.Remote, s.Socket.State, s.Socket.Timer)
		}
		if s.Goroutine != nil {
			goroutine(*s.Goroutine)
		}
	}
	for _, x := range j.Excess {
		fmt.Fprintf(&b, "%s: %s\n", x.Role, x.Signature)
		for _, g := range x.Holders {
			goroutine(g)
		}
	}
	return b.String()
}

// line tells the result in one line.
func (r *Result) line() string {
	switch {
	case r.Error != "":
		return fmt.Sprintf("%s: %s", r.Definition.Name, r.Error)
	case !r.Caught && r.Story.Verdict != r.Definition.Verdict:
		return fmt.Sprintf("%s: NOT CAUGHT: want %s, got %s: %s", r.Definition.Name, r.Definition.Verdict, r.Story.Verdict, r.Story.Reason)
	case !r.Caught:
		return fmt.Sprintf("%s: NOT CAUGHT: %s, but not named: %s", r.Definition.Name, r.Story.Verdict, strings.Join(r.Lacks, "; "))
	case len(r.Unseen) > 0:
		return fmt.Sprintf("%s: caught, but not by every story that must: %s", r.Definition.Name, strings.Join(r.Unseen, "; "))
	case !r.ok():
		return fmt.Sprintf("%s: caught, but not missed without its fault: %s: %s", r.Definition.Name, r.Without.Verdict, r.Without.Reason)
	}
	return fmt.Sprintf("%s: caught: %s: %s", r.Definition.Name, r.Story.Verdict, r.Story.Reason)
}

// printTable prints a line a mutant.
func printTable(out io.Writer, results []Result) {
	yes := map[bool]string{true: "yes", false: "NO"}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "mutant\tstory\tverdict\tholder\tcaught\talso by\tmissed without\tseconds")
	for _, r := range results {
		verdict := string(r.Story.Verdict)
		if r.Story.Tries > 1 {
			verdict += fmt.Sprintf(" (try %d)", r.Story.Tries)
		}
		missed := "-"
		story := r.Definition.Focus
		switch {
		case r.Definition.Misses == "":
		case r.Without == nil:
			missed = "not run"
		default:
			missed = yes[r.Missed]
			if r.Without.Verdict != record.Pass {
				missed += " (" + string(r.Without.Verdict) + ")"
			}
		}
		also := "-"
		if n := len(r.Definition.Also); n > 0 {
			also = fmt.Sprintf("%d of %d", len(r.Also)-len(r.Unseen), n)
		}
		if r.Error != "" {
			verdict = "ERROR"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.1f\n",
			r.Definition.Name, story, verdict, yes[r.Named], yes[r.Caught], also, missed, r.Seconds)
	}
	_ = table.Flush() // what cannot be printed cannot be complained of either
}

// Report is reports/mutants/latest.json.
type Report struct {
	At time.Time `json:"at"` // when the run began
	// Score is the share of caught among caught and survived. Equivalent counts mutants
	// that behave like the original; a planted leak never does.
	Score      float64  `json:"score"`
	Caught     int      `json:"caught"`
	Survived   int      `json:"survived"`
	Equivalent int      `json:"equivalent"`
	Seconds    float64  `json:"seconds"`
	Mutants    []Result `json:"mutants"`
}

func reportOf(results []Result, at time.Time, took time.Duration) Report {
	r := Report{At: at, Seconds: took.Seconds(), Mutants: results}
	for _, x := range results {
		if x.Caught {
			r.Caught++
		} else {
			r.Survived++
		}
	}
	r.Score = float64(r.Caught) / float64(max(1, len(results)))
	return r
}

func (r Report) ok() bool {
	return !slices.ContainsFunc(r.Mutants, func(x Result) bool { return !x.ok() })
}

// write replaces the file at path in one step.
func (r Report) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".latest-*")
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	defer os.Remove(f.Name()) // fails once it is renamed, as it should
	_, err = f.Write(append(text, '\n'))
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// readSummary reads the summary of the run in the folder dir.
func readSummary(dir string) (record.Summary, error) {
	var s record.Summary
	text, err := os.ReadFile(filepath.Join(dir, "summary.json"))
	if err != nil {
		return s, fmt.Errorf("read summary: %w", err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("read summary: %w", err)
	}
	return s, nil
}
