package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/scenarios/sweep"
)

// four packets, of which the last two can be cut off.
var life = sweep.Life{{Event: "SYN"}, {Event: "SYN ACK"}, {Event: "ACK", Way: fault.ToServer}, {Event: "token", Way: fault.ToServer}}

func played(after int, way fault.Way, event string, v record.Verdict) cut {
	return cut{Cut: sweep.Cut{After: after, Way: way, Event: event}, Verdict: v}
}

func TestWhatIsPlayedAgain(t *testing.T) {
	for _, c := range []struct {
		name    string
		cuts    []cut
		again   []string // of a whole sweep
		verdict record.Verdict
	}{
		{"all is hit", []cut{played(2, "", "ACK", record.Pass), played(3, "", "token", record.Pass)}, nil, record.Pass},
		{"an event is missed", []cut{played(2, "", "ACK", record.Pass), played(3, "", "ACK", record.Pass), played(3, fault.FromServer, "ACK", record.Pass)},
			[]string{"cut after packet 3, both ways"}, record.Inconclusive},
		{"it is hit the second time", []cut{played(2, "", "ACK", record.Pass), played(3, "", "ACK", record.Pass), played(3, "", "token", record.Pass)}, nil, record.Pass},
		{"what was not judged has hit nothing", []cut{played(2, "", "ACK", record.Pass), played(3, "", "token", record.Inconclusive)},
			[]string{"cut after packet 3, both ways"}, record.Inconclusive},
		{"judged the second time", []cut{played(2, "", "ACK", record.Pass), played(3, "", "token", record.Inconclusive), played(3, "", "token", record.Pass)}, nil, record.Pass},
		{"red the second time", []cut{played(2, "", "ACK", record.Pass), played(3, "", "token", record.Inconclusive), played(3, "", "token", record.Leak)}, nil, record.Leak},
		{"red stays red", []cut{played(2, "", "ACK", record.Late), played(3, "", "ACK", record.Pass), played(2, "", "ACK", record.Pass), played(3, "", "token", record.Pass)}, nil, record.Late},
		{"a pass stays one", []cut{played(2, "", "ACK", record.Pass), played(3, "", "token", record.Pass), played(3, "", "token", record.Inconclusive)}, nil, record.Pass},
	} {
		r := &result{}
		for _, one := range c.cuts {
			r.put(one)
		}
		r.cover(life)
		if got := r.again(life, true); !slices.Equal(got, c.again) {
			t.Errorf("%s: again %q, want %q", c.name, got, c.again)
		}
		if got := r.worst(true); got != c.verdict {
			t.Errorf("%s: %s, want %s", c.name, got, c.verdict)
		}
	}
}

func TestAFocusNeedsNotCoverAll(t *testing.T) {
	r := &result{}
	r.put(played(3, "", "token", record.Pass))
	r.cover(life)
	if again, verdict := r.again(life, false), r.worst(false); again != nil || verdict != record.Pass {
		t.Errorf("again %q, %s", again, verdict)
	}
	if verdict := (&result{}).worst(false); verdict != record.Inconclusive {
		t.Errorf("no cut at all: %s", verdict)
	}
}

// A life that comes to a leak before anything is cut is a leak, and no trouble of the set-up.
func TestTheUncutLifeIsJudged(t *testing.T) {
	run := t.TempDir()
	if _, err := uncut(run); err == nil {
		t.Error("a run without a summary was judged")
	}
	for _, want := range []record.Verdict{record.Pass, record.Leak, record.Inconclusive} {
		if err := os.WriteFile(filepath.Join(run, "summary.json"), fmt.Appendf(nil, `{"verdict": %q}`, want), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := uncut(run); err != nil || got != want {
			t.Errorf("%s (%v), want %s", got, err, want)
		}
	}
}

// The result of an earlier sweep is no result of one that ends early.
func TestForget(t *testing.T) {
	s := sweeper{folder: t.TempDir()}
	if err := s.forget(); err != nil {
		t.Errorf("there is nothing to forget: %v", err)
	}
	life := filepath.Join(s.folder, "life.json")
	for _, file := range []string{life, filepath.Join(s.folder, "latest.json"), filepath.Join(s.folder, "cut-2.json")} {
		if err := os.WriteFile(file, []byte("{}"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.forget(); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(s.folder, "*")); err != nil || !slices.Equal(left, []string{life}) {
		t.Errorf("left is %v (%v)", left, err)
	}
}
