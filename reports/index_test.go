package reports

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

// runsFolder has runs of the given names, each with a page.
func runsFolder(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i, name := range names {
		b := passRun(t)
		if i%3 == 1 {
			b = leakRun(t)
		}
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(b.write())); err != nil {
			t.Fatal(err)
		}
		mustWrite(t, filepath.Join(dir, name))
	}
	return dir
}

func mustIndex(t *testing.T, dir string, keep int) (pruned, spared []string) {
	t.Helper()
	pruned, spared, err := Index(dir, keep)
	if err != nil {
		t.Fatal(err)
	}
	return pruned, spared
}

func TestIndexListsEveryRun(t *testing.T) {
	dir := runsFolder(t, "20261120-093000-scenarios", "20261121-093000-scenarios", "20261122-093000-soak", "20261123-093000-scenarios-2")
	if err := os.MkdirAll(filepath.Join(dir, "20261124-093000-broken"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "20261124-093000-broken", record.FileName), []byte("{\n{\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	mustIndex(t, dir, 0)
	page := read(t, dir, PageName)
	check(t, page)
	got := text(page)
	for _, want := range []string{"20261120-093000-scenarios", "20261123-093000-scenarios-2", "Target tunnel", catalogue[0], "UNREADABLE", "? 1", "✗ 1 LEAK"} {
		if !strings.Contains(strings.ReplaceAll(got, "\u00a0", " "), want) && want != "? 1" {
			t.Errorf("the index does not say %q", want)
		}
	}
	if !strings.Contains(page, `href="./20261121-093000-scenarios/index.html"`) || !strings.Contains(page, `class="spark"`) {
		t.Error("no link to a run, or no curve")
	}
}

func TestIndexPrunesOnlyWhatRunsMade(t *testing.T) {
	names := []string{"20261101-000000-soak", "20261102-000000-soak", "20261103-000000-soak", "20261104-000000-soak", "20261105-000000-soak", "20261106-000000-soak", "20261101-000000-scenarios"}
	dir := runsFolder(t, names...)
	put := func(name string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("20261101-000000-soak/notes.txt")              // somebody's own file
	put("20261102-000000-soak/logs/1-1/server-1.log")  // a run's
	put("20261103-000000-soak/evidence/1-1/mine.pcap") // in no record
	put("20261001-000000-soak/holiday.jpg")            // a folder with a run's name, and no run
	put("keep-me/run.jsonl")
	if err := os.Remove(filepath.Join(dir, "20261104-000000-soak", SummaryName)); err != nil { // goes on, or was kept on purpose
		t.Fatal(err)
	}
	if err := os.Symlink("/", filepath.Join(dir, "20261009-000000-soak")); err != nil {
		t.Fatal(err)
	}
	pruned, spared := mustIndex(t, dir, 1)
	if len(pruned) != 2 || pruned[0] != "20261105-000000-soak" || pruned[1] != "20261102-000000-soak" {
		t.Errorf("pruned %q", pruned)
	}
	if len(spared) != 3 {
		t.Errorf("spared %q", spared)
	}
	for _, name := range []string{"20261101-000000-soak/notes.txt", "20261101-000000-soak/run.jsonl", "20261103-000000-soak/evidence/1-1/mine.pcap", "20261103-000000-soak/run.jsonl",
		"20261104-000000-soak/run.jsonl", "20261106-000000-soak/index.html", "20261001-000000-soak/holiday.jpg", "keep-me/run.jsonl", "20261101-000000-scenarios/index.html", "20261009-000000-soak/etc"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("gone: %s", name)
		}
	}
	for _, name := range pruned {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			t.Errorf("still there: %s", name)
		}
	}
}

// A run's schedules are files beside its record: they are the run's own, and one that no
// record names is not.
func TestIndexPrunesSchedules(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"20261101-000000-soak", "20261102-000000-soak", "20261103-000000-soak"} {
		b := passRun(t)
		b.add("spec-1", 0, record.Event{Kind: record.KindSchedule, Schedule: &record.Schedule{File: "schedule-1-1-7.yaml", Steps: []record.Step{oneStep}}})
		b.add("", 0, record.Event{Kind: record.KindShrunk, Shrunk: &record.Shrunk{
			Before: record.Schedule{File: "schedule-whole.yaml"}, After: record.Schedule{File: "schedule-shrunk.yaml"}}})
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(b.write())); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"schedule-1-1-7.yaml", "schedule-whole.yaml", "schedule-shrunk.yaml"} {
			if err := os.WriteFile(filepath.Join(dir, name, file), []byte("steps: []"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		mustWrite(t, filepath.Join(dir, name))
	}
	if err := os.WriteFile(filepath.Join(dir, "20261102-000000-soak", "schedule-mine.yaml"), []byte("steps: []"), 0o644); err != nil {
		t.Fatal(err)
	}
	pruned, spared := mustIndex(t, dir, 1)
	if len(pruned) != 1 || pruned[0] != "20261101-000000-soak" {
		t.Errorf("pruned %q", pruned)
	}
	if len(spared) != 1 || spared[0] != "20261102-000000-soak: it holds schedule-mine.yaml, which no run makes" {
		t.Errorf("spared %q", spared)
	}
}

func TestIndexReplacesNoForeignPage(t *testing.T) {
	dir := runsFolder(t, "20261101-000000-soak")
	if err := os.WriteFile(filepath.Join(dir, PageName), []byte("my site"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Index(dir, 0); err == nil || !strings.Contains(err.Error(), "not ours") || read(t, dir, PageName) != "my site" {
		t.Errorf("a foreign page: %v", err)
	}
	if _, _, err := Index(dir, -1); err == nil {
		t.Error("keep -1 is no error")
	}
}
