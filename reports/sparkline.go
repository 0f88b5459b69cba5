package reports

import (
	"fmt"
	"html"
	"html/template"
	"slices"
	"strings"
)

// sparkline is a small curve of one figure over the runs, the newest at the right,
// with its newest value and its range in words.
type sparkline struct {
	SVG          template.HTML
	Newest, Span string
}

func newSparkline(values []float64, show func(float64) string) sparkline {
	if len(values) == 0 {
		return sparkline{Newest: "–"}
	}
	const width, height = 84.0, 20.0
	least, most := slices.Min(values), slices.Max(values)
	s := sparkline{Newest: show(values[len(values)-1])}
	if len(values) == 1 {
		return s
	}
	over := "all " + s.Newest
	if show(least) != show(most) {
		s.Span = show(least) + " to " + show(most)
		over = s.Span + ", newest " + s.Newest
	}
	var d strings.Builder
	for i, v := range values {
		y := height / 2
		if most > 0 {
			y = height - 2 - v/most*(height-4) // from 0: small differences look small
		}
		op := "L"
		if i == 0 {
			op = "M"
		}
		fmt.Fprintf(&d, "%s%s %s", op, num(2+float64(i)/float64(len(values)-1)*(width-4)), num(y))
	}
	s.SVG = template.HTML(fmt.Sprintf(`<svg class="spark" role="img" aria-label="%s" width="%g" height="%g"><path class="line" fill="none" stroke="currentColor" d="%s"/></svg>`, //nolint:gosec // escaped
		html.EscapeString(fmt.Sprintf("%d runs, %s", len(values), over)), width, height, d.String()))
	return s
}
