package reports

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/halfopen/halfopen/harness/record"
)

// figure is the timeline of one process: panels over one x axis.
type figure struct {
	Name           string
	From, To, Unit string // of the x axis
	Legend         []key
	Panels         []drawing
}

// zero is the moment that the times of a round count from: its first fault, or
// its first event if no fault was injected.
func (r *round) zero() time.Time {
	for _, f := range r.faults {
		if f.it.Phase == "injected" {
			return f.at
		}
	}
	return r.first
}

func (r *round) after(at time.Time) float64 { return at.Sub(r.zero()).Seconds() }

// axis is the time of the round, with its faults, heals and windows.
func (r *round) axis() axis {
	a := axis{from: math.Inf(1), to: math.Inf(-1), excessFrom: math.Inf(1), healedAt: math.Inf(1)}
	see := func(at float64) { a.from, a.to = min(a.from, at), max(a.to, at) }
	for _, p := range r.points {
		see(r.after(p.at))
	}
	for _, s := range r.snapshots {
		see(r.after(s.at))
	}
	if a.from > a.to {
		return axis{}
	}
	for _, f := range r.faults {
		at := r.after(f.at)
		switch f.it.Phase {
		case "injected":
			a.marks = append(a.marks, mark{at, "fault", "⚡ " + shorten(f.it.Name)})
		case "healed":
			a.marks = append(a.marks, mark{at, "heal", "healed"})
			a.healedAt = at
		}
	}
	for _, w := range r.windows {
		from := r.windowStart(w.at)
		end := from + w.it.Upper
		a.bands = append(a.bands,
			band{from, end, "window", "window " + seconds(w.it.Upper)},
			band{end, from + w.it.Deadline, "slack", ""})
		a.excessFrom = end // of the last window: what an earlier one left is still there then
	}
	return a
}

// windowStart is the fault that a window counts from: the last one injected
// before it was written down, else the round's first.
func (r *round) windowStart(at time.Time) float64 {
	start := 0.0
	for _, f := range r.faults {
		if f.it.Phase == "injected" && !f.at.After(at) {
			start = r.after(f.at)
		}
	}
	return start
}

// figures are the timelines of the round, one a process, the server first.
func (r *round) figures() []figure {
	a := r.axis()
	var list []figure
	for _, role := range r.roles() {
		panels := slices.DeleteFunc([]panel{
			r.survivorPanel(role), r.socketPanel(role), r.fdPanel(role), r.goroutinePanel(role), r.memoryPanel(role),
		}, func(p panel) bool { return len(p.lines) == 0 })
		if len(panels) == 0 || a.to <= a.from {
			continue
		}
		excess := slices.ContainsFunc(panels, func(p panel) bool {
			return slices.ContainsFunc(p.lines, func(l line) bool { return l.fill && l.over(a) > 0 })
		})
		list = append(list, newFigure(role, a, panels, excess))
	}
	return list
}

func newFigure(name string, a axis, panels []panel, excess bool) figure {
	f := figure{Name: name, From: num(a.from), To: num(a.to), Unit: "s", Legend: a.legend(excess), Panels: drawPanels(a, panels)}
	if a.cycles {
		f.Unit = "cycle"
	}
	return f
}

// roles are the processes with anything to draw, "server" first.
func (r *round) roles() []string {
	seen := map[string]bool{}
	for _, p := range r.points {
		seen[p.it.Role] = true
	}
	for _, s := range r.snapshots {
		seen[s.it.Sample.Role] = true
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b string) int {
		if (a == "server") != (b == "server") {
			return map[bool]int{true: -1, false: 1}[a == "server"]
		}
		return cmp.Compare(a, b)
	})
}

// over is the excess of the line: as judged, else as it is at its end.
func (l line) over(a axis) float64 {
	n := len(l.y)
	if n > 0 && !math.IsNaN(l.excess) {
		return l.excess
	}
	if n == 0 || math.IsNaN(l.base) || l.x[n-1] < a.excessFrom {
		return 0
	}
	return max(l.y[n-1]-l.base, 0)
}

func counts(v float64) string { return quantity(v, "") }
func mebi(v float64) string   { return trimZeros(fmt.Sprintf("%.1f", v)) + " MiB" }

// series reads one figure out of a role's points and snapshots. get tells a value,
// and whether the point has one; snap the same of a snapshot, nil if snapshots do not
// have it.
func (r *round) series(role string, get func(record.Point) (float64, bool), snap func(record.Sample) (float64, bool)) line {
	l := line{base: math.NaN(), excess: math.NaN()}
	type reading struct {
		at, value float64
		pid       int
	}
	var all []reading
	for _, p := range r.points {
		if v, ok := get(p.it); ok && p.it.Role == role {
			all = append(all, reading{r.after(p.at), v, p.it.PID})
		}
	}
	for _, s := range r.snapshots {
		if snap == nil || s.it.Sample.Role != role {
			continue
		}
		if v, ok := snap(s.it.Sample); ok {
			all = append(all, reading{r.after(s.at), v, s.it.Sample.PID})
		}
	}
	slices.SortStableFunc(all, func(a, b reading) int { return cmp.Compare(a.at, b.at) })
	for i, x := range all {
		if i > 0 && all[i-1].pid != x.pid {
			l.breaks = append(l.breaks, i)
		}
		l.x, l.y = append(l.x, x.at), append(l.y, x.value)
	}
	return l
}

// baseline is what snapshot B of the role says.
func (r *round) baseline(role string, get func(record.Sample) float64) float64 {
	for _, s := range r.snapshots {
		if s.it.Label == record.Baseline && s.it.Sample.Role == role {
			return get(s.it.Sample)
		}
	}
	return math.NaN()
}

// judged is the excess of a resource in the judge's table, NaN if it has no such row.
func (r *round) judged(role, resource string) float64 {
	for _, j := range r.judgements {
		for _, row := range j.Table {
			if row.Role == role && row.Resource == resource {
				return row.Excess
			}
		}
	}
	return math.NaN()
}

// guilty tells whether what is above the baseline of a resource is a finding:
// the judge says so, or has said nothing about it. Load after the heal is none.
func (r *round) guilty(role, resource string) bool {
	if r.verdict == record.Pass {
		return false
	}
	for _, j := range r.judgements {
		for _, row := range j.Table {
			if row.Role == role && row.Resource == resource {
				return !row.OK
			}
		}
	}
	return true
}

func (r *round) survivorPanel(role string) panel {
	l := r.series(role, func(p record.Point) (float64, bool) { return float64(p.Survivors), true }, nil)
	if len(l.y) == 0 || slices.Max(l.y) == 0 {
		return panel{}
	}
	l.name, l.class, l.base, l.fill = "left", "k-red", 0, r.verdict != record.Pass
	return panel{title: "Exposed connections still there", note: "0 is clean", height: 64, lines: []line{l}, show: counts}.noted(r.axis())
}

// classOf gives each state its own colour.
var classOf = map[string]string{
	"ESTABLISHED": "k-teal", "CLOSE_WAIT": "k-orange", "FIN_WAIT1": "k-violet", "FIN_WAIT_1": "k-violet",
	"FIN_WAIT2": "k-pink", "FIN_WAIT_2": "k-pink", "LAST_ACK": "k-brown", "CLOSING": "k-blue",
	"SYN_SENT": "k-blue", "SYN_RECV": "k-blue", "SYN_RECEIVED": "k-blue",
}

func (r *round) socketPanel(role string) panel {
	own, kernel := map[string]bool{}, map[string]bool{}
	for _, p := range r.points {
		if p.it.Role == role {
			for s, n := range p.it.Sockets {
				own[s] = own[s] || (n > 0 && s != "LISTEN") // listeners do not move
			}
			for s, n := range p.it.Kernel {
				kernel[s] = kernel[s] || n > 0
			}
		}
	}
	p := panel{title: "Sockets by state", height: 96, show: counts}
	const most = 8 // states; more is not drawn by any real process
	for _, state := range slices.Sorted(maps.Keys(own)) {
		if !own[state] || len(p.lines) == most {
			continue
		}
		l := r.series(role, func(p record.Point) (float64, bool) { return float64(p.Sockets[state]), true },
			func(s record.Sample) (float64, bool) { return float64(inState(s.Sockets, state)), true })
		l.name, l.class = state, cmp.Or(classOf[state], "k-slate")
		l.base = r.baseline(role, func(s record.Sample) float64 { return float64(inState(s.Sockets, state)) })
		l.fill, l.excess = r.guilty(role, "sockets "+state), r.judged(role, "sockets "+state)
		p.lines = append(p.lines, l)
	}
	for _, state := range slices.Sorted(maps.Keys(kernel)) {
		if !kernel[state] || len(p.lines) == most+2 {
			continue
		}
		l := r.series(role, func(p record.Point) (float64, bool) { return float64(p.Kernel[state]), true },
			func(s record.Sample) (float64, bool) { return float64(inState(s.Kernel, state)), true })
		l.name, l.class, l.dotted = state+" (kernel)", "k-slate", true
		p.lines = append(p.lines, l)
	}
	return p.noted(r.axis())
}

func inState(sockets []record.Socket, state string) int {
	n := 0
	for _, s := range sockets {
		if s.State == state {
			n++
		}
	}
	return n
}

func (r *round) fdPanel(role string) panel {
	l := r.series(role, func(p record.Point) (float64, bool) { return float64(p.FDs), true },
		func(s record.Sample) (float64, bool) { return float64(len(s.FDs)), true })
	if len(l.x) == 0 {
		return panel{}
	}
	l.name, l.class, l.fill, l.excess = "fds", "k-violet", r.guilty(role, "fds"), r.judged(role, "fds")
	l.base = r.baseline(role, func(s record.Sample) float64 { return float64(len(s.FDs)) })
	return panel{title: "Open file descriptors", height: 64, lines: []line{l}, show: counts}.noted(r.axis())
}

func goroutines(s record.Sample) int {
	n := 0
	for _, g := range s.Groups {
		n += g.Count
	}
	return max(n, len(s.Goroutines))
}

func (r *round) goroutinePanel(role string) panel {
	l := line{name: "goroutines", class: "k-blue", dots: true, base: math.NaN(), fill: r.guilty(role, "goroutines"), excess: r.judged(role, "goroutines")}
	for _, s := range r.snapshots {
		if n := goroutines(s.it.Sample); s.it.Sample.Role == role && n > 0 {
			l.x, l.y = append(l.x, r.after(s.at)), append(l.y, float64(n))
		}
	}
	if len(l.x) == 0 {
		return panel{}
	}
	l.base = r.baseline(role, func(s record.Sample) float64 { return float64(goroutines(s)) })
	p := panel{title: "Goroutines", height: 64, lines: []line{l}, show: counts}.noted(r.axis())
	p.note = strings.TrimPrefix(p.note+", read at the four snapshots only", ", ")
	return p
}

func (r *round) memoryPanel(role string) panel {
	l := r.series(role, func(p record.Point) (float64, bool) { return float64(p.RssAnon) / (1 << 20), p.RssAnon > 0 },
		func(s record.Sample) (float64, bool) {
			return float64(s.Memory.RssAnon) / (1 << 20), s.Memory.RssAnon > 0
		})
	if len(l.x) == 0 {
		return panel{}
	}
	l.name, l.class = "RssAnon", "k-green"
	l.base = r.baseline(role, func(s record.Sample) float64 { return float64(s.Memory.RssAnon) / (1 << 20) })
	return panel{title: "Memory", note: "its trend is judged over the cycles of a soak", height: 64, lines: []line{l}, show: mebi}
}

// noted says the excess after the window in the panel's note.
func (p panel) noted(a axis) panel {
	var parts []string
	for _, l := range p.lines {
		if over := l.over(a); l.fill && over > 0 {
			name := ""
			if len(p.lines) > 1 {
				name = " " + l.name
			}
			parts = append(parts, signed(over, "")+name)
		}
	}
	if len(parts) > 0 {
		p.note = strings.Join(parts, ", ") + " above baseline at the end"
	}
	return p
}
