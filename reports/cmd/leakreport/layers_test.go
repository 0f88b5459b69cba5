package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

// layerRun is a run folder with one judged story, or a skipped one.
func layerRun(t *testing.T, target string, skipped bool, returned float64, noticed map[string]int) string {
	t.Helper()
	dir := t.TempDir()
	w, err := record.Append(dir)
	if err != nil {
		t.Fatal(err)
	}
	events := []record.Event{
		{Kind: record.KindRun, Run: &record.Run{Version: record.Version, Target: target}},
		{Kind: record.KindBegin, Spec: "a", Begin: &record.Spec{Name: "Cable pull is noticed"}},
	}
	if skipped {
		events = append(events, record.Event{Kind: record.KindVerdict, Spec: "a", Verdict: &record.Judgement{Verdict: record.Skipped, Reason: "no heartbeat"}})
	} else {
		events = append(events,
			record.Event{Kind: record.KindWindow, Spec: "a", Window: &record.Window{Upper: 5, Rows: []record.Bound{{Detector: "heartbeat deadline", Decides: true}}}},
			record.Event{Kind: record.KindLoad, Spec: "a", Load: &record.Load{Traffic: "idle"}},
			record.Event{Kind: record.KindFault, Spec: "a", Fault: &record.Fault{Name: "cable pulled", Place: "client", Bit: true}},
			record.Event{Kind: record.KindOutcome, Spec: "a", Outcome: &record.Outcome{First: 4, Returned: returned, Noticed: noticed}},
			record.Event{Kind: record.KindVerdict, Spec: "a", Verdict: &record.Judgement{Verdict: record.Pass}},
		)
	}
	for _, e := range events {
		if err := w.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLayers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "layers", "latest.json")
	args := []string{
		"layers", "--json", file,
		layerRun(t, "all", false, 4.6, map[string]int{"heartbeat": 7, "kernel": 1}), layerRun(t, "all", false, 4.8, map[string]int{"heartbeat": 8}),
		layerRun(t, "all", false, 9, nil), layerRun(t, "quiet", false, 4.2, nil), layerRun(t, "kernel", true, 0, nil),
	}
	var out, errs bytes.Buffer
	if got := run(args, &out, &errs); got != 0 {
		t.Fatalf("status %d: %s", got, errs.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	want := []string{
		"fault                   traffic  all                                   quiet                            kernel",
		"cable pulled at client  idle     4.8 of 5.0 s, heartbeat 15 kernel 1  4.2 of 5.0 s (heartbeat deadline)  never [1]",
		"", "[1] no heartbeat",
	}
	if len(lines) != len(want) {
		t.Fatalf("printed:\n%s", out.String())
	}
	for i := range want {
		if got := strings.Join(strings.Fields(lines[i]), " "); got != strings.Join(strings.Fields(want[i]), " ") {
			t.Errorf("line %d: %q, want %q", i+1, got, want[i])
		}
	}
	var table layerTable
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &table)
	}
	if err != nil || len(table.Rows) != 3 || table.Rows[0].Rounds != 3 || table.Rows[0].Last != 4.8 || table.Rows[2].Never == "" || table.Rows[2].Fault != table.Rows[0].Fault {
		t.Errorf("%v: %s", err, text)
	}
}

func TestLayersOfNothing(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, record.FileName), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if got := run([]string{"layers", dir}, &out, &errs); got != usage || out.Len() > 0 || !strings.Contains(errs.String(), "no story was judged") {
		t.Errorf("status %d, prints %q, says %q", got, out.String(), errs.String())
	}
}

// A PASS in which not all was gone had nothing to be gone by: no time is shown for it.
func TestLayersNoneHadToEnd(t *testing.T) {
	r := layerRow{Verdict: record.Pass, Last: -1, Window: 12.4, BoundedBy: "TCP_USER_TIMEOUT"}
	if got := r.cell(); got != "none had to end" {
		t.Error(got)
	}
	r.Noticed = map[string]int{"drain": 2}
	if got := r.cell(); got != "none had to end, drain 2" {
		t.Error(got)
	}
	r.Verdict = record.Leak // what is not gone there had to end
	if got := r.cell(); got != "LEAK" {
		t.Error(got)
	}
}
