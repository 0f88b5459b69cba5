package reports

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

func mustWrite(t testing.TB, dir string) (record.Summary, string) {
	t.Helper()
	s, err := Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s, read(t, dir, PageName)
}

func read(t testing.TB, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestSummaryHasItsFields(t *testing.T) {
	for name, c := range map[string]struct {
		b     *recordBuilder
		want  record.Verdict
		exit  int
		specs map[record.Verdict]int
	}{
		"pass":        {passRun(t), record.Pass, 0, map[record.Verdict]int{record.Pass: 5, record.Skipped: 1}},
		"leak":        {leakRun(t), record.Leak, 1, map[record.Verdict]int{record.Leak: 1, record.Inconclusive: 1, record.Pass: 5, record.Skipped: 1}},
		"soak":        {soakRun(t, 30, 17), record.Leak, 1, map[record.Verdict]int{record.Leak: 1}},
		"interrupted": {interruptedRun(t), record.Inconclusive, 3, map[record.Verdict]int{record.Pass: 1, record.Inconclusive: 1}},
		"empty":       {newRecord(t), record.Inconclusive, 3, nil},
	} {
		dir := c.b.write()
		s, _ := mustWrite(t, dir)
		if s.Verdict != c.want || s.ExitCode != c.exit || s.Report != "index.html" || s.Reason == "" {
			t.Errorf("%s: summary %+v", name, s)
		}
		for v, n := range c.specs {
			if s.Specs[v] != n {
				t.Errorf("%s: %d specs %s, want %d", name, s.Specs[v], v, n)
			}
		}
		var fields map[string]any
		if err := json.Unmarshal([]byte(read(t, dir, SummaryName)), &fields); err != nil {
			t.Fatal(err)
		}
		for _, f := range []string{"verdict", "exit_code", "exposures", "fault_events", "cycles", "specs", "bounds", "duration_s", "target", "seed", "replay", "report"} {
			if fields[f] == nil {
				t.Errorf("%s: summary.json has no %s", name, f)
			}
		}
	}
}

func TestWriteAgainGivesTheSameAndLeavesNothing(t *testing.T) {
	dir := leakRun(t).write()
	_, first := mustWrite(t, dir)
	junit := read(t, dir, JUnitName)
	if _, second := mustWrite(t, dir); second != first || read(t, dir, JUnitName) != junit {
		t.Error("writing again gives other files")
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		entries, err := os.ReadDir(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") {
				t.Errorf("left behind: %s in %s", e.Name(), d)
			}
		}
	}
}

func TestLatestPointsAtTheRunWrittenLast(t *testing.T) {
	dir := passRun(t).write()
	other := filepath.Join(filepath.Dir(dir), "20261121-000000-soak")
	if err := os.CopyFS(other, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(filepath.Dir(dir), LatestName)
	for _, d := range []string{dir, other, link, dir} {
		mustWrite(t, d)
		got, err := os.Readlink(link)
		if err != nil {
			t.Fatal(err)
		}
		if want := filepath.Base(d); d != link && got != want {
			t.Errorf("latest points at %s, want %s", got, want)
		}
		if d == link && got != filepath.Base(other) {
			t.Errorf("writing latest itself points it at %s", got)
		}
	}
}

func TestWriteErrors(t *testing.T) {
	dir := passRun(t).write()
	blocked := filepath.Join(filepath.Dir(dir), LatestName)
	if err := os.Mkdir(blocked, 0o755); err != nil {
		t.Fatal(err)
	}
	if s, err := Write(dir); err == nil || s.Verdict != record.Pass {
		t.Errorf("a folder in the place of the symlink: %v, verdict %q", err, s.Verdict)
	}
	if err := os.CopyFS(blocked, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(blocked); err == nil || !strings.Contains(err.Error(), "itself has that name") {
		t.Errorf("a run folder named latest: %v", err)
	}
	if _, err := Write(filepath.Join(dir, "no")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no run folder: %v", err)
	}
	if _, err := Write(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no record: %v", err)
	}
	damaged := t.TempDir()
	if err := os.WriteFile(filepath.Join(damaged, record.FileName), []byte("{\n{}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(damaged); err == nil {
		t.Error("a record damaged in the middle is no error")
	}
	if _, err := os.Stat(filepath.Join(damaged, PageName)); err == nil {
		t.Error("a page of a damaged record was written")
	}
}

func TestCutOffRecordIsDrawnWithANote(t *testing.T) {
	dir := leakRun(t).write()
	path := filepath.Join(dir, record.FileName)
	data := read(t, dir, record.FileName)
	if err := os.WriteFile(path, []byte(data[:len(data)-30]), 0o644); err != nil {
		t.Fatal(err)
	}
	s, page := mustWrite(t, dir)
	if !s.Interrupted || s.Verdict != record.Leak {
		t.Errorf("summary %+v", s)
	}
	if !strings.Contains(page, "cut off in its last line") || !strings.Contains(page, "readLoop") {
		t.Error("no note, or no leak, on the page of a cut record")
	}
}

func TestSpecsWithoutVerdictAreNoPass(t *testing.T) {
	for _, c := range []struct {
		state string
		judge bool
		want  record.Verdict
	}{
		{"failed", false, record.Inconclusive}, {"panicked", false, record.Inconclusive}, {"interrupted", false, record.Inconclusive}, {"", false, record.Inconclusive},
		{"timedout", true, record.Inconclusive}, {"failed", true, record.Inconclusive}, {"interrupted", true, record.Pass}, {"passed", true, record.Pass},
	} {
		b := passRun(t)
		b.begin("x", "a spec", "catalogue", "scenarios/x_test.go", 1)
		if c.judge {
			b.play(scene{spec: "x", exposed: 24})
		}
		if c.state != "" {
			b.end("x", c.state, "boom\nat x_test.go:1", 1)
		}
		if s, _ := mustWrite(t, b.write()); s.Verdict != c.want {
			t.Errorf("a spec that ended %q (judged: %v): run is %s, want %s", c.state, c.judge, s.Verdict, c.want)
		}
	}
}

func TestJUnit(t *testing.T) {
	b := leakRun(t)
	b.begin("p", "Panics", "catalogue", "scenarios/x_test.go", 1)
	b.end("p", "panicked", "nil map", 1)
	dir := b.write()
	mustWrite(t, dir)
	var got junitRun
	if err := xml.Unmarshal([]byte(read(t, dir, JUnitName)), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Suites) != 1 {
		t.Fatalf("%d suites", len(got.Suites))
	}
	if su := got.Suites[0]; su.Tests != 9 || su.Failures != 1 || su.Errors != 2 || su.Skipped != 1 || len(su.Cases) != 9 {
		t.Errorf("suite counts %+v", su)
	}
	for _, c := range got.Suites[0].Cases {
		switch {
		case c.Failure != nil && (c.Class != "scenarios/churn_test.go" || !strings.Contains(c.Failure.Message, "outlived kill -9") || !strings.Contains(c.Failure.Text, "CLOSE_WAIT") || c.Time != "31.400"):
			t.Errorf("failure %+v %+v", c, *c.Failure)
		case c.Skipped != nil && c.Skipped.Message != "the kernel lacks iptables TCPMSS":
			t.Errorf("skipped %+v", *c.Skipped)
		case c.Name == "Panics" && (c.Error == nil || !strings.Contains(c.Error.Message, "nil map")):
			t.Errorf("panicked %+v", c)
		}
	}
}

// What decides a run beside its specs is a case of its own: JUnit is red if, and only if,
// the exit status is not 0.
func TestJUnitAgreesWithTheExitStatus(t *testing.T) {
	check := record.Event{Kind: record.KindCheck, Check: &record.Check{What: "a known leak", Error: "it was not seen"}}
	with := func(b *recordBuilder, change func(*recordBuilder)) *recordBuilder {
		change(b)
		return b
	}
	grow := func(b *recordBuilder) {
		for cycle := 1; cycle <= 120; cycle++ {
			b.add("soak", cycle, record.Event{Kind: record.KindReading, Reading: &record.Reading{Role: "server", PID: 7, Quiescent: true,
				Memory: record.Memory{HeapAlloc: 8<<20 + int64(cycle)*8<<10, RssAnon: 14 << 20, Freed: true}}})
		}
	}
	for name, c := range map[string]struct {
		b              *recordBuilder
		want           record.Verdict
		failed, errors int
	}{
		"pass":              {passRun(t), record.Pass, 0, 0},
		"a leak in a story": {leakRun(t), record.Leak, 1, 1},
		"empty":             {newRecord(t), record.Inconclusive, 0, 1},
		"failed self-check": {with(passRun(t), func(b *recordBuilder) { b.events = append(b.events, check) }), record.Inconclusive, 0, 1},
		"both":              {with(leakRun(t), func(b *recordBuilder) { b.events = append(b.events, check) }), record.Leak, 1, 1},
		"not stated":        {with(passRun(t), func(b *recordBuilder) { b.events[0].Run.Require = []string{"heap"} }), record.Inconclusive, 0, 1},
		"killed":            {with(passRun(t), func(b *recordBuilder) { b.events = b.events[:len(b.events)-1] }), record.Inconclusive, 0, 1},
		"all skipped":       {with(passRun(t), func(b *recordBuilder) { b.events = append(b.events[:1], b.events[len(b.events)-4:]...) }), record.Inconclusive, 0, 1},
		"suite failed":      {with(passRun(t), func(b *recordBuilder) { b.events[len(b.events)-1].Finish.Failed = true }), record.Inconclusive, 0, 1},
		"the heap grew":     {with(soakRun(t, 3), grow), record.Leak, 1, 0},
	} {
		dir := c.b.write()
		s, _ := mustWrite(t, dir)
		if s.Verdict != c.want {
			t.Errorf("%s: %s (%s), want %s", name, s.Verdict, s.Reason, c.want)
		}
		var got junitRun
		if err := xml.Unmarshal([]byte(read(t, dir, JUnitName)), &got); err != nil {
			t.Fatal(err)
		}
		failed, wrong := 0, 0
		for _, su := range got.Suites {
			failed, wrong = failed+su.Failures, wrong+su.Errors
		}
		if failed != c.failed || wrong != c.errors || (failed+wrong > 0) != (s.ExitCode != 0) {
			t.Errorf("%s: %d failures and %d errors, exit %d; want %d and %d", name, failed, wrong, s.ExitCode, c.failed, c.errors)
		}
	}
}
