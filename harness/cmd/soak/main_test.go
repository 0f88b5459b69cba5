package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/reports"
)

func TestTakeShard(t *testing.T) {
	for _, c := range []struct {
		shard, index string
		seed, want   int64
		name, fails  string
	}{
		{"", "", 7, 7, "soak", ""},
		{"1/4", "", 7, 10000000007, "soak-1of4", ""},
		{"4/4", "", 7, 40000000007, "soak-4of4", ""},
		{"2/4", "9", 7, 20000000007, "soak-2of4", ""}, // told goes before found
		{"", "0", 7, 10000000007, "soak-1", ""},
		{"", "3", 7, 40000000007, "soak-4", ""},
		{"0/4", "", 7, 0, "", "shard 0/4: want the second of four as 2/4"},
		{"5/4", "", 7, 0, "", "shard 5/4"},
		{"2", "", 7, 0, "", "shard 2:"},
		{"a/b", "", 7, 0, "", "shard a/b"},
		{"", "x", 7, 0, "", "JOB_COMPLETION_INDEX=x"},
		{"1/2", "", 1e10, 0, "", "seed 10000000000: with a shard it must be below"},
	} {
		j := job{options: options{shard: c.shard, seed: c.seed}}
		err := j.takeShard(c.index)
		switch {
		case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
			t.Errorf("%+v: %v", c, err)
		case c.fails == "" && (err != nil || j.seed != c.want || j.name() != c.name):
			t.Errorf("%+v: seed %d, %s (%v)", c, j.seed, j.name(), err)
		}
	}
}

// What the user says of evidence reaches the suite and the command that does the run
// again; a word that means nothing is refused before anything is built.
func TestEvidence(t *testing.T) {
	for _, c := range []struct {
		said, passed, again string
	}{
		{"", "-evidence=short", ""},
		{"none", "-evidence=none", " --evidence none"},
		{"full", "-evidence=full", " --evidence full"},
		{"fulll", "", ""},
	} {
		t.Setenv("EVIDENCE", c.said)
		j := job{options: options{procs: 1, labs: 1}}
		if err := j.fromEnvironment(); err != nil {
			t.Fatal(err)
		}
		err := j.check()
		if c.passed == "" {
			if err == nil || err.Error() != `evidence "fulll": want none, short or full` {
				t.Errorf("%q: %v", c.said, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.said, err)
		}
		line := j.line([]string{"--label-filter=soak", "soak=1m"})
		if own := line[slices.Index(line, "--")+1:]; !slices.Contains(own, c.passed) {
			t.Errorf("%q: the suite is told %q", c.said, own)
		}
		if again := j.again(); c.again != "" && !strings.HasSuffix(again, c.again) || c.again == "" && strings.Contains(again, "evidence") {
			t.Errorf("%q: done again by %q", c.said, again)
		}
	}
}

// Whether a catalogue was run, and how many of its stories at once, is told by the command
// that does the run again, where it is not as it is by itself.
func TestCatalogueAgain(t *testing.T) {
	for _, c := range []struct {
		catalogue bool
		procs     int
		again     string
	}{
		{true, catalogueProcs, ""},
		{true, 2, " --procs 2"},
		{false, catalogueProcs, " --catalogue=false"},
		{false, 2, " --catalogue=false"},
	} {
		j := job{root: "/", options: options{target: "/" + harness.DefaultTarget, duration: time.Minute, seed: 7, labs: 1, evidence: harness.EvidenceShort,
			catalogue: c.catalogue, procs: c.procs}}
		if got, want := j.again(), "scripts/soak --duration 1m0s --seed 7"+c.again; got != want {
			t.Errorf("done again by %q, want %q", got, want)
		}
	}
}

// How many labs is told by the flag's variable, to Ginkgo and to the suite, and by the
// command that does the run again.
func TestLabs(t *testing.T) {
	for _, c := range []struct {
		said  string
		labs  int
		again string
		fails string
	}{
		{"", 1, "", ""},
		{"3", 3, " --labs 3", ""},
		{"0", 0, "", "labs must be at least 1"},
		{"many", 0, "", "LABS=many: want a whole number"},
	} {
		t.Setenv("LABS", c.said)
		j := job{options: options{procs: 1}}
		err := j.fromEnvironment()
		if err == nil {
			err = j.check()
		}
		if c.fails != "" {
			if err == nil || err.Error() != c.fails {
				t.Errorf("%q: %v", c.said, err)
			}
			continue
		}
		if err != nil || j.labs != c.labs || strings.Contains(j.again(), "labs") != (c.again != "") || !strings.HasSuffix(j.again(), c.again) {
			t.Errorf("%q: %d labs, again by %q (%v)", c.said, j.labs, j.again(), err)
		}
		line := j.line(j.soakLine())
		own := slices.Index(line, "--")
		if several := c.labs > 1; slices.Contains(line[:own], "--procs="+c.said) != several || slices.Contains(line[own:], "-labs="+c.said) != several {
			t.Errorf("%q: the soak is told %q", c.said, line)
		}
	}
}

// What a run comes to is what its files say: a suite that failed although all was a PASS is
// in the exit status, the summary and JUnit alike.
func TestFinish(t *testing.T) {
	for _, c := range []struct {
		failed, stopped bool
		exit            int
	}{{false, false, 0}, {true, false, 3}, {true, true, 0}} {
		j := job{root: t.TempDir(), failed: c.failed, stopped: c.stopped}
		j.dir = filepath.Join(j.root, "20261126-213000-soak")
		if err := os.Mkdir(j.dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, e := range []record.Event{
			{Kind: record.KindRun, Run: &record.Run{Version: record.Version, Name: "soak"}},
			{Kind: record.KindBegin, Spec: "1-1", Begin: &record.Spec{Name: "Soak", Suite: "soak"}},
			{Kind: record.KindVerdict, Spec: "1-1", Cycle: 1, Verdict: &record.Judgement{Verdict: record.Pass, Exposures: 24, FaultEvents: 1}},
			{Kind: record.KindEnd, Spec: "1-1", End: &record.End{State: "passed"}},
		} {
			if e.At = time.Now(); j.note(e) != nil {
				t.Fatal("the record cannot be written")
			}
		}
		exit, err := j.finish(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		var s record.Summary
		text, err := os.ReadFile(filepath.Join(j.dir, reports.SummaryName))
		if err == nil {
			err = json.Unmarshal(text, &s)
		}
		if err != nil || exit != c.exit || s.ExitCode != c.exit {
			t.Errorf("%+v: the soak ends with %d, and its summary says %d (%v)", c, exit, s.ExitCode, err)
		}
		junit, err := os.ReadFile(filepath.Join(j.dir, reports.JUnitName))
		if err != nil || strings.Contains(string(junit), "<error") != (c.exit != 0) {
			t.Errorf("%+v: JUnit says (%v)\n%s", c, err, junit)
		}
	}
}
