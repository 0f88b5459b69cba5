// Package reports draws the record of a run: a page for people, JUnit XML for
// continuous integration, a summary for scripts. A report is a function of the
// record: nothing that it shows comes from anywhere else, so that a stored run
// can be drawn again, by a later version too.
package reports

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/halfopen/halfopen/harness/record"
)

// The files that Write makes, beside the record.
const (
	PageName    = "index.html"
	JUnitName   = "junit.xml"
	SummaryName = "summary.json"
	// LatestName is the symlink beside the run folders that points to the run
	// that was written last.
	LatestName = "latest"
)

// Write reads the record in the run folder dir and writes summary.json,
// junit.xml and index.html beside it, each whole or not at all; then it points
// the symlink "latest" beside dir at dir. Writing again gives the same files.
//
// A record that is cut off in its last line (the run was killed) is drawn as
// far as it goes, with a visible note, and counts as interrupted. A record that
// is missing, damaged in the middle or of another version is an error, and
// nothing is written. If only the symlink fails, for the folder above dir is
// not writable or has a "latest" that is no symlink, the summary is returned
// together with the error.
func Write(dir string) (record.Summary, error) {
	// "latest" itself may be the name given: a link to itself would follow.
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return record.Summary{}, fmt.Errorf("write report: %w", err)
	}
	s, err := load(dir)
	if err != nil {
		return record.Summary{}, err
	}
	summary, err := json.MarshalIndent(s.summary, "", "  ")
	if err != nil {
		return record.Summary{}, fmt.Errorf("write report: encode summary: %w", err)
	}
	junit, err := junitXML(s)
	if err != nil {
		return record.Summary{}, fmt.Errorf("write report: %w", err)
	}
	page, err := pageHTML(s)
	if err != nil {
		return record.Summary{}, fmt.Errorf("write report: %w", err)
	}
	// The page goes first: a summary that names a page must not be alone.
	for _, f := range []struct {
		name string
		data []byte
	}{{PageName, page}, {JUnitName, junit}, {SummaryName, append(summary, '\n')}} {
		if err := writeFile(dir, f.name, f.data); err != nil {
			return record.Summary{}, fmt.Errorf("write report: %w", err)
		}
	}
	if err := pointLatest(dir); err != nil {
		return s.summary, fmt.Errorf("write report: %w", err)
	}
	return s.summary, nil
}

// Summarize reads the record in the run folder dir and gives the summary that
// Write would store, without writing anything.
func Summarize(dir string) (record.Summary, error) {
	s, err := load(dir)
	if err != nil {
		return record.Summary{}, err
	}
	return s.summary, nil
}

func load(dir string) (*story, error) {
	events, err := record.Read(dir)
	cut := errors.Is(err, record.ErrCut)
	if err != nil && !cut {
		return nil, err
	}
	s := tell(events, cut)
	s.summary.Report = PageName
	if s.summary.Bounds == nil {
		s.summary.Bounds = []record.Limit{} // a list in JSON, also when empty
	}
	return s, nil
}

// writeFile replaces dir/name in one step.
func writeFile(dir, name string, data []byte) (err error) {
	f, err := os.CreateTemp(dir, "."+name+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, name))
}

// pointLatest replaces the symlink in one step. It is made in a folder of its
// own, for a process number is not unique across pid namespaces.
func pointLatest(dir string) (err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return err
	}
	parent, name := filepath.Dir(dir), filepath.Base(dir)
	if name == LatestName {
		return fmt.Errorf("point %q at %s: the run folder itself has that name", LatestName, dir)
	}
	nest, err := os.MkdirTemp(parent, ".latest-*")
	if err != nil {
		return fmt.Errorf("point %q at %s: %w", LatestName, dir, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(nest)) }()
	link := filepath.Join(nest, LatestName)
	if err := os.Symlink(name, link); err != nil {
		return fmt.Errorf("point %q at %s: %w", LatestName, dir, err)
	}
	if err := os.Rename(link, filepath.Join(parent, LatestName)); err != nil {
		return fmt.Errorf("point %q at %s: %w", LatestName, dir, err)
	}
	return nil
}
