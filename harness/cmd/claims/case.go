package main

import (
	"fmt"
	"strings"
)

// never, as the upper end of a range, is none.
const never = -1

// starving is how long a machine may let a ready thread wait before it is to blame for
// what came late.
const starving = 0.5

// Case is one measurement: a circumstance in which the document says that something holds,
// and what was measured in it.
type Case struct {
	Circumstance string `json:"circumstance"`
	// Setting is what was set otherwise than the document has it; "" for nothing.
	Setting string `json:"setting,omitempty"`
	What    string `json:"what"` // "gone after"
	Unit    string `json:"unit"` // "s"
	// Least and Most are the range in which the document's words hold; Most -1: no end.
	Least float64 `json:"least"`
	Most  float64 `json:"most"`
	// Scale is how many times longer it would take with the document's own times; 0 if
	// nothing was scaled.
	Scale float64 `json:"scale,omitempty"`

	Value float64 `json:"value"`
	// Censored: it was not over when the watching ended, after Value.
	Censored bool `json:"censored,omitempty"`
	// Bit says that the circumstance was really there, and Witness what shows it.
	Bit     bool    `json:"bit"`
	Witness string  `json:"witness"`
	Starved float64 `json:"starved,omitempty"` // the longest wait of a ready thread, s
	// Told is what the program itself said, or what else was seen.
	Told string `json:"told,omitempty"`

	Holds   bool `json:"holds"`
	Decided bool `json:"decided"`
}

// decide says whether the document's words hold, and whether the measurement can tell.
func (c Case) decide() (holds, decided bool) {
	beyond := c.Most != never && c.Value > c.Most
	switch {
	case !c.Bit:
		return false, false
	case c.Censored && beyond:
		return false, true // whatever it would have come to
	case c.Censored:
		return c.Most == never && c.Value >= c.Least, c.Most == never && c.Value >= c.Least
	case beyond && c.Unit == "s" && c.Starved > starving && c.Value <= c.Most+c.Starved:
		return false, false // no later than the machine stood still
	}
	return c.Value >= c.Least && !beyond, true
}

// measured is the case in one line.
func (c Case) measured() string {
	setting := ""
	if c.Setting != "" {
		setting = " [" + c.Setting + "]"
	}
	return fmt.Sprintf("%s%s: %s (holds %s)", c.Circumstance, setting, c.result(), c.span())
}

// result is what was measured, in words.
func (c Case) result() string {
	if !c.Bit {
		return "it did not bite: " + c.Witness
	}
	text := c.What + " " + amount(c.Value, c.Unit)
	if c.Censored {
		text = "not " + text
	}
	if c.Scale > 0 {
		text += " (unscaled " + amount(c.Value*c.Scale, c.Unit) + ")"
	}
	if c.Told != "" {
		text += "; " + c.Told
	}
	return text
}

// span is the range in which the words hold.
func (c Case) span() string {
	switch {
	case c.Most == never:
		return "from " + amount(c.Least, c.Unit)
	case c.Least == c.Most:
		return "at " + amount(c.Most, c.Unit)
	}
	return fmt.Sprintf("%s .. %s", amount(c.Least, ""), amount(c.Most, c.Unit))
}

// mark is whether the words hold, in one word.
func (c Case) mark() string {
	switch {
	case !c.Decided:
		return "?"
	case c.Holds:
		return "yes"
	}
	return "no"
}

// amount is a number with its unit.
func amount(v float64, unit string) string {
	text := fmt.Sprintf("%.3g", v)
	switch {
	case v >= 0 && v < 0.001:
		text = "0"
	case v == float64(int64(v)), v >= 100:
		text = fmt.Sprintf("%.0f", v)
	}
	return strings.TrimSpace(text + " " + unit)
}
