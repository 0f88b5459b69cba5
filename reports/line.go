package reports

import (
	"cmp"
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// draw draws the baseline and the steps, or dots.
func (l line) draw(b *strings.Builder, a axis, y func(float64) float64) {
	if len(l.x) == 0 {
		return
	}
	if !math.IsNaN(l.base) {
		fmt.Fprintf(b, `<path class="base" fill="none" stroke="currentColor" stroke-dasharray="3 3" d="M%s %sH%s"/>`,
			num(plotLeft), num(y(l.base)), num(plotRight))
	}
	l = l.decimate(a)
	class := "line " + l.class
	if l.dotted {
		class += " dotted"
	}
	if !l.loose {
		fmt.Fprintf(b, `<path class="%s" fill="none" stroke="currentColor" d="%s"/>`, class, l.steps(a, y))
	}
	if !l.dots && !l.loose && len(l.x) > 1 {
		return
	}
	var d strings.Builder
	for i := range l.x {
		fmt.Fprintf(&d, "M%s %sh0", num(a.x(l.x[i])), num(y(l.y[i])))
	}
	width := 6
	if l.loose {
		width = 4
	}
	fmt.Fprintf(b, `<path class="dots %s" fill="none" stroke="currentColor" stroke-width="%d" stroke-linecap="round" d="%s"/>`, l.class, width, d.String())
}

// steps is the path of a step line: a value holds until the next.
func (l line) steps(a axis, y func(float64) float64) string {
	var d strings.Builder
	for i := range l.x {
		if i == 0 || slices.Contains(l.breaks, i) {
			fmt.Fprintf(&d, "M%s %s", num(a.x(l.x[i])), num(y(l.y[i])))
			continue
		}
		if l.y[i] != l.y[i-1] {
			fmt.Fprintf(&d, "H%sV%s", num(a.x(l.x[i])), num(y(l.y[i])))
		} else if i == len(l.x)-1 || slices.Contains(l.breaks, i+1) {
			fmt.Fprintf(&d, "H%s", num(a.x(l.x[i])))
		}
	}
	return d.String()
}

// leastFill is the least height of a filled excess.
const leastFill = 6.0

// drawFill fills what lies above the baseline after the window.
func (l line) drawFill(b *strings.Builder, a axis, y func(float64) float64) {
	if !l.fill || math.IsNaN(l.base) || len(l.x) == 0 {
		return
	}
	l = l.decimate(a)
	floor := slices.Clone(l.y) // the least value from here to the end
	for i := len(floor) - 2; i >= 0; i-- {
		floor[i] = min(floor[i], floor[i+1])
	}
	var d strings.Builder
	for i := range l.x {
		to, value := l.x[i], l.y[i]
		if l.x[i] >= a.healedAt {
			value = floor[i]
		}
		if i+1 < len(l.x) && !slices.Contains(l.breaks, i+1) {
			to = l.x[i+1]
		}
		from := max(l.x[i], a.excessFrom)
		if to > from && value > l.base {
			// One leak among hundreds is still to be seen.
			top := min(y(value), y(l.base)-leastFill)
			fmt.Fprintf(&d, "M%s %sV%sH%sV%sz", num(a.x(from)), num(y(l.base)), num(top), num(a.x(to)), num(y(l.base)))
		}
	}
	if d.Len() > 0 {
		fmt.Fprintf(b, `<path class="excess" fill="currentColor" fill-opacity=".3" d="%s"/>`, d.String())
	}
}

// decimate keeps at most columns points in time, of each the first, the least,
// the greatest and the last, so that no peak is lost.
func (l line) decimate(a axis) line {
	if len(l.x) <= columns || a.to <= a.from {
		return l
	}
	column := func(i int) int { return int((l.x[i] - a.from) / (a.to - a.from) * columns) }
	out := l
	out.x, out.y, out.breaks = nil, nil, nil
	for i := 0; i < len(l.x); {
		end, least, most, cut := i, i, i, false
		for ; end < len(l.x) && column(end) == column(i); end++ {
			if l.y[end] < l.y[least] {
				least = end
			}
			if l.y[end] > l.y[most] {
				most = end
			}
			cut = cut || slices.Contains(l.breaks, end)
		}
		keep := []int{i, least, most, end - 1}
		slices.Sort(keep)
		if cut {
			out.breaks = append(out.breaks, len(out.x))
		}
		for _, k := range slices.Compact(keep) {
			out.x, out.y = append(out.x, l.x[k]), append(out.y, l.y[k])
		}
		i = end
	}
	return out
}

// drawEnds writes each line's name and last value right of the plot, pushed
// apart where they would lie on each other.
func (p panel) drawEnds(b *strings.Builder, y func(float64) float64, top float64) {
	var ends []placed
	for _, l := range p.lines {
		if n := len(l.y); n > 0 {
			text := strings.TrimSpace(l.name + " " + p.show(l.y[n-1]))
			ends = append(ends, placed{plotRight + 10, y(l.y[n-1]) + 4, l.class, text})
		}
	}
	if p.limit > 0 {
		ends = append(ends, placed{plotRight + 10, y(p.limit) + 4, "limitname", p.limitName})
	}
	slices.SortStableFunc(ends, func(a, b placed) int { return cmp.Compare(a.y, b.y) })
	for i := 1; i < len(ends); i++ {
		ends[i].y = max(ends[i].y, ends[i-1].y+labelGap)
	}
	// What was pushed below the plot goes up again, from the last on.
	floor := top + p.height + 6
	for i := len(ends) - 1; i >= 0 && ends[i].y > floor; i-- {
		ends[i].y = floor
		floor -= labelGap
	}
	for _, e := range ends {
		fmt.Fprintf(b, `<text class="end %s" x="%s" y="%s">%s</text>`, e.class, num(e.x), num(e.y), html.EscapeString(shorten(e.text)))
	}
}

// shorten keeps a label inside the drawing.
func shorten(s string) string {
	const most = 26
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
