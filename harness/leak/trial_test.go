package leak

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

// Recorded trials of real servers, as calibrate stores them: healthy ones must be found to
// leak nothing, and the leaks that were planted must be named, by kind.
func TestRecordedTrials(t *testing.T) {
	f, err := os.Open("testdata/trials.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	finds := map[string]string{
		"plain": "", "sync.Pool": "", "cache": "", "burst": "", "idle": "",
		"goroutine 1 in 100": "goroutines", "fd 1 in 100": "fds", "socket 1 in 100": "fds",
		"2 KB a cycle": Heap, "512 B a cycle": Heap,
	}
	seen := map[string]bool{}
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var trial record.Trial
		if err := json.Unmarshal(in.Bytes(), &trial); err != nil {
			t.Fatal(err)
		}
		want, known := finds[trial.Name]
		if !known {
			t.Errorf("%s: not a trial of this test", trial.Name)
		}
		seen[trial.Name] = true
		said := Trial(trial)
		leaks := slices.IndexFunc(said, func(x record.Statement) bool { return x.Verdict == record.Leak })
		named := slices.ContainsFunc(said, func(x record.Statement) bool { return x.Verdict == record.Leak && x.Resource == want })
		switch {
		case want == "" && leaks >= 0:
			t.Errorf("%s, seed %d: false alarm: %s", trial.Name, trial.Seed, said[leaks].Text)
		case want != "" && !named:
			t.Errorf("%s, seed %d: %s is not found to leak: %q", trial.Name, trial.Seed, want, texts(said))
		}
		for _, x := range said {
			if x.Verdict == record.Pass && (x.Limit == nil || x.Limit.Value <= 0) {
				t.Errorf("%s: a pass without a bound: %s", trial.Name, x.Text)
			}
		}
	}
	if err := in.Err(); err != nil || len(seen) != len(finds) {
		t.Errorf("%d of %d kinds of trials are there (%v)", len(seen), len(finds), err)
	}
}
