package leak

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/halfopen/halfopen/harness/record"
)

// life is the readings of one process, from its first to its last.
type life struct {
	Series
	sites       []record.Site // where its heap grew
	first, last time.Time
}

// lives gathers the readings of a record by process, in the order in which they began.
// A series never goes on in another process: it starts anew.
func lives(events []record.Event) []*life {
	type key struct {
		spec, role string
		pid        int
	}
	byKey := map[key]*life{}
	var all []*life
	longest := 0.0
	for _, e := range events {
		if e.Run != nil {
			longest = SettleWindow(e.Run.Settings).Upper
		}
		if g := e.Growth; g != nil {
			if l := byKey[key{e.Spec, g.Role, g.PID}]; l != nil {
				l.sites = g.Sites
			}
		}
		if e.Reading == nil {
			continue
		}
		r := e.Reading
		k := key{e.Spec, r.Role, r.PID}
		l := byKey[k]
		if l == nil {
			l = &life{Series: Series{Role: r.Role, Fast: r.Fast, Longest: longest}, first: e.At}
			byKey[k] = l
			all = append(all, l)
		}
		l.Readings, l.last = append(l.Readings, *r), e.At
		if n := len(l.Readings) - 1; n > 0 {
			l.Pace = max(0, l.last.Sub(l.first).Seconds()) / float64(n)
		}
	}
	return all
}

// series states what the readings of a record say: of memory, for the longest life in
// each role; of counts, for every life in which a floor rose.
func series(events []record.Event) []record.Statement {
	all := lives(events)
	var said []record.Statement
	for _, l := range all {
		counts := l.Series
		counts.Readings = counts.Readings[min(FirstCycles, len(counts.Readings)):]
		for _, kind := range []string{"sockets", "fds", "goroutines", gaugesKind} {
			for _, x := range counts.rises(kind, FloorConfirm) {
				x.Text = l.Role + ": " + x.Text
				said = append(said, x)
			}
		}
	}
	for _, role := range []string{"server", "client"} {
		var longest *life
		n := 0
		for _, l := range all {
			if l.Role == role {
				n++
				if longest == nil || len(l.Readings) > len(longest.Readings) {
					longest = l
				}
			}
		}
		if longest == nil {
			continue
		}
		for _, x := range longest.Memory() {
			x.Text = role + ": " + x.Text
			blame(&x, longest.sites)
			if n > 1 {
				x.Text += fmt.Sprintf(" (the longest of %d lives)", n)
			}
			if role == "server" || x.Cycles > 0 { // a client that faults kill again and again lives too shortly
				said = append(said, x)
			}
		}
	}
	return said
}

// Statements are what a run says over all that was judged, in sentences: of counts, what
// its exposures and its fault events exclude if clean, and of memory what its readings say.
func Statements(events []record.Event, clean bool, exposures, faultEvents int) []record.Statement {
	var said []record.Statement
	if text := mergedText(events); text != "" {
		said = append(said, record.Statement{Resource: "runs", Text: text})
	}
	told := series(events)
	// A count that leaks leaves nothing to be excluded; a floor that rose once is one that did.
	once := 0
	for _, x := range told {
		switch {
		case x.Resource == Heap, x.Resource == RSS:
		case x.Verdict == record.Leak:
			clean = false
		default:
			once = 1
		}
	}
	if clean {
		for _, l := range Limits(once, exposures, faultEvents) {
			n := exposures
			if l.Per != "exposure" {
				n = faultEvents
			}
			said = append(said, record.Statement{Resource: l.Resource, Verdict: record.Pass, Limit: &l, Text: NoLeak(l.Resource, once, n, l.Per)})
		}
	}
	return slices.Concat(said, told, still(events))
}

// Decides is the verdict that a statement gives its run, "" for none. RssAnon that is
// INCONCLUSIVE is outweighed by a heap of the same process that was told: the pages that the
// runtime keeps come and go over tens of cycles. A leak beside the heap decides when fresh
// cycles have confirmed it.
func Decides(said []record.Statement) (record.Statement, bool) {
	excused := func(x record.Statement) bool {
		return x.Verdict == record.Inconclusive && x.Resource == RSS && slices.ContainsFunc(said, func(h record.Statement) bool {
			return h.Role == x.Role && h.Resource == Heap && h.Verdict == record.Pass
		})
	}
	worst := -1
	for i, x := range said {
		if excused(x) {
			continue
		}
		if x.Verdict != "" && (worst < 0 || order[x.Verdict] > order[said[worst].Verdict]) {
			worst = i
		}
	}
	if worst < 0 {
		return record.Statement{}, false
	}
	return said[worst], true
}

// Lacks is the first of the required resources of which the server's statements say
// nothing: a run that was to state it is not a pass.
func Lacks(said []record.Statement, required []string) (record.Statement, bool) {
	for _, name := range required {
		i := slices.IndexFunc(said, func(x record.Statement) bool { return x.Role == "server" && x.Resource == name })
		switch {
		case i < 0:
			return record.Statement{Resource: name, Text: cmp.Or(name, "?") + ": not stated: no soak ran"}, true
		case said[i].Verdict == "", said[i].Verdict == record.Inconclusive:
			return said[i], true
		}
	}
	return record.Statement{}, false
}
