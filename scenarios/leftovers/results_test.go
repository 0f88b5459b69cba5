package leftovers_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/reports"
)

// stray names what lies in dir but for the names that keep allows. A folder that
// is not there holds nothing.
func stray(dir string, keep func(name string) bool) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("look for what was left: %w", err)
	}
	var found []string
	for _, e := range entries {
		if !keep(e.Name()) {
			found = append(found, "file "+filepath.Join(dir, e.Name()))
		}
	}
	return found, nil
}

// results says what is wrong with the runs below out. killed allows a run without
// a report, if one can be made of its record. drawn counts the reports that were
// there, rescued those that were made.
func results(out string, killed bool) (wrong []string, drawn, rescued int) {
	entries, err := os.ReadDir(out)
	if err != nil {
		return nil, 0, 0 // no run got that far
	}
	for _, e := range entries {
		dir := filepath.Join(out, e.Name())
		switch {
		case e.Name() == reports.LatestName:
		case e.Name() == reports.PageName: // the index of runs
			if err := ended(dir); err != nil {
				wrong = append(wrong, err.Error())
			}
		case !e.IsDir() || strings.HasPrefix(e.Name(), "."):
			wrong = append(wrong, "file "+dir)
		default:
			found, made := result(dir, killed)
			wrong = append(wrong, found...)
			if made {
				rescued++
			} else if len(found) == 0 {
				drawn++
			}
		}
	}
	return wrong, drawn, rescued
}

// result says what is wrong with one run's folder, and whether its report had to be
// made here.
func result(dir string, killed bool) (wrong []string, made bool) {
	hidden, err := stray(dir, func(name string) bool { return !strings.HasPrefix(name, ".") })
	if err != nil {
		return []string{err.Error()}, false
	}
	wrong = append(wrong, hidden...)
	events, err := record.Read(dir)
	switch {
	case err != nil && !errors.Is(err, record.ErrCut):
		return append(wrong, fmt.Sprintf("record of %s: %v", dir, err)), false
	case len(events) == 0:
		return append(wrong, fmt.Sprintf("record of %s: no event", dir)), false
	}
	whole := func() error { return report(dir) }
	if err := whole(); err == nil {
		return wrong, false
	} else if !killed {
		return append(wrong, err.Error()), false
	}
	// Killed while it drew, or before: what the record holds is not lost.
	if _, err := reports.Write(dir); err != nil {
		return append(wrong, fmt.Sprintf("report of %s, made afterwards: %v", dir, err)), true
	}
	if err := whole(); err != nil {
		return append(wrong, fmt.Sprintf("made afterwards: %v", err)), true
	}
	return wrong, true
}

// ended says whether a page is whole.
func ended(path string) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if !bytes.HasSuffix(bytes.TrimSpace(page), []byte("</html>")) {
		return fmt.Errorf("report: %s has no end", path)
	}
	return nil
}

// report says whether the page and the summary in dir are whole.
func report(dir string) error {
	if err := ended(filepath.Join(dir, reports.PageName)); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(dir, reports.SummaryName))
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	var s record.Summary
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("report %s: summary: %w", dir, err)
	}
	if s.Verdict == "" {
		return fmt.Errorf("report %s: the summary has no verdict", dir)
	}
	return nil
}
