package harness

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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
