package reports

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/halfopen/halfopen/harness/record"
)

// generator marks the pages that Index makes: it replaces no other file.
const generator = `<meta name="generator" content="halfopen index of runs"/>`

// mostRuns is how many runs the matrix of the index has; the list has all.
const mostRuns = 30

// indexed is a run folder as the index sees it.
type indexed struct {
	name    string // of the folder
	summary record.Summary
	trouble string // why its summary cannot be had, "" if it can
}

// Index draws the page of all runs in the folder dir, and prunes: of the runs of one
// name ("soak", "scenarios") only the newest keep stay; 0 keeps all. It returns what
// was pruned, and of the runs that should have been, why they were not: a folder with
// anything in it that no run makes is never touched, nor is the newest, one that is
// not finished, or one whose name is no run's. Delete a run's summary.json, or put a file of your own
// beside it, and it stays.
func Index(dir string, keep int) (pruned, spared []string, err error) {
	if keep < 0 {
		return nil, nil, fmt.Errorf("index runs: keep %d: want 0 (all) or more", keep)
	}
	runs, err := indexedRuns(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("index runs: %w", err)
	}
	if keep > 0 {
		latest, _ := os.Readlink(filepath.Join(dir, LatestName)) // none is none
		count := map[string]int{}
		var stay []indexed
		for _, r := range runs { // the newest first
			kind := kindOf(r.name)
			if count[kind]++; count[kind] <= keep || r.name == latest {
				stay = append(stay, r)
				continue
			}
			if why := prune(filepath.Join(dir, r.name)); why != nil {
				spared = append(spared, fmt.Sprintf("%s: %v", r.name, why))
				stay = append(stay, r)
				continue
			}
			pruned = append(pruned, r.name)
		}
		runs = stay
	}
	page, err := indexHTML(runs)
	if err != nil {
		return pruned, spared, fmt.Errorf("index runs: %w", err)
	}
	old, err := os.ReadFile(filepath.Join(dir, PageName))
	if err == nil && !bytes.Contains(old, []byte(generator)) {
		return pruned, spared, fmt.Errorf("index runs: %s is there already, and is not ours", filepath.Join(dir, PageName))
	}
	if err := writeFile(dir, PageName, page); err != nil {
		return pruned, spared, fmt.Errorf("index runs: %w", err)
	}
	return pruned, spared, nil
}

// indexedRuns are the run folders in dir, the newest first.
func indexedRuns(dir string) ([]indexed, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var runs []indexed
	for _, e := range entries {
		if !e.IsDir() || kindOf(e.Name()) == "" {
			continue // a symlink is none
		}
		folder := filepath.Join(dir, e.Name())
		if _, err := os.Stat(filepath.Join(folder, record.FileName)); err != nil {
			continue
		}
		r := indexed{name: e.Name()}
		text, err := os.ReadFile(filepath.Join(folder, SummaryName))
		if err == nil {
			err = json.Unmarshal(text, &r.summary)
		}
		if err != nil || r.summary.Results == nil {
			r.summary, err = Summarize(folder) // it still goes on, or is of an older halfopen
		}
		if err != nil {
			r.trouble = err.Error()
		}
		runs = append(runs, r)
	}
	slices.SortFunc(runs, func(a, b indexed) int { return cmp.Compare(b.name, a.name) })
	return runs, nil
}

// kindOf is the name of the run in a folder's name, "soak" of "20261125-211251-soak";
// "" if it is no run's.
func kindOf(folder string) string {
	const stamp = "20060102-150405-"
	if len(folder) <= len(stamp) {
		return ""
	}
	for i, c := range stamp {
		if d := rune(folder[i]); (c == '-') != (d == '-') || c != '-' && (d < '0' || d > '9') {
			return ""
		}
	}
	return strings.TrimRight(strings.TrimRight(folder[len(stamp):], "0123456789"), "-")
}

// prune deletes a run folder file by file, if all that is in it was made by the run
// and its report. It looks first, and deletes after that.
func prune(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, SummaryName)); err != nil {
		return errors.New("it is not finished")
	}
	events, err := record.Read(dir)
	if err != nil && !errors.Is(err, record.ErrCut) {
		return fmt.Errorf("its record cannot be read: %w", err)
	}
	ours := map[string]bool{record.FileName: true, PageName: true, JUnitName: true, SummaryName: true}
	for _, e := range events {
		if e.Evidence != nil {
			for _, f := range e.Evidence.Files {
				ours[filepath.Join(filepath.FromSlash(e.Evidence.Dir), f.Name)] = true
			}
		}
		if e.Schedule != nil {
			ours[e.Schedule.File] = true
		}
		if e.Shrunk != nil {
			ours[e.Shrunk.Before.File], ours[e.Shrunk.After.File] = true, true
		}
	}
	var files, folders []string
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		log := strings.HasPrefix(name, "logs"+string(filepath.Separator)) && (strings.HasSuffix(name, ".log") || strings.HasSuffix(name, ".keys"))
		switch {
		case d.IsDir():
			folders = append(folders, path)
		case d.Type().IsRegular() && (ours[name] || log):
			files = append(files, path)
		default:
			return fmt.Errorf("it holds %s, which no run makes", name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	// The record goes last: what is left of a prune that was cut short is pruned again.
	slices.SortFunc(files, func(a, b string) int {
		return cmp.Compare(boolInt(filepath.Base(a) == record.FileName), boolInt(filepath.Base(b) == record.FileName))
	})
	for _, f := range files {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	slices.Reverse(folders) // the deepest first
	for _, f := range folders {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// indexPage is what the template of the index shows.
type indexPage struct {
	chrome
	Word    word
	Reason  string
	Tiles   []tile
	Targets []indexTarget
	Runs    []indexRow
}

// indexTarget is the matrix of one target: a row for each scenario, the newest run
// first.
type indexTarget struct {
	Name   string
	Runs   []indexRow
	Rows   []indexScenario
	Bounds sparkline
}

type indexRow struct {
	Word                                              word
	Link, Name, Day, Clock, Target, Mutant, Exposures string
	Excluded, Took, Reason                            string
}

type indexScenario struct {
	Name     string
	Cells    []matrixCell
	Recovery sparkline
}

func indexHTML(runs []indexed) ([]byte, error) {
	p := indexPage{chrome: newChrome("halfopen: no runs"), Word: word{"–", "NO RUNS", "idle"}, Reason: "none is here yet"}
	p.Generator = generator
	exposures, events, verdicts := 0, 0, map[record.Verdict]int{}
	byTarget := map[string][]indexed{}
	for _, r := range runs {
		p.Runs = append(p.Runs, r.row())
		if r.trouble != "" {
			continue
		}
		verdicts[r.summary.Verdict]++
		exposures += r.summary.Exposures
		events += r.summary.FaultEvents
		byTarget[r.summary.Target] = append(byTarget[r.summary.Target], r)
	}
	if len(runs) > 0 {
		newest := runs[0]
		p.Word, p.Reason = verdictWord(newest.summary.Verdict), cleanString(newest.summary.Reason)
		p.Title = fmt.Sprintf("%s: newest of %s", p.Word.Text, count(len(runs), "run"))
		p.Tiles = []tile{
			{"Runs", tally(verdicts), "kept here"},
			{"Went through a fault", count(exposures, "connection"), "in " + count(events, "fault") + ", all runs together"},
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byTarget)) {
		p.Targets = append(p.Targets, matrixOf(name, byTarget[name]))
	}
	var out bytes.Buffer
	if err := pageTemplate.ExecuteTemplate(&out, "index", p); err != nil {
		return nil, fmt.Errorf("draw index: %w", err)
	}
	return out.Bytes(), nil
}

func (r indexed) row() indexRow {
	s := r.summary
	row := indexRow{Word: verdictWord(s.Verdict), Link: "./" + r.name + "/" + PageName, Name: r.name, Target: cleanString(s.Target), Mutant: cleanString(s.Mutant),
		Day: s.Started.UTC().Format("01-02"), Clock: s.Started.UTC().Format("15:04"), Exposures: thousands(s.Exposures), Excluded: "–", Took: seconds(s.Duration), Reason: cutText(cleanString(s.Reason), 200)}
	if len(s.Bounds) > 0 {
		row.Excluded = shareWords(s.Bounds[0])
	}
	if r.trouble != "" {
		row.Word, row.Reason, row.Day = word{"?", "UNREADABLE", "open"}, cutText(cleanString(r.trouble), 200), "–"
	}
	return row
}

// matrixOf is the matrix of scenarios by runs of one target.
func matrixOf(target string, runs []indexed) indexTarget {
	m := indexTarget{Name: cmp.Or(cleanString(target), "unknown target")}
	runs = runs[:min(mostRuns, len(runs))]
	var names []string
	results := map[string][]*record.Result{}
	for i, r := range runs {
		m.Runs = append(m.Runs, r.row())
		for k := range r.summary.Results {
			x := &r.summary.Results[k]
			if results[x.Spec] == nil {
				names = append(names, x.Spec)
				results[x.Spec] = make([]*record.Result, len(runs))
			}
			if old := results[x.Spec][i]; old == nil || worse(x.Verdict, old.Verdict) {
				results[x.Spec][i] = x
			}
		}
	}
	slices.Sort(names)
	for _, name := range names {
		row := indexScenario{Name: cutText(cleanString(name), 200)}
		var took []float64
		for i, x := range results[name] {
			c := matrixCell{}
			if x != nil {
				c = matrixCell{Word: verdictWord(known(x.Verdict)), Count: 1, Link: m.Runs[i].Link}
				if x.Returned >= 0 && x.Verdict == record.Pass {
					took = append(took, x.Returned)
				}
			}
			row.Cells = append(row.Cells, c)
		}
		slices.Reverse(took) // time goes to the right
		row.Recovery = newSparkline(took, seconds)
		m.Rows = append(m.Rows, row)
	}
	var bounds []float64
	for _, r := range slices.Backward(runs) {
		if len(r.summary.Bounds) > 0 {
			bounds = append(bounds, 100*r.summary.Bounds[0].Value)
		}
	}
	m.Bounds = newSparkline(bounds, func(v float64) string { return trimZeros(fmt.Sprintf("%.2f", v)) + " %" })
	return m
}
