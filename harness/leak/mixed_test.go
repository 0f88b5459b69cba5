package leak

import (
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

func TestMixedIsTheWidestWindow(t *testing.T) {
	short, wide := record.Window{Upper: 2}, record.Window{Upper: 7, Lower: 4, Survive: true, Rows: []record.Bound{{Detector: "x"}}}
	w := Mixed(short, wide, short)
	if !w.May || w.Survive || w.Upper != 7 || w.Deadline != 7+Slack || w.Lower != 0 || len(w.Rows) != 1 {
		t.Errorf("window is %+v", w)
	}
	if w := Mixed(wide, record.Window{Upper: never}, short); w.Upper != never {
		t.Errorf("with one that is never: %+v", w)
	}
	if w := Mixed(); w.Upper != 0 || w.Deadline != Slack {
		t.Errorf("of none: %+v", w)
	}
}

// After a schedule some connections may be left in F: only G is judged.
func TestMixedRound(t *testing.T) {
	mixed := func() Round {
		r := healthy()
		r.Fault.Class, r.Window = record.Mixed, Mixed(r.Window)
		r.Processes[0].F = r.Processes[0].E // all of them live
		r.Outcome.Returned, r.Outcome.First = -1, -1
		return r
	}
	for name, c := range map[string]struct {
		change func(*Round)
		want   record.Verdict
	}{
		"those that live have left":     {func(*Round) {}, record.Pass},
		"one was given up early":        {func(r *Round) { r.Outcome.First = 0.1 }, record.Pass},
		"something is held in the end":  {func(r *Round) { visitor(&r.Processes[0].G) }, record.Leak},
		"back at the baseline too late": {func(r *Round) { r.Outcome.SettledAfter = r.Settle.Deadline + 1 }, record.Late},
		"no service":                    {func(r *Round) { r.Services = []record.Service{{Client: "new", Limit: 5}} }, record.Dead},
		"no step took effect":           {func(r *Round) { r.Fault.Bit = false }, record.Inconclusive},
	} {
		r := mixed()
		c.change(&r)
		if j := Judge(r); j.Verdict != c.want {
			t.Errorf("%s: %s: %s", name, j.Verdict, j.Reason)
		}
	}
	r := mixed()
	r.Window.May = false
	if j := Judge(r); j.Verdict != record.Leak {
		t.Errorf("the same after a fault that kills all: %s: %s", j.Verdict, j.Reason)
	}
}
