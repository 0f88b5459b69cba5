package reports

import (
	"cmp"
	"fmt"
	"html"
	"math"
	"slices"
	"strconv"
	"strings"
)

// placed is a text with its place.
type placed struct {
	x, y                float64
	class, anchor, text string
}

// place puts the names of marks and bands in rows above the plot, so that none
// lies on another, and says how many rows that takes. A name that would run out at
// the right ends at its mark.
func (a axis) place() (names []placed, rows int) {
	const unit = plotWidth / typical // a pixel of a wide screen
	var used [][][2]float64          // of each row, the spans that are taken
	put := func(x float64, class, text string) {
		width := float64(len([]rune(text))) * 6.6 * unit
		n := placed{x: x + 2*unit, class: class, anchor: "start", text: text}
		from, to := n.x, n.x+width
		if to > plotWidth {
			n.x, n.anchor = x-2*unit, "end"
			from, to = n.x-width, n.x
		}
		free := func(row [][2]float64) bool {
			return !slices.ContainsFunc(row, func(s [2]float64) bool { return from < s[1]+10*unit && s[0] < to+10*unit })
		}
		row := slices.IndexFunc(used, free)
		if row < 0 {
			row = len(used)
			used = append(used, nil)
		}
		used[row] = append(used[row], [2]float64{from, to})
		n.y = float64(row)
		names = append(names, n)
	}
	for _, m := range a.marks {
		if m.label != "" {
			put(a.x(m.at), m.class, m.label)
		}
	}
	for _, b := range a.bands {
		if b.label != "" {
			put(a.x(b.from), b.class+"name", b.label)
		}
	}
	// The first row is the lowest, nearest to the plot.
	for i := range names {
		names[i].y = 12 + (float64(len(used))-1-names[i].y)*labelGap
	}
	return names, len(used)
}

// legend says in words what the lines and colours of a figure mean, and when.
func (a axis) legend(excess bool) []key {
	var list []key
	for _, m := range a.marks {
		text := m.label
		if !a.cycles { // a mark of a cycle names it
			text += " at " + strings.Replace(seconds(m.at), "−", "−\u2060", 1)
		}
		if m.label != "" {
			list = append(list, key{m.class, text})
		}
	}
	for _, b := range a.bands {
		text := b.label
		if b.class == "slack" {
			text = "slack, until the deadline"
		}
		if !slices.Contains(list, key{b.class, text}) {
			list = append(list, key{b.class, text})
		}
	}
	list = append(list, key{"base", "baseline"})
	if excess {
		list = append(list, key{"excess", "above baseline after the window"})
	}
	return list
}

func (a axis) drawTicks(b *strings.Builder, bottom float64) {
	step := tickStep((a.to-a.from)/7, a.cycles)
	for n, t := 0, math.Ceil(a.from/step)*step; t <= a.to+step*1e-6; n, t = n+1, t+step {
		x := a.x(t)
		fmt.Fprintf(b, `<rect class="grid" fill="currentColor" fill-opacity=".3" x="%s" y="%s" width="1" height="4"/>`, percent(x), num(bottom))
		anchor, class := "middle", "tick"
		if x < plotWidth/50 {
			anchor = "start"
		} else if x > plotWidth*49/50 {
			anchor = "end"
		}
		if n%2 == 1 {
			class += " odd" // left out where the screen is narrow
		}
		fmt.Fprintf(b, `<text class="%s" text-anchor="%s" x="%s" y="%s">%s</text>`, class, anchor, percent(x), num(bottom+18), a.tickText(t, step))
	}
}

func tickStep(least float64, cycles bool) float64 {
	steps := []float64{.1, .2, .5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400}
	if cycles {
		steps = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000}
	}
	for _, s := range steps {
		if s >= least {
			return s
		}
	}
	return max(least, steps[len(steps)-1])
}

func (a axis) tickText(t, step float64) string {
	switch {
	case a.cycles:
		return strconv.FormatFloat(t, 'f', 0, 64)
	case step >= 60:
		return strings.Replace(fmt.Sprintf("%.0f min", t/60), "-", "−", 1)
	}
	return strings.Replace(trimZeros(fmt.Sprintf("%.1f", t)), "-", "−", 1) + " s"
}

// drawEnds writes each line's name and last value right of the plot, pushed
// apart where they would lie on each other.
func (p panel) drawEnds(b *strings.Builder, y func(float64) float64, top float64) {
	type end struct {
		placed
		index int
	}
	var ends []end
	for i, l := range p.lines {
		if n := len(l.y); n > 0 {
			text := strings.TrimSpace(l.name + " " + p.show(l.y[n-1]))
			ends = append(ends, end{placed{y: top + y(l.y[n-1]) + 4, class: l.class, text: text}, i})
		}
	}
	slices.SortStableFunc(ends, func(a, b end) int { return cmp.Compare(a.y, b.y) })
	for i := 1; i < len(ends); i++ {
		ends[i].y = max(ends[i].y, ends[i-1].y+labelGap)
	}
	// What was pushed below the plot goes up again, from the last on.
	floor := top + p.height + 4
	for i := len(ends) - 1; i >= 0 && ends[i].y > floor; i-- {
		ends[i].y = floor
		floor -= labelGap
	}
	for _, e := range ends {
		fmt.Fprintf(b, `<text class="end %s" data-line="%d" x="10" y="%s">%s</text>`, e.class, e.index, num(e.y), html.EscapeString(shorten(e.text)))
	}
}

// drawOver labels what is too much, on the red area itself.
func (p panel) drawOver(b *strings.Builder, a axis, y func(float64) float64, top float64) {
	for _, l := range p.lines {
		over := l.over(a)
		if !l.fill || over <= 0 {
			continue
		}
		at := min(y(l.base+over), y(l.base)-leastFill)
		fmt.Fprintf(b, `<text class="over" text-anchor="end" x="99.5%%" y="%s">+%s</text>`, num(max(top+at-4, 10)), html.EscapeString(p.show(over)))
	}
}

// shorten keeps a label inside the drawing.
func shorten(s string) string {
	const most = 24
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// num is a coordinate: a tenth of a unit is finer than any screen.
func num(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "0"
	}
	return trimZeros(strconv.FormatFloat(v, 'f', 1, 64))
}
