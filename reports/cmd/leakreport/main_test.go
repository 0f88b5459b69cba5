package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

// runFolder has a record with one verdict.
func runFolder(t *testing.T, v record.Verdict) string {
	dir := filepath.Join(t.TempDir(), "run-1")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w, err := record.Append(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []record.Event{
		{Kind: record.KindRun, Run: &record.Run{Version: record.Version, Name: "scenarios"}},
		{Kind: record.KindBegin, Spec: "a", Begin: &record.Spec{Name: "a story"}},
		{Kind: record.KindVerdict, Spec: "a", Verdict: &record.Judgement{Verdict: v, Reason: "what was\nseen", Exposures: 3, FaultEvents: 1}},
		{Kind: record.KindEnd, Spec: "a", End: &record.End{State: "passed"}},
		{Kind: record.KindFinish, Finish: &record.Finish{Reason: "done"}},
	} {
		if err := w.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestShowExitsWithTheVerdict(t *testing.T) {
	for v, want := range map[record.Verdict]int{record.Pass: 0, record.Leak: 1, record.Late: 1, record.Dead: 1, record.Inconclusive: 3, record.Skipped: 3} {
		dir := runFolder(t, v)
		var out, errs bytes.Buffer
		if got := run([]string{"show", dir}, &out, &errs); got != want {
			t.Errorf("show of %s: status %d, want %d (%s)", v, got, want, errs.String())
		}
		if !strings.Contains(errs.String(), "not drawn yet") {
			t.Errorf("show of %s: no word about the missing page: %q", v, errs.String())
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 2 || !strings.HasPrefix(lines[1], "verdict=") || !strings.HasSuffix(lines[1], "report="+filepath.Join(dir, "index.html")) {
			t.Errorf("show of %s prints %q", v, lines)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("show wrote something: %v %v", entries, err)
		}
	}
}

// A run that was killed between two stories is no pass, whatever it had judged.
func TestRecordThatEndsBeforeItsRun(t *testing.T) {
	dir := runFolder(t, record.Pass)
	file := filepath.Join(dir, record.FileName)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	for _, keep := range []int{0, 1, 2, 3, 4} {
		for _, half := range []bool{false, true} {
			short := strings.Join(lines[:keep], "")
			if half {
				short += lines[keep][:len(lines[keep])/2]
			}
			if err := os.WriteFile(file, []byte(short), 0o644); err != nil {
				t.Fatal(err)
			}
			var out, errs bytes.Buffer
			if got := run([]string{"show", dir}, &out, &errs); got != 3 || !strings.Contains(out.String(), "verdict=INCONCLUSIVE") {
				t.Errorf("%d of %d lines, half of the next: %t: status %d, prints %q", keep, len(lines)-1, half, got, out.String())
			}
		}
	}
}

func TestRenderThenShowTheNewest(t *testing.T) {
	dir := runFolder(t, record.Leak)
	t.Setenv("HALFOPEN_OUT", filepath.Dir(dir))
	var out, errs bytes.Buffer
	if got := run([]string{"render", dir}, &out, &errs); got != 0 || errs.Len() > 0 {
		t.Fatalf("render: status %d, %s", got, errs.String())
	}
	out.Reset()
	if got := run([]string{"show"}, &out, &errs); got != 1 || errs.Len() > 0 {
		t.Fatalf("show: status %d, %s", got, errs.String())
	}
	if want := "what was seen\nverdict=LEAK exit=1 report=" + filepath.Join(dir, "index.html") + "\n"; out.String() != want {
		t.Errorf("show prints %q, want %q", out.String(), want)
	}
}

func TestWrongUsageIsOneLineAndTwo(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HALFOPEN_OUT", dir)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{}, {"show"}, {"show", filepath.Join(dir, "no")}, {"show", dir}, {"render", dir}, {"show", file}, {"show", "a", "b"}, {"draw"}, {"show", "--fast"},
	} {
		var out, errs bytes.Buffer
		if got := run(args, &out, &errs); got != usage {
			t.Errorf("%q: status %d, want %d", args, got, usage)
		}
		if strings.Count(errs.String(), "\n") != 1 || !strings.HasPrefix(errs.String(), "leakreport: ") || out.Len() > 0 {
			t.Errorf("%q: says %q and prints %q", args, errs.String(), out.String())
		}
		if slices.Equal(args, []string{"show"}) && !strings.Contains(errs.String(), "make soak") {
			t.Errorf("without any run it does not say how to make one: %q", errs.String())
		}
	}
}

func TestHelpTeaches(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"show", "--help"}, {"render", "--help"}} {
		var out, errs bytes.Buffer
		if got := run(args, &out, &errs); got != 0 || !strings.Contains(out.String(), "DIR") || errs.Len() > 0 {
			t.Errorf("%q: status %d, prints %q, says %q", args, got, out.String(), errs.String())
		}
	}
}
