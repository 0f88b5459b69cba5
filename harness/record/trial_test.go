package record

import (
	"reflect"
	"testing"
)

func TestTrial(t *testing.T) {
	reading := func(exposures int, quiescent bool, heap int64, counts map[string]int) Reading {
		return Reading{Role: "server", Fast: true, Exposures: exposures, Quiescent: quiescent, Counts: counts,
			Memory: Memory{HeapAlloc: heap, RssAnon: 2 * heap, Freed: true}}
	}
	want := []Reading{
		reading(6, true, 100, map[string]int{"fds": 9, "goroutines main.a": 0}),
		reading(7, false, 110, map[string]int{"fds": 9, "goroutines main.a": 1}),
		reading(8, true, 120, map[string]int{"fds": 10, "goroutines main.a": 0}),
	}
	var trial Trial
	for _, r := range want {
		if r.Counts["goroutines main.a"] == 0 { // a profile does not name what is not there
			r.Counts = map[string]int{"fds": r.Counts["fds"]}
		}
		trial.Add(r)
	}
	if got := trial.Readings(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
