package reports

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"slices"
	"strings"
)

// A chart is three drawings in a row, so that it fits a wide screen, a phone and a
// sheet of paper without any text being scaled:
//
//	+--------+----------------------------------+--------------+
//	| 20     |        ____                      |              |
//	| 10     | ______/    \____________________ | fds 14       |
//	|  0     |                                  |              |
//	+--------+----------------------------------+--------------+
//	 gutter    chart: stretched, plotWidth units   ends
//
// On a narrow screen the ends give way to a list of keys below the chart.
const (
	plotWidth  = 1000.0 // units of the x axis, whatever the screen makes of them
	typical    = 700.0  // pixels that they take on a wide screen, to keep labels apart
	gutter     = 52
	endsWidth  = 196
	labelGap   = 15.0 // between two labels, also the height of one row of marks
	columns    = 800  // a line has at most this many, each with its least and greatest value
	bottomRoom = 22.0 // below the last panel, for the numbers of the x axis
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
	height      float64 // of the plot, in pixels
	lines       []line
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
	excess float64 // above base, as judged; NaN if nobody did
	fill   bool    // the excess above base after the window is a finding
}

// key is a line's name and last value, or the name of a mark, in its colour.
type key struct{ Class, Text string }

// drawing is one panel as the page shows it.
type drawing struct {
	Title, Note string
	Bad         bool
	SVG         template.HTML
	Keys        []key
}

func (a axis) x(at float64) float64 {
	if a.to <= a.from {
		return 0
	}
	at = min(max(at, a.from), a.to)
	return (at - a.from) / (a.to - a.from) * plotWidth
}

func percent(x float64) string { return trimZeros(fmt.Sprintf("%.2f", x/plotWidth*100)) + "%" }

// drawPanels draws the panels of one figure over their common axis.
func drawPanels(a axis, panels []panel) []drawing {
	var list []drawing
	for i, p := range panels {
		list = append(list, drawing{
			Title: p.title, Note: p.note, Bad: slices.ContainsFunc(p.lines, func(l line) bool { return l.fill && l.over(a) > 0 }),
			SVG: p.svg(a, i == 0, i == len(panels)-1), Keys: p.keys(),
		})
	}
	return list
}

// svg draws the panel. The first of a figure carries the names of the marks, the
// last the numbers of the x axis.
func (p panel) svg(a axis, first, last bool) template.HTML {
	top, bottom := 8.0, 4.0
	var names []placed
	if first {
		var rows int
		names, rows = a.place()
		top += float64(rows) * labelGap
	}
	if last {
		bottom = bottomRoom
	}
	scale, ticks := p.yScale()
	y := func(v float64) float64 { return p.height - v/scale*p.height }
	size := fmt.Sprintf(`height="%s"`, num(top+p.height+bottom))
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="gutter" aria-hidden="true" width="%d" %s>`, gutter, size)
	for _, t := range ticks {
		fmt.Fprintf(&b, `<text text-anchor="end" x="%d" y="%s">%s</text>`, gutter-8, num(top+y(t)+4), html.EscapeString(p.show(t)))
	}
	fmt.Fprintf(&b, `</svg><svg class="chart" role="img" aria-label="%s" width="100%%" %s data-top="%s" data-height="%s" data-scale="%g">`,
		html.EscapeString(p.alt()), size, num(top), num(p.height), scale)
	fmt.Fprintf(&b, `<svg y="%s" width="100%%" height="%s" viewBox="0 0 %s %s" preserveAspectRatio="none" overflow="visible"><g fill="none" stroke="currentColor">`,
		num(top), num(p.height), num(plotWidth), num(p.height))
	for _, bd := range a.bands {
		if width := a.x(bd.to) - a.x(bd.from); width > 0 {
			fmt.Fprintf(&b, `<path class="%s" stroke="none" d="M%s 0h%sV%sh-%[3]sz"/>`, bd.class, num(a.x(bd.from)), num(width), num(p.height))
		}
	}
	b.WriteString(`<path class="grid" stroke-opacity=".15" d="`)
	for _, t := range ticks {
		fmt.Fprintf(&b, `M0 %sH%s`, num(y(t)), num(plotWidth))
	}
	b.WriteString(`"/>`)
	for _, l := range p.lines {
		l.drawFill(&b, a, y)
	}
	for i, l := range p.lines {
		l.draw(&b, a, y, i)
	}
	for _, m := range a.marks {
		fmt.Fprintf(&b, `<path class="%s" d="M%s -4V%s"/>`, m.class, num(a.x(m.at)), num(p.height))
	}
	b.WriteString(`</g>`)
	b.WriteString(`</svg>`)
	if last {
		a.drawTicks(&b, top+p.height)
	}
	for _, n := range names {
		fmt.Fprintf(&b, `<text class="name %s" text-anchor="%s" x="%s" y="%s">%s</text>`, n.class, n.anchor, percent(n.x), num(n.y), html.EscapeString(n.text))
	}
	p.drawOver(&b, a, y, top)
	fmt.Fprintf(&b, `</svg><svg class="ends" aria-hidden="true" width="%d" %s>`, endsWidth, size)
	p.drawEnds(&b, y, top)
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) //nolint:gosec // every text above goes through html.EscapeString
}

// alt is the chart in words, for those who do not see it.
func (p panel) alt() string {
	text := p.title
	if p.note != "" {
		text += ", " + p.note
	}
	for _, l := range p.lines {
		if len(l.y) == 0 {
			continue
		}
		text += ". " + l.name + ": "
		if !math.IsNaN(l.base) {
			text += "baseline " + p.show(l.base) + ", "
		}
		text += "highest " + p.show(slices.Max(l.y)) + ", at the end " + p.show(l.y[len(l.y)-1])
	}
	return text + "."
}

// keys are the lines' names with their last values.
func (p panel) keys() []key {
	var list []key
	for _, l := range p.lines {
		if n := len(l.y); n > 0 {
			list = append(list, key{l.class, strings.TrimSpace(l.name + " " + p.show(l.y[n-1]))})
		}
	}
	return list
}

// yScale is the top of the y axis and its ticks, from 0.
func (p panel) yScale() (scale float64, ticks []float64) {
	top := 0.0
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
