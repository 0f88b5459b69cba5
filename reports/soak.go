package reports

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/halfopen/halfopen/harness/record"
)

// soakFigure draws a soak over its cycles: how long each took to come back, and
// what the server held after each.
func soakFigure(cycles []*round) (figure, bool) {
	if len(cycles) < 3 {
		return figure{}, false
	}
	a := axis{from: float64(cycles[0].cycle), to: float64(cycles[len(cycles)-1].cycle), cycles: true}
	// Only what stays until the end of the soak is filled.
	a.excessFrom, a.healedAt = a.from, a.from
	panels := slices.DeleteFunc([]panel{
		returnedPanel(cycles),
		settledPanel(cycles, "Server sockets after each cycle", "sockets", "k-teal", func(s record.Sample) int { return len(s.Sockets) }),
		settledPanel(cycles, "Server file descriptors after each cycle", "fds", "k-violet", func(s record.Sample) int { return len(s.FDs) }),
		settledPanel(cycles, "Server goroutines after each cycle", "goroutines", "k-blue", goroutines),
		memoryPanel(cycles, "Server heap after each cycle", "HeapAlloc after collections", "k-green", func(m record.Memory) int64 { return m.HeapAlloc }),
		memoryPanel(cycles, "Server memory after each cycle", "RssAnon", "k-brown", func(m record.Memory) int64 { return m.RssAnon }),
	}, func(p panel) bool { return len(p.lines) == 0 })
	for _, r := range cycles {
		if bad := r.verdict; bad != record.Pass && bad != record.Skipped && bad != "" && len(a.marks) < 40 {
			label := ""
			if len(a.marks) < 6 {
				label = fmt.Sprintf("%s cycle %d", verdictWord(bad).Sign, r.cycle)
			}
			a.marks = append(a.marks, mark{float64(r.cycle), "fault", label})
		}
	}
	excess := slices.ContainsFunc(panels, func(p panel) bool { return p.lines[0].fill && p.lines[0].over(a) > 0 })
	return newFigure("over the cycles", a, panels, excess), len(panels) > 0
}

// returnedPanel shows each cycle's time back to clean, under its window.
func returnedPanel(cycles []*round) panel {
	took := line{name: "last cycle", class: "k-blue", loose: true, base: math.NaN(), excess: math.NaN()}
	window := line{name: "window", class: "k-slate", dotted: true, base: math.NaN(), excess: math.NaN()}
	for _, r := range cycles {
		x := float64(r.cycle)
		if j := r.judgement(); j != nil && j.Returned >= 0 {
			took.x, took.y = append(took.x, x), append(took.y, j.Returned)
		}
		if w, known := r.upper(); known && w > 0 {
			window.x, window.y = append(window.x, x), append(window.y, w)
		}
	}
	if len(took.x) == 0 {
		return panel{}
	}
	p := panel{title: "Clean after", note: "seconds from the fault until the last exposed thing was gone; slowest " + seconds(slices.Max(took.y)),
		height: 96, show: seconds, lines: []line{took}}
	if len(window.x) > 0 {
		p.lines = append(p.lines, window)
	}
	return p
}

func settledPanel(cycles []*round, title, name, class string, get func(record.Sample) int) panel {
	l := line{name: name, class: class, base: math.NaN(), excess: math.NaN()}
	l.fill = slices.ContainsFunc(cycles, func(r *round) bool { return r.verdict == record.Leak })
	for _, r := range cycles {
		for _, s := range r.snapshots {
			n := get(s.it.Sample)
			if s.it.Sample.Role != "server" || n == 0 {
				continue
			}
			if s.it.Label == record.Baseline && math.IsNaN(l.base) {
				l.base = float64(n)
			}
			if s.it.Label == record.Settled {
				l.x, l.y = append(l.x, float64(r.cycle)), append(l.y, float64(n))
			}
		}
	}
	if len(l.x) < 2 {
		return panel{}
	}
	floor := line{name: "floor", class: "k-red", base: math.NaN(), excess: math.NaN(), x: l.x, y: slices.Clone(l.y)}
	for i := len(floor.y) - 2; i >= 0; i-- { // what no later cycle went below: a rise of it is a leak
		floor.y[i] = min(floor.y[i], floor.y[i+1])
	}
	p := panel{title: title, height: 56, show: counts, lines: []line{l, floor}, note: "same as at the start"}
	if end := l.y[len(l.y)-1]; !math.IsNaN(l.base) && end != l.base {
		p.note = signed(end-l.base, "") + " since the start"
	}
	return p
}

// memoryPanel shows what the server's memory came to rest at after each cycle, where it
// did come to rest.
func memoryPanel(cycles []*round, title, name, class string, get func(record.Memory) int64) panel {
	l := line{name: name, class: class, base: math.NaN(), excess: math.NaN()}
	for _, r := range cycles {
		for _, x := range r.readings {
			if x.it.Role == "server" && x.it.Quiescent && get(x.it.Memory) > 0 {
				l.x, l.y = append(l.x, float64(r.cycle)), append(l.y, float64(get(x.it.Memory))/(1<<20))
			}
		}
	}
	if len(l.x) < 2 {
		return panel{}
	}
	return panel{title: title, note: fmt.Sprintf("from %s to %s", mebi(l.y[0]), mebi(l.y[len(l.y)-1])), height: 56, show: mebi, lines: []line{l}}
}

// upper is the longest window of the round, 0 if it has none.
func (r *round) upper() (upper float64, known bool) {
	for _, w := range r.windows {
		upper, known = max(upper, w.it.Upper), true
	}
	return upper, known
}

// deadline is the latest of the round's windows, in seconds after the fault: from
// then on a survivor is late.
func (r *round) deadline() (at float64) {
	for _, w := range r.windows {
		at = max(at, w.it.Deadline)
	}
	return at
}

// faultText names what was done in the round: the judge's words, else the faults.
func (r *round) faultText() string {
	if j := r.judgement(); j != nil && j.Fault != "" {
		return j.Fault
	}
	return strings.Join(r.faultNames(), "; ")
}

func (r *round) faultNames() []string {
	var names []string
	for _, f := range r.faults {
		name := f.it.Name
		if f.it.Place != "" {
			name += " at " + f.it.Place
		}
		if f.it.Phase == "injected" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// totals sums what the judgements rest on.
func totals(rounds []*round) (exposures, faultEvents int) {
	for _, r := range rounds {
		for _, j := range r.judgements {
			exposures += j.Exposures
			faultEvents += j.FaultEvents
		}
	}
	return exposures, faultEvents
}

// slowest is the slowest return of the rounds in seconds, -1 for never. It is false where no
// round was judged by it: all had to go in none, or nothing was proved.
func slowest(rounds []*round) (returned float64, timed bool) {
	for _, r := range rounds {
		for _, j := range r.judgements {
			must := len(r.windows) > 0 && r.spares() == ""
			if j.Verdict == record.Skipped || j.Returned < 0 && (j.Verdict == record.Inconclusive || !must) {
				continue
			}
			timed = true
			if j.Returned < 0 || returned < 0 {
				returned = -1
			} else {
				returned = max(returned, j.Returned)
			}
		}
	}
	return returned, timed
}

// cleanAfter is the slowest return of the rounds in words; where none had to go, what was
// asked of the connections instead.
func cleanAfter(rounds []*round) string {
	if returned, timed := slowest(rounds); timed {
		return limitSeconds(returned)
	}
	for _, r := range rounds {
		if text := r.spares(); text != "" {
			return text
		}
	}
	return "–"
}

// spares says what is asked of connections that need not go after the round's fault, ""
// where all of them must.
func (r *round) spares() string {
	for _, w := range r.windows {
		switch {
		case w.it.Survive:
			return "none may go"
		case w.it.May:
			return "some may live"
		}
	}
	return ""
}
