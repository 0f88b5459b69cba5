package leak

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/record"
)

// soakRecord is the record of a soak of n cycles, six seconds each, of a server that
// lives and a client that dies every ten cycles; change may spoil each of the server's
// readings, from 0.
func soakRecord(n int, change func(i int, r *record.Reading)) []record.Event {
	at := time.Date(2026, 11, 25, 21, 0, 0, 0, time.UTC)
	events := []record.Event{{At: at, Kind: record.KindRun, Run: &record.Run{Version: record.Version, Target: "tunnel"}}}
	for i, r := range readings(n, change) {
		at = at.Add(6 * time.Second)
		r.PID = 100
		client := r
		client.Role, client.PID = "client", 200+i/10
		for _, e := range []record.Event{
			{Kind: record.KindVerdict, Verdict: &record.Judgement{Verdict: record.Pass, Exposures: r.Exposures, FaultEvents: 1, Reason: "fine"}},
			{Kind: record.KindReading, Reading: &r}, {Kind: record.KindReading, Reading: &client},
		} {
			e.At, e.Spec, e.Cycle = at, "1-1", i+1
			events = append(events, e)
		}
	}
	return append(events, record.Event{At: at, Kind: record.KindFinish, Finish: &record.Finish{Reason: "done"}})
}

func TestSummarizeSoak(t *testing.T) {
	heap := func(f func(i int) int64) func(int, *record.Reading) {
		return func(i int, r *record.Reading) { r.Memory.HeapAlloc += f(i) }
	}
	for name, c := range map[string]struct {
		events  []record.Event
		require string
		verdict record.Verdict
		reason  string
		said    []string
	}{
		"clean": {soakRecord(100, nil), "", record.Pass, "nothing outlived its window: 2000 connections went through 100 faults", []string{
			"NO LEAK sockets, fds, goroutines: 0 in 2000 exposures; a leak of 1 in 668 or more would have been seen (95 %)",
			"NO LEAK sockets, fds, goroutines: 0 in 100 fault events; a leak of 1 in 33 or more would have been seen (95 %)",
			"server: NO LEAK heap: +0 B per cycle; no leak above 431 B per cycle could hide in these 40 cycles (95 %), 22 B per exposure",
			"server: NO LEAK RssAnon: +0 B per cycle",
		}},
		"too short for memory": {soakRecord(30, nil), "", record.Pass, "nothing outlived", []string{
			"NO LEAK sockets", "NO LEAK sockets", "server: heap: not stated: needs 50 more cycles, about 5 min",
		}},
		"which was required": {soakRecord(30, nil), Heap, record.Inconclusive, "server: heap: not stated: needs 50 more cycles", []string{"NO LEAK sockets"}},
		"and is there":       {soakRecord(100, nil), Heap, record.Pass, "nothing outlived", nil},
		"2 KB a cycle": {soakRecord(100, heap(func(i int) int64 { return 2048 * int64(i) })), "", record.Leak,
			"server: heap: 2.0 KB per cycle", []string{"NO LEAK sockets", "NO LEAK sockets", "server: LEAK heap"}},
		"given back": {soakRecord(120, heap(func(i int) int64 { return -1000 * int64(i) })), "", record.Inconclusive,
			"server: heap: memory is being given back", nil},
		"RssAnon alone is given back": {soakRecord(120, func(i int, r *record.Reading) { r.Memory.RssAnon -= 50_000 * int64(i) }), "", record.Pass, "nothing outlived", nil},
		"and the heap is not told": {soakRecord(120, func(i int, r *record.Reading) {
			r.Memory.HeapAlloc = 0
			r.Memory.RssAnon -= 50_000 * int64(i)
		}), "", record.Inconclusive, "server: RssAnon", nil},
		"a descriptor now and then": {soakRecord(60, func(i int, r *record.Reading) { r.Counts["fds"] += i / 20 }), "", record.Leak,
			"server: fds: 2 in 53 cycles", []string{"server: LEAK fds: 2 in 53 cycles"}},
		"a descriptor once, late": {soakRecord(60, func(i int, r *record.Reading) { r.Counts["fds"] += i / 31 }), "", record.Inconclusive,
			"server: fds: SUSPECT", nil},
		"a descriptor once": {soakRecord(160, func(i int, r *record.Reading) { r.Counts["fds"] += min(1, i/31) }), "", record.Pass,
			"nothing outlived", []string{
				"NO LEAK sockets, fds, goroutines: 1 in 3200 exposures; a leak of 1 in 674 or more would have been seen more often (95 %)",
				"NO LEAK sockets, fds, goroutines: 1 in 160 fault events", "server: NO LEAK fds: +1 once at cycle"}},
		"RssAnon alone grew for a while": {soakRecord(90, func(i int, r *record.Reading) { r.Memory.RssAnon += 400_000 * int64(i) }), "", record.Pass, "nothing outlived", nil},
		"RssAnon alone goes on to grow": {soakRecord(100, func(i int, r *record.Reading) { r.Memory.RssAnon += 400_000 * int64(i) }), "", record.Leak,
			"server: RssAnon: 400 KB per cycle", nil},
		"which was to be stated": {soakRecord(120, func(i int, r *record.Reading) { r.Memory.RssAnon -= 50_000 * int64(i) }), RSS, record.Inconclusive,
			"server: RssAnon: memory is being given back", nil},
	} {
		c.events[0].Run.Require = nil
		if c.require != "" {
			c.events[0].Run.Require = []string{c.require}
		}
		s := Summarize(c.events)
		if s.Verdict != c.verdict || !strings.HasPrefix(s.Reason, c.reason) || s.ExitCode != ExitCode(c.verdict) {
			t.Errorf("%s: %s, %q; want %s, %q", name, s.Verdict, s.Reason, c.verdict, c.reason)
		}
		for i, want := range c.said {
			if i >= len(s.Statements) || !strings.HasPrefix(s.Statements[i].Text, want) {
				t.Errorf("%s: statement %d of %q, want %q", name, i, texts(s.Statements), want)
			}
		}
		limits := 0
		for _, x := range s.Statements {
			if x.Limit != nil {
				limits++
			}
		}
		if limits != len(s.Bounds) {
			t.Errorf("%s: %d bounds of %d limits", name, len(s.Bounds), limits)
		}
	}
}

// A cycle that is doubted after it was judged, for the clock jumped, is INCONCLUSIVE and
// so is its soak; what went through its fault is no part of a bound.
func TestDoubtedCycle(t *testing.T) {
	events := soakRecord(30, nil)
	i := slices.IndexFunc(events, func(e record.Event) bool { return e.Cycle == 8 })
	doubt := events[i-1]
	doubt.Verdict = &record.Judgement{Verdict: record.Inconclusive, Reason: "the clock of this machine jumped by 1h0m0s"}
	s := Summarize(slices.Insert(events, i, doubt))
	if s.Verdict != record.Inconclusive || s.Reason != doubt.Verdict.Reason || s.Exposures != 29*20 || s.FaultEvents != 29 || s.Cycles != 30 {
		t.Errorf("%s (%s), %d exposures, %d faults, %d cycles", s.Verdict, s.Reason, s.Exposures, s.FaultEvents, s.Cycles)
	}
}

// A series does not go on in another process, nor in another spec.
func TestLives(t *testing.T) {
	events := soakRecord(40, nil)
	other := soakRecord(15, nil)[1:]
	for i := range other {
		other[i].Spec = "2-1"
	}
	all := lives(append(events, other...))
	var got []int
	for _, l := range all {
		got = append(got, len(l.Readings))
	}
	if want := []int{40, 10, 10, 10, 10, 15, 10, 5}; !slices.Equal(got, want) {
		t.Errorf("lives of %v readings, want %v", got, want)
	}
	if p := all[0].Pace; p != 6 {
		t.Errorf("a cycle takes %v s, want 6", p)
	}
}

// One process's growth and its successor's are not added up.
func TestRestartIsNoGrowth(t *testing.T) {
	events := soakRecord(160, func(i int, r *record.Reading) {
		if i >= 80 {
			r.Memory.HeapAlloc += 1e8
		}
	})
	for _, e := range events {
		if e.Reading != nil && e.Reading.Role == "server" && e.Cycle > 80 {
			e.Reading.PID = 101
		}
	}
	s := Summarize(events)
	if s.Verdict != record.Pass || !slices.ContainsFunc(s.Statements, func(x record.Statement) bool { return strings.HasSuffix(x.Text, "(the longest of 2 lives)") }) {
		t.Errorf("%s: %q", s.Verdict, texts(s.Statements))
	}
}
