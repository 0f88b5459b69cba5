package reports

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The measures of a chart, in user units; at the page's full width one unit is
// about one pixel. What lies right of plotRight is for the labels at the line
// ends.
const (
	chartWidth = 940.0
	plotLeft   = 56.0
	plotRight  = 752.0
	labelGap   = 15.0 // between two labels, also the height of one row of marks
	columns    = 800  // a line has at most this many, each with its least and greatest value
)

// axis is the x axis that the panels of one figure share.
type axis struct {
	from, to float64
	// excessFrom is where the window ends: what is above its baseline from here
	// on is filled.
	excessFrom float64
	// healedAt is where the last fault was healed (+Inf: never): load comes back
	// from here on, so only what stays until the end is filled.
	healedAt float64
	bands    []band
	marks    []mark
	cycles   bool // the axis counts cycles, not seconds
}

// band is a span of time with a name: the window, or its slack.
type band struct {
	from, to float64
	class    string // "window", "slack"
	label    string
}

// mark is a moment with a name: a fault, or its heal.
type mark struct {
	at    float64
	class string // "fault", "heal"
	label string
}

// panel is one chart of a figure.
type panel struct {
	title, note string
	height      float64 // of the plot
	lines       []line
	limit       float64 // a dashed line across, 0 for none
	limitName   string
	show        func(float64) string // a value as text
}

// line is one series: steps, or dots for readings that are far apart.
type line struct {
	name   string
	class  string // its colour
	dotted bool
	dots   bool
	loose  bool // the dots are not joined: each is a measurement of its own
	x, y   []float64
	// breaks has the indexes at which a new process begins: no step leads there.
	breaks []int
	base   float64 // NaN for none
	fill   bool    // the excess above base after the window is a finding
}

func (a axis) x(at float64) float64 {
	if a.to <= a.from {
		return plotLeft
	}
	at = min(max(at, a.from), a.to)
	return plotLeft + (at-a.from)/(a.to-a.from)*(plotRight-plotLeft)
}

// svg draws the panel. The first of a figure carries the names of the marks, the
// last the numbers of the x axis.
func (p panel) svg(a axis, first, last bool) template.HTML {
	top, bottom := 8.0, 8.0
	var names []placed
	if first {
		var rows int
		names, rows = a.place()
		top += float64(rows) * labelGap
	}
	if last {
		bottom = 22
	}
	scale, ticks := p.yScale()
	y := func(v float64) float64 { return top + p.height - v/scale*p.height }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg role="img" viewBox="0 0 %s %s" class="chart"><title>%s</title>`,
		num(chartWidth), num(top+p.height+bottom), html.EscapeString(p.alt()))
	for _, bd := range a.bands {
		fmt.Fprintf(&b, `<rect class="%s" fill="none" x="%s" y="%s" width="%s" height="%s"/>`,
			bd.class, num(a.x(bd.from)), num(top), num(a.x(bd.to)-a.x(bd.from)), num(p.height))
	}
	for _, t := range ticks {
		fmt.Fprintf(&b, `<path class="grid" stroke="currentColor" stroke-opacity=".15" d="M%s %sH%s"/><text class="tick" text-anchor="end" x="%s" y="%s">%s</text>`,
			num(plotLeft), num(y(t)), num(plotRight), num(plotLeft-8), num(y(t)+4), html.EscapeString(p.show(t)))
	}
	a.drawTicks(&b, top+p.height, last)
	for _, l := range p.lines {
		l.drawFill(&b, a, y)
	}
	for _, l := range p.lines {
		l.draw(&b, a, y)
	}
	if p.limit > 0 {
		fmt.Fprintf(&b, `<path class="limit" fill="none" stroke="currentColor" stroke-dasharray="6 4" d="M%s %sH%s"/>`,
			num(plotLeft), num(y(p.limit)), num(plotRight))
	}
	for _, m := range a.marks {
		fmt.Fprintf(&b, `<path class="%s" stroke="currentColor" d="M%s %sV%s"/>`, m.class, num(a.x(m.at)), num(top-4), num(top+p.height))
	}
	for _, n := range names {
		fmt.Fprintf(&b, `<text class="name %s" x="%s" y="%s">%s</text>`, n.class, num(n.x), num(n.y), html.EscapeString(n.text))
	}
	p.drawEnds(&b, y, top)
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) //nolint:gosec // every text above goes through html.EscapeString
}

// alt is the chart in words, for those who do not see it.
func (p panel) alt() string {
	text := p.title
	for i, l := range p.lines {
		sep := ", "
		if i == 0 {
			sep = ": at the end "
		}
		if len(l.y) > 0 {
			text += sep + l.name + " " + p.show(l.y[len(l.y)-1])
			if !math.IsNaN(l.base) {
				text += " (baseline " + p.show(l.base) + ")"
			}
		}
	}
	return text
}

// yScale is the top of the y axis and its ticks, from 0.
func (p panel) yScale() (scale float64, ticks []float64) {
	top := p.limit
	for _, l := range p.lines {
		for _, v := range l.y {
			top = max(top, v)
		}
		if l.base > top { // false for NaN
			top = l.base
		}
	}
	step := 1.0
	for top/step > 3.5 {
		switch lead := step / math.Pow(10, math.Floor(math.Log10(step)+1e-9)); {
		case lead < 1.5:
			step *= 2
		case lead < 3:
			step *= 2.5
		default:
			step *= 2
		}
		if step > 1e15 {
			break
		}
	}
	for t := 0.0; t <= top+step*1e-9 && len(ticks) < 6; t += step {
		ticks = append(ticks, t)
	}
	return max(top*1.08, step), ticks
}

// placed is a text with its place.
type placed struct {
	x, y        float64
	class, text string
}

// place puts the names of marks and bands in rows above the plot, so that none
// lies on another, and says how many rows that takes.
func (a axis) place() (names []placed, rows int) {
	var ends []float64 // of each row
	put := func(x float64, class, text string) {
		width := float64(len([]rune(text))) * 6.6
		x = min(x, chartWidth-width)
		row := slices.IndexFunc(ends, func(end float64) bool { return end < x })
		if row < 0 {
			row = len(ends)
			ends = append(ends, 0)
		}
		ends[row] = x + width + 10
		names = append(names, placed{x, float64(row), class, text})
	}
	for _, m := range a.marks {
		put(a.x(m.at)-3, m.class, m.label)
	}
	for _, b := range a.bands {
		if b.label != "" {
			put(a.x(b.from)+4, b.class+"name", b.label)
		}
	}
	// The first row is the lowest, nearest to the plot.
	for i := range names {
		names[i].y = 12 + (float64(len(ends))-1-names[i].y)*labelGap
	}
	return names, len(ends)
}

func (a axis) drawTicks(b *strings.Builder, bottom float64, numbers bool) {
	step := tickStep((a.to-a.from)/9, a.cycles)
	for t := math.Ceil(a.from/step) * step; t <= a.to+step*1e-6; t += step {
		fmt.Fprintf(b, `<path class="grid" stroke="currentColor" stroke-opacity=".15" d="M%s %sv4"/>`, num(a.x(t)), num(bottom))
		if numbers {
			fmt.Fprintf(b, `<text class="tick" text-anchor="middle" x="%s" y="%s">%s</text>`, num(a.x(t)), num(bottom+18), a.tickText(t, step))
		}
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

// num is a coordinate: a tenth of a unit is finer than any screen.
func num(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "0"
	}
	return trimZeros(strconv.FormatFloat(v, 'f', 1, 64))
}
