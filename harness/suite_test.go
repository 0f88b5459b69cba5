package harness

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/reports"
)

// Two runs of one name that begin in the same second have a folder each.
func TestRunsHaveFoldersOfTheirOwn(t *testing.T) {
	out := t.TempDir()
	t.Setenv(EnvOut, out)
	now := time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)
	for _, want := range []string{"20261120-093000-soak", "20261120-093000-soak-2", "20261120-093000-soak-3"} {
		if got, err := RunFolder("", "soak", now); err != nil || got != filepath.Join(out, want) {
			t.Errorf("the folder is %s (%v), want %s", got, err, want)
		}
	}
}

// Which old runs stay is said in one line.
func TestOldRunsThatStayAreNamed(t *testing.T) {
	out := t.TempDir()
	t.Setenv(reports.EnvKeep, "1")
	stay := func() string {
		t.Helper()
		text, err := IndexRuns(filepath.Join(out, "20261103-000000-soak"))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for _, name := range []string{"20261101-000000-soak", "20261102-000000-soak", "20261103-000000-soak"} {
		dir := filepath.Join(out, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := note(dir, []record.Event{{Kind: record.KindFinish, Finish: &record.Finish{Reason: "done"}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := reports.Write(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "mine.txt"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := stay(), "an old run is not pruned: 20261102-000000-soak: it holds mine.txt, which no run makes; and 1 more, which leakreport index lists"; got != want {
		t.Errorf("said is %q, want %q", got, want)
	}
	for _, name := range []string{"20261101-000000-soak", "20261102-000000-soak"} {
		if err := os.Remove(filepath.Join(out, name, "mine.txt")); err != nil {
			t.Fatal(err)
		}
	}
	if got := stay(); got != "" {
		t.Errorf("all was pruned, and said is %q", got)
	}
}

// What a suite is asked to play is looked at before anything is built, and refused in one
// line.
func TestScheduleThatCannotBePlayed(t *testing.T) {
	root := t.TempDir()
	text := []byte("steps: [{fault: unplug, at: moon, start: 0s, for: 1s}]")
	if err := os.WriteFile(filepath.Join(root, "bad.yaml"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	for file, says := range map[string]string{"bad.yaml": `step 1: unplug: no such place "moon"`, "none.yaml": "no such file"} {
		_, err := readSchedule(root, file)
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error is %v, want one line with %q", file, err, says)
		}
	}
}
