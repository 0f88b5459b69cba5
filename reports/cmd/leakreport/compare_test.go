package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

// rounds writes a run in which a fault was recovered from after each of the times.
func rounds(t *testing.T, v record.Verdict, times ...float64) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run-1")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w, err := record.Append(dir)
	if err != nil {
		t.Fatal(err)
	}
	events := []record.Event{
		{Kind: record.KindRun, Run: &record.Run{Version: record.Version, Name: "soak", Target: "t"}},
		{Kind: record.KindBegin, Spec: "a", Begin: &record.Spec{Name: "a story"}},
	}
	for i, after := range times {
		for _, e := range []record.Event{
			{Kind: record.KindLoad, Load: &record.Load{Traffic: "idle"}},
			{Kind: record.KindWindow, Window: &record.Window{Upper: 5, Slack: 1.1}},
			{Kind: record.KindFault, Fault: &record.Fault{Name: "kill -9", Place: "client", Phase: "injected", Bit: true, Exposures: 3}},
			{Kind: record.KindOutcome, Outcome: &record.Outcome{Returned: after}},
			{Kind: record.KindVerdict, Verdict: &record.Judgement{Verdict: v, Reason: "r", Exposures: 3, FaultEvents: 1, Returned: after}},
		} {
			e.Spec, e.Cycle = "a", i+1
			events = append(events, e)
		}
	}
	for _, e := range append(events, record.Event{Kind: record.KindFinish, Finish: &record.Finish{Reason: "done"}}) {
		if err := w.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCompareTellsNoiseFromDifference(t *testing.T) {
	calm := []float64{2.0, 2.1, 2.2, 2.05, 2.15, 2.12, 2.08}
	for name, c := range map[string]struct {
		a, b   string
		status int
		want   string
	}{
		"the same":          {rounds(t, record.Pass, calm...), rounds(t, record.Pass, 2.05, 2.11, 2.2, 2.0, 2.14, 2.1, 2.09), 0, "nothing differs"},
		"slower":            {rounds(t, record.Pass, calm...), rounds(t, record.Pass, 3.0, 3.1, 3.2, 3.05, 3.15, 3.12, 3.08), 1, "p="},
		"too few to tell":   {rounds(t, record.Pass, 2), rounds(t, record.Pass, 2.9), 0, "too few rounds"},
		"few but far apart": {rounds(t, record.Pass, 2), rounds(t, record.Pass, 4.9), 1, "more than the slack"},
		"another verdict":   {rounds(t, record.Pass, calm...), rounds(t, record.Leak, calm...), 1, "LEAK"},
		"finer than read":   {rounds(t, record.Pass, 2, 2.001, 2.002, 2.003, 2.004, 2.005), rounds(t, record.Pass, 2.05, 2.051, 2.052, 2.053, 2.054, 2.055), 0, "noise"},
	} {
		var out, errs bytes.Buffer
		if got := run([]string{"compare", c.a, c.b}, &out, &errs); got != c.status || !strings.Contains(out.String(), c.want) || errs.Len() > 0 {
			t.Errorf("%s: status %d, want %d:\n%s%s", name, got, c.status, out.String(), errs.String())
		}
		out.Reset()
		run([]string{"compare", "--json", c.a, c.b}, &out, &errs)
		var d difference
		if err := json.Unmarshal(out.Bytes(), &d); err != nil || d.Differs() != (c.status == 1) {
			t.Errorf("%s: as JSON %v: %s", name, err, out.String())
		}
	}
}

func TestOpenIndexSchema(t *testing.T) {
	dir := rounds(t, record.Pass, 2)
	opened := ""
	old := opener
	defer func() { opener = old }()
	opener = func(page string) error { opened = page; return nil }
	var out, errs bytes.Buffer
	if got := run([]string{"open", dir}, &out, &errs); got != 0 || opened != filepath.Join(dir, "index.html") {
		t.Errorf("open: status %d, opened %q, %s", got, opened, errs.String())
	}
	if _, err := os.Stat(opened); err != nil {
		t.Error("open drew no page")
	}
	opener = func(string) error { return fmt.Errorf("no screen") }
	if got := run([]string{"open", dir}, &out, &errs); got != 0 || !strings.Contains(out.String(), dir) || !strings.Contains(errs.String(), "no screen") {
		t.Errorf("open without a screen: status %d, %q, %q", got, out.String(), errs.String())
	}
	out.Reset()
	errs.Reset()
	if got := run([]string{"index", filepath.Dir(dir)}, &out, &errs); got != 0 || !strings.HasSuffix(strings.TrimSpace(out.String()), "index.html") {
		t.Errorf("index: status %d, %q, %q", got, out.String(), errs.String())
	}
	t.Setenv("HALFOPEN_KEEP", "many")
	if got := run([]string{"index", filepath.Dir(dir)}, &out, &errs); got != usage || !strings.Contains(errs.String(), "HALFOPEN_KEEP=many") {
		t.Errorf("index with a bad number: status %d, %q", got, errs.String())
	}
	out.Reset()
	if got := run([]string{"schema"}, &out, &errs); got != 0 || !json.Valid(out.Bytes()) || !strings.Contains(out.String(), "record version 1") {
		t.Errorf("schema: status %d", got)
	}
}
