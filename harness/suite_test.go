package harness

import (
	"path/filepath"
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
