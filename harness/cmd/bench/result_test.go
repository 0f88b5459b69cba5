package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMedianAndInterval(t *testing.T) {
	for _, c := range []struct {
		values []float64
		median float64
		lo, hi float64
	}{
		{nil, 0, 0, 0},
		{[]float64{3}, 3, 3, 3},
		{[]float64{4, 1, 2, 3}, 2.5, 1, 4},
		{[]float64{5, 4, 3, 2, 1}, 3, 1, 5},
		// Of 11 the third and the ninth: 2*(1+11+55)/2048 = 6.5 % outside.
		{[]float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, 6, 3, 9},
		// Of 8 the second and the seventh: 2*(1+8)/256 = 7 % outside.
		{[]float64{1, 2, 3, 4, 5, 6, 7, 8}, 4.5, 2, 7},
	} {
		got := interval(c.values)
		if median(c.values) != c.median || got != [2]float64{c.lo, c.hi} {
			t.Errorf("%v: median %v in %v, want %v in %v..%v", c.values, median(c.values), got, c.median, c.lo, c.hi)
		}
	}
}

// A ratio is that of a round, not that of medians; what failed is left out.
func TestRows(t *testing.T) {
	nan := math.NaN()
	all := rows([]figure{{name: "f", goals: []goal{{"haproxy", 1.5}}}, {name: "c", less: true, goals: []goal{{"haproxy", 0.5}}}},
		[]peer{{name: ours}, {name: "haproxy"}, {name: "ssh"}, {name: "frp"}},
		values{
			"f": {ours: {10, 40, 90}, "haproxy": {10, 20, 10}, "ssh": {5, nan, 5}, "frp": {nan, nan, nan}},
			"c": {ours: {6, 6, 6}, "haproxy": {10, 10, 10}},
		})
	if len(all) != 3 {
		t.Fatalf("got %+v, want three rows", all)
	}
	if r := all[0]; r.Ratio != 2 || r.Ours != 40 || r.PeerValue != 10 || !r.OK || r.Goal != 1.5 || r.Spread != [2]float64{1, 9} {
		t.Errorf("got %+v", r)
	}
	if r := all[1]; r.Peer != "ssh" || r.Ratio != 10 || r.Rounds != 2 || !r.OK || r.Goal != 0 {
		t.Errorf("got %+v", r)
	}
	if r := all[2]; r.Ratio != 0.6 || r.OK || !r.AtMost {
		t.Errorf("got %+v", r)
	}
}

func TestResult(t *testing.T) {
	good := relative("a", "MB/s", "ssh", []float64{2}, []float64{1}, []float64{2}, goal{"ssh", 1.5}, false)
	bad := absolute("b", "s", 17, 16, true, "")
	other := relative("c", "MB/s", "direct", []float64{2}, []float64{1}, []float64{2}, goal{"direct", 0}, false)
	for _, c := range []struct {
		figures []row
		want    int
	}{
		{[]row{good, other}, 0}, {[]row{good, bad}, missed}, {[]row{other}, nothing}, {nil, nothing},
		{[]row{good, {Figure: "d", Error: "no"}}, missed},
	} {
		if got := (result{Figures: c.figures}).status(); got != c.want {
			t.Errorf("%+v: status %d, want %d", c.figures, got, c.want)
		}
	}
	r := result{Figures: []row{good, bad, other, {Figure: "d", Error: "no"}}}
	var table strings.Builder
	r.print(&table)
	for _, want := range []string{"MISSED", "FAILED", "d failed: no", "2.00..2.00", "<= 16", ">= 1.5"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, table.String())
		}
	}
	path := filepath.Join(t.TempDir(), "deep", "latest.json")
	if err := r.save(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var back struct{ Figures []map[string]any }
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"figure", "ours", "peer", "peer_value", "ratio", "goal", "ok", "spread"} {
		if _, ok := back.Figures[0][key]; !ok {
			t.Errorf("the file lacks %q: %s", key, text)
		}
	}
}

func TestSelected(t *testing.T) {
	if got := selected([]string{"ws-50"}); strings.Join(got, " ") != "ws-50" {
		t.Errorf("ws-50 selects %v", got)
	}
	if got := selected([]string{"bulk-up", "dead"}); strings.Join(got, " ") != "bulk-up-1 bulk-up-32 dead" {
		t.Errorf("got %v", got)
	}
	if len(selected(nil)) != len(figureNames()) {
		t.Error("without a name all are selected")
	}
	for _, o := range []options{
		{rounds: 1, window: 1e9, figures: []string{"nope"}}, {rounds: 0, window: 1e9}, {rounds: 1, window: 1},
		{rounds: 1, window: 1e9, peers: []string{"nope"}}, {rounds: 1, window: 1e9, tunnel: "/nowhere/tunnel"},
	} {
		if o.check() == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

func TestCounter(t *testing.T) {
	const table = "TcpExt: SyncookiesSent TCPTimeouts\nTcpExt: 3 17\nIpExt: TCPTimeouts\nIpExt: 5\n"
	if n, err := counter(table, "TcpExt:", "TCPTimeouts"); n != 17 || err != nil {
		t.Errorf("got %d, %v; want 17", n, err)
	}
	if _, err := counter(table, "TcpExt:", "TCPLost"); err == nil {
		t.Error("a name that is not there has a value")
	}
}
