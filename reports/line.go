package reports

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// draw draws the baseline and the steps, or dots. index tells the line from the
// others of its panel.
func (l line) draw(b *strings.Builder, a axis, y func(float64) float64, index int) {
	if len(l.x) == 0 {
		return
	}
	if !math.IsNaN(l.base) {
		fmt.Fprintf(b, `<path class="base" stroke-dasharray="3 3" d="M0 %sH%s"/>`,
			num(y(l.base)), num(plotWidth))
	}
	class := "line " + l.class
	if l.dotted || l.dots { // between readings that are far apart nothing is known
		class += " dotted"
	}
	if !l.loose {
		fmt.Fprintf(b, `<path class="%s" data-line="%d" d="%s"/>`, class, index, l.path(a, y))
	}
	if !l.dots && !l.loose && len(l.x) > 1 {
		return
	}
	d := l.decimate(a)
	var dots strings.Builder
	for i := range d.x {
		fmt.Fprintf(&dots, "M%s %sh0", num(a.x(d.x[i])), num(y(d.y[i])))
	}
	width := 6
	if l.loose {
		width = 4
	}
	fmt.Fprintf(b, `<path class="dots %s" stroke-width="%d" stroke-linecap="round" d="%s"/>`, l.class, width, dots.String())
}

// path is the line as steps: a value holds until the next. One with more readings
// than columns is drawn in whole units, column by column.
func (l line) path(a axis, y func(float64) float64) string {
	if len(l.x) > columns && a.to > a.from {
		return l.decimate(a).dense(a, y)
	}
	var d strings.Builder
	for i := range l.x {
		if i == 0 || slices.Contains(l.breaks, i) {
			fmt.Fprintf(&d, "M%s %s", num(a.x(l.x[i])), num(y(l.y[i])))
			continue
		}
		if l.dots {
			fmt.Fprintf(&d, "L%s %s", num(a.x(l.x[i])), num(y(l.y[i])))
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

// dense is the path of many readings: relative steps of whole units, which take a
// third of the bytes.
func (l line) dense(a axis, y func(float64) float64) string {
	var d strings.Builder
	var atX, atY int
	for i := range l.x {
		px, py := int(math.Round(a.x(l.x[i]))), int(math.Round(y(l.y[i])))
		switch {
		case i == 0 || slices.Contains(l.breaks, i):
			fmt.Fprintf(&d, "M%d %d", px, py)
		case py != atY:
			if px != atX {
				fmt.Fprintf(&d, "h%d", px-atX)
			}
			fmt.Fprintf(&d, "v%d", py-atY)
		case i == len(l.x)-1 || slices.Contains(l.breaks, i+1):
			fmt.Fprintf(&d, "h%d", px-atX)
		default:
			continue // a level run is drawn by what ends it
		}
		atX, atY = px, py
	}
	return d.String()
}

// leastFill is the least height of a filled excess.
const leastFill = 6.0

// drawFill fills what lies above the baseline after the window.
func (l line) drawFill(b *strings.Builder, a axis, y func(float64) float64) {
	if !l.fill || math.IsNaN(l.base) || len(l.x) == 0 || l.dots {
		return
	}
	l = l.decimate(a)
	floor := slices.Clone(l.y) // the least value from here to the end
	for i := len(floor) - 2; i >= 0; i-- {
		floor[i] = min(floor[i], floor[i+1])
	}
	var d strings.Builder
	open, level := false, 0.0
	shut := func(at float64) {
		if open {
			fmt.Fprintf(&d, "H%sV%sz", num(a.x(at)), num(y(l.base)))
		}
		open = false
	}
	for i := range l.x {
		to, value := l.x[i], l.y[i]
		if l.x[i] >= a.healedAt {
			value = floor[i]
			if l.base+l.excess < value { // what was still busy at the end is none
				value = l.base + l.excess
			}
		}
		if i+1 < len(l.x) && !slices.Contains(l.breaks, i+1) {
			to = l.x[i+1]
		}
		from := max(l.x[i], a.excessFrom)
		if to <= from || value <= l.base {
			shut(from)
			continue
		}
		// One leak among hundreds is still to be seen.
		top := min(y(value), y(l.base)-leastFill)
		switch {
		case !open:
			fmt.Fprintf(&d, "M%s %sV%s", num(a.x(from)), num(y(l.base)), num(top))
		case top != level:
			fmt.Fprintf(&d, "H%sV%s", num(a.x(from)), num(top))
		}
		open, level = true, top
		if i+1 == len(l.x) || slices.Contains(l.breaks, i+1) || i+2 == len(l.x) {
			shut(to)
		}
	}
	if d.Len() > 0 {
		fmt.Fprintf(b, `<path class="excess" fill="currentColor" fill-opacity=".3" stroke="none" d="%s"/>`, d.String())
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
