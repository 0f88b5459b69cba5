package main

import (
	"context"
	"slices"
)

// claim is one statement of the document, and how it is tried.
type claim struct {
	id    string
	where string // the document's heading
	words string // the document's own
	tried string
	cases []trial
}

// trial is one case that is to be measured.
type trial struct {
	Case      // all but what is measured
	slow bool // takes minutes: only with --slow
	run  func(context.Context, *bench) (reading, error)
}

// reading is what a trial measured; see Case.
type reading struct {
	value    float64
	censored bool
	bit      bool
	witness  string
	told     string
	starved  float64
}

// fill puts a reading into its case.
func (t trial) fill(r reading) Case {
	c := t.Case
	c.Value, c.Censored, c.Bit, c.Witness, c.Told, c.Starved = r.value, r.censored, r.bit, r.witness, r.told, r.starved
	c.Holds, c.Decided = c.decide()
	return c
}

// all are the claims, in the document's order of subjects.
func all() []claim {
	return slices.Concat(detection(), deaths(), layers(), alone(), memory(), monitors())
}

// with is a case with another setting than the document's.
func with(setting string, c Case) Case {
	c.Setting = setting
	return c
}
