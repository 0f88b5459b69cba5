package leak

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

// gauges gives the server's gauge of streams these values at the four snapshots, and one
// of logins that is always 1.
func gauges(r *Round, b, e, f, g int) {
	p := &r.Processes[0]
	for s, n := range map[*record.Sample]int{&p.B: b, &p.E: e, &p.F: f, &p.G: g} {
		s.Gauges = []record.Gauge{{Name: "logins", Value: 1}, {Name: "streams", Value: n}}
	}
}

func TestGauges(t *testing.T) {
	pipe := func(s *record.Sample) { s.FDs = append(s.FDs, record.FD{Number: 30, Target: "pipe:[77]", Inode: 77}) }
	for _, c := range []struct {
		name    string
		change  func(*Round)
		verdict record.Verdict
		reason  string
		where   string
	}{
		{"back", func(r *Round) { gauges(r, 2, 9, 5, 2) }, record.Pass, "2 connections went through", ""},
		{"below", func(r *Round) { gauges(r, 2, 9, 5, 0) }, record.Pass, "", ""},
		{"above", func(r *Round) { gauges(r, 2, 9, 2, 5) }, record.Leak,
			"after cable pulled was healed, more is held than before: server gauge streams +3", "gauge streams of server"},
		{"a descriptor says more", func(r *Round) { gauges(r, 2, 9, 2, 5); pipe(&r.Processes[0].G) }, record.Leak,
			"server fds +1 (pipe +1), server gauge streams +3", "server: pid 7, fd 30, pipe:[77]"},
		{"a goroutine, too", func(r *Round) {
			gauges(r, 2, 9, 2, 5)
			goroutine(40, "select (no cases)", nil, own+"late")(&r.Processes[0].G)
		}, record.Leak, "server goroutines +1, server gauge streams +3", "server: tunnel.late server.go:10, created by tunnel.(*Server).accept server.go:88"},
		{"what came before B counts", func(r *Round) {
			gauges(r, 5, 9, 5, 5)
			before := r.Processes[0].B
			before.Gauges = []record.Gauge{{Name: "logins", Value: 1}, {Name: "streams", Value: 2}}
			r.Processes[0].Before = before
		}, record.Leak, "server gauge streams +3", "gauge streams of server"},
		{"gone from the page at G", func(r *Round) { gauges(r, 2, 9, 2, 2); trouble(&r.Processes[0].G, "is not on the page") },
			record.Inconclusive, "gauge streams of server is not judged: in snapshot G it is not on the page", ""},
		{"NaN at E", func(r *Round) { gauges(r, 2, 9, 2, 5); trouble(&r.Processes[0].E, "is NaN, which counts nothing") },
			record.Inconclusive, "in snapshot E it is NaN", ""},
		{"never there", func(r *Round) { gauges(r, 2, 9, 2, 2); trouble(&r.Processes[0].B, "is not on the page") },
			record.Inconclusive, "in snapshot B it is not on the page", ""},
		{"not read at F", func(r *Round) { gauges(r, 2, 9, 2, 2); r.Processes[0].F.Gauges = nil },
			record.Inconclusive, "gauge logins of server is not judged: in snapshot F it was not read", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := healthy()
			c.change(&r)
			j := Judge(r)
			if j.Verdict != c.verdict || !strings.Contains(j.Reason, c.reason) || j.Where != c.where {
				t.Errorf("%s: %s\nwhere %q", j.Verdict, j.Reason, j.Where)
			}
			if strings.HasPrefix(c.where, "gauge") && j.Why != "the server itself says that it holds 5, and held 2 before" {
				t.Errorf("why is %q", j.Why)
			}
		})
	}
}

func trouble(s *record.Sample, why string) {
	s.Gauges = slices.Clone(s.Gauges)
	s.Gauges[1] = record.Gauge{Name: "streams", Trouble: why}
}

// The table has a row for each gauge; one that was not read is shown and not judged.
func TestGaugesInTheTable(t *testing.T) {
	r := healthy()
	gauges(&r, 2, 9, 5, 3)
	rows, _ := r.Processes[0].Excesses()
	row := rows[slices.IndexFunc(rows, func(r record.Row) bool { return r.Resource == "gauge streams" })]
	if want := (record.Row{Role: "server", Resource: "gauge streams", Baseline: 2, Peak: 9, End: 5, Settled: 3, Excess: 1}); row != want {
		t.Errorf("row is %+v, want %+v", row, want)
	}
	trouble(&r.Processes[0].G, "is -1, which counts nothing")
	rows, _ = r.Processes[0].Excesses()
	row = rows[slices.IndexFunc(rows, func(r record.Row) bool { return r.Resource == "gauge streams" })]
	if !row.OK || row.Note != "not judged: in snapshot G it is -1, which counts nothing" {
		t.Errorf("row is %+v", row)
	}
	if Alike(r.Processes[0].B, r.Processes[0].G) || UnreadGauge(r.Processes[0].B) != "" || UnreadGauge(r.Processes[0].G) != "gauge streams of server is -1, which counts nothing" {
		t.Error("samples with other gauges are alike, or trouble is not told")
	}
}

// A record from before there were gauges is judged as it ever was.
func TestWithoutGauges(t *testing.T) {
	r := healthy()
	j := Judge(r)
	text, err := json.Marshal(r.Processes[0].B)
	if err != nil || strings.Contains(string(text), "gauges") {
		t.Errorf("a sample without gauges is %s (%v)", text, err)
	}
	if j.Verdict != record.Pass || slices.ContainsFunc(j.Table, isGauge) {
		t.Errorf("%s: %s, %+v", j.Verdict, j.Reason, j.Table)
	}
}

// In a soak a gauge's floor is judged as those of other counts. A cycle in which it was
// not read is no floor.
func TestGaugesOfASoak(t *testing.T) {
	count := func(i int) int { return 4 + i/20 }
	s := Series{Role: "server", Readings: readings(50, func(i int, r *record.Reading) {
		r.Counts["gauges streams"] = count(i)
		if i == 48 {
			delete(r.Counts, "gauges streams")
		}
	})}
	all := s.Counts(FloorConfirm)
	x := all[len(all)-1]
	if x.Resource != "gauges" || x.Verdict != record.Leak || x.Where != "gauge streams of server" || !strings.HasPrefix(x.Text, "LEAK gauges: 2 in 45 cycles, 0.044 per cycle") {
		t.Errorf("%+v", x)
	}
	sample := record.Sample{Gauges: []record.Gauge{{Name: "streams", Value: 3}, {Name: "logins", Trouble: "is NaN"}}}
	if n, ok := CountsOf(sample)["gauges streams"]; n != 3 || !ok {
		t.Error("a gauge is not counted")
	}
	if _, ok := CountsOf(sample)["gauges logins"]; ok {
		t.Error("a gauge in trouble is counted")
	}
}

// A gauge that was the same in every snapshot of a run proves nothing, and the run says so.
func TestGaugesThatNeverMove(t *testing.T) {
	verdict := func(settle int) record.Event {
		r := healthy()
		gauges(&r, 2, settle, 2, 2)
		j := Judge(r)
		return record.Event{Verdict: &j}
	}
	said := func(events ...record.Event) []string {
		var all []string
		for _, x := range Statements(events, true, 4, 2) {
			if x.Verdict == "" {
				all = append(all, x.Text)
			}
		}
		return all
	}
	const logins = "server: gauges: not stated: logins never moved in this run, which proves nothing of them"
	if got := said(verdict(2), verdict(9)); !slices.Equal(got, []string{logins}) {
		t.Errorf("said %q", got)
	}
	if got := said(verdict(2)); !slices.Equal(got, []string{strings.Replace(logins, "logins", "logins, streams", 1)}) {
		t.Errorf("said %q", got)
	}
	moved := verdict(9)
	moved.Verdict.Table[slices.IndexFunc(moved.Verdict.Table, isGauge)].Peak = 3
	if got := said(moved); got != nil {
		t.Errorf("said %q", got)
	}
}
