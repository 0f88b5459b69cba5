package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
)

// R's binom.test(k, n, alternative = "less")$conf.int[2].
func TestUpper(t *testing.T) {
	for _, c := range []struct {
		k, n int
		want float64
	}{{0, 1, 0.95}, {0, 30, 0.0950}, {0, 50, 0.0582}, {1, 30, 0.1486}, {3, 30, 0.2386}, {2, 2, 1}, {0, 0, 1}} {
		if got := upper(c.k, c.n, 0.95); math.Abs(got-c.want) > 0.0001 {
			t.Errorf("%d in %d: %.4f, want %.4f", c.k, c.n, got, c.want)
		}
	}
}

// story is the events of a spec with its verdict.
func story(id string, v record.Verdict, stoodStill float64) []record.Event {
	return []record.Event{
		{Spec: id, Begin: &record.Spec{Name: "story " + id}},
		{Spec: id, Outcome: &record.Outcome{Waited: stoodStill}},
		{Spec: id, Verdict: &record.Judgement{Verdict: v, Reason: "so it was", Starved: stoodStill > 0.5}},
	}
}

// unmade is a story that was broken off before its fault.
func unmade(id, reason string) []record.Event {
	return []record.Event{
		{Spec: id, Begin: &record.Spec{Name: "story " + id}},
		{Spec: id, Verdict: &record.Judgement{Verdict: record.Inconclusive, Reason: reason}},
	}
}

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		what   string
		second []record.Event
		passed bool
		want   string
	}{
		{"all pass", story("b", record.Pass, 0), true, clean},
		{"skipped as expected", story("b", record.Skipped, 0), true, clean},
		{"a leak", story("b", record.Leak, 0), false, falseAlarm},
		{"late", story("b", record.Late, 0), false, falseAlarm},
		{"dead, on a busy machine", story("b", record.Dead, 3), false, falseAlarm},
		{"inconclusive", story("b", record.Inconclusive, 0.1), false, flake},
		{"inconclusive, the machine stood still", story("b", record.Inconclusive, 0.7), false, starved},
		{"starved, and something else", append(story("b", record.Inconclusive, 0.7), story("c", record.Inconclusive, 0)...), false, flake},
		{"inconclusive, and no wait explains it", []record.Event{
			{Spec: "b", Outcome: &record.Outcome{Waited: 3}}, {Spec: "b", Verdict: &record.Judgement{Verdict: record.Inconclusive, Reason: "a gauge is gone"}},
		}, false, flake},
		{"no visitor got in, the machine stood still", unmade("b", leak.StoodStill(record.Outcome{Waited: 0.7})+": 502"), false, starved},
		{"no visitor got in", unmade("b", leak.StoodStill(record.Outcome{Waited: 0.1})+": 502"), false, flake},
		{"a self-check that fails", []record.Event{{Check: &record.Check{Error: "missed"}}}, false, flake},
		{"Ginkgo alone", nil, false, flake},
	} {
		var r run
		r.classify(append(story("a", record.Pass, 0), c.second...), c.passed)
		if r.Class != c.want || (c.want == clean) != (r.What == "") {
			t.Errorf("%s: %s (%s), want %s", c.what, r.Class, r.What, c.want)
		}
	}
	var r run
	if r.classify(nil, true); r.Class != flake {
		t.Errorf("nothing judged: %s", r.Class)
	}
}

func TestCountsOfUnlikeRunsAreNotAdded(t *testing.T) {
	base := t.TempDir()
	first := count{Target: "x", Key: "one", Began: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Runs: []run{{Class: clean}, {Class: starved}, {Class: flake, Hogs: 4}}}
	if err := first.store(base); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key, says string
		runs      int
	}{{"one", "3 runs so far", 3}, {"two", "the 3 runs of the last one", 0}} {
		again := count{Target: "x", Key: c.key}
		if said, err := again.resume(base); err != nil || len(again.Runs) != c.runs || !strings.Contains(said, c.says) {
			t.Errorf("key %s: %d runs, %q, %v", c.key, len(again.Runs), said, err)
		}
	}
	other := count{Target: "y", Key: "one"}
	if said, err := other.resume(base); err != nil || strings.Contains(said, "last one") {
		t.Errorf("of another target it says %q, %v", said, err)
	}
	var s summary
	text, err := os.ReadFile(filepath.Join(base, latestName))
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil || s.Runs != 3 || s.Clean != 1 || s.Flakes != 1 || s.Starved != 1 || s.ByHogs[4].Runs != 1 || !strings.HasPrefix(s.Statement, "1 in 2: ") {
		t.Errorf("%v: %s", err, text)
	}
	if err := os.WriteFile(filepath.Join(first.folder(base), countName), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := first.resume(base); err == nil {
		t.Error("a count that cannot be read is taken for none")
	}
}

func TestBadOptionsAreOneLine(t *testing.T) {
	program := filepath.Join(t.TempDir(), "flakes")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, env := range []string{"N=0", "N=many", "HOGS=-1", "HOGS=x", "TARGET=no-such-file.yaml"} {
		var out, errs bytes.Buffer
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), env)
		cmd.Stdout, cmd.Stderr = &out, &errs
		_ = cmd.Run() // its status is looked at
		if cmd.ProcessState.ExitCode() != usage || strings.Count(errs.String(), "\n") != 1 || !strings.HasPrefix(errs.String(), "flakes: ") {
			t.Errorf("%s: status %d, says %q", env, cmd.ProcessState.ExitCode(), errs.String())
		}
	}
}
