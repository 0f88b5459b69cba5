package main

import (
	"slices"
	"strings"
	"testing"
)

func TestDecide(t *testing.T) {
	within := Case{Least: 2, Most: 6, Unit: "s", Bit: true}
	lives := Case{Least: 12, Most: never, Unit: "s", Bit: true}
	at := func(c Case, value float64, censored bool) Case {
		c.Value, c.Censored = value, censored
		return c
	}
	starved := func(c Case, s float64) Case {
		c.Starved = s
		return c
	}
	blunt := at(within, 4, false)
	blunt.Bit = false
	for _, x := range []struct {
		name           string
		c              Case
		holds, decided bool
	}{
		{"inside", at(within, 4, false), true, true},
		{"at the lower end", at(within, 2, false), true, true},
		{"at the upper end", at(within, 6, false), true, true},
		{"too early", at(within, 1.9, false), false, true},
		{"too late", at(within, 6.1, false), false, true},
		{"not over, and watched for long enough", at(within, 6.1, true), false, true},
		{"not over, and not watched for long enough", at(within, 5, true), false, false},
		{"lived", at(lives, 12, true), true, true},
		{"lived, and not watched for long enough", at(lives, 11, true), false, false},
		{"died", at(lives, 11, false), false, true},
		{"died when it might", at(lives, 13, false), true, true},
		{"it did not bite", blunt, false, false},
		{"late by no more than the machine stood still", starved(at(within, 6.5, false), 0.6), false, false},
		{"later than the machine stood still", starved(at(within, 7, false), 0.6), false, true},
		{"late, the machine prompt", starved(at(within, 6.1, false), 0.2), false, true},
		{"in time, the machine starved", starved(at(within, 5, false), 3), true, true},
	} {
		if holds, decided := x.c.decide(); holds != x.holds || decided != x.decided {
			t.Errorf("%s: holds %t, decided %t; want %t, %t", x.name, holds, decided, x.holds, x.decided)
		}
	}
}

func TestJudge(t *testing.T) {
	yes := Case{Circumstance: "idle", Most: 6, Value: 5, Bit: true}
	no := Case{Circumstance: "in flight", Most: 6, Value: 7, Bit: true}
	unclear := Case{Circumstance: "frozen", Most: 6, Value: 5}
	better, worse, dull := with("U", no), with("V", no), with("W", unclear)
	better.Value = 4
	for _, x := range []struct {
		name  string
		cases []Case
		want  Answer
		when  []string
		with  []string
	}{
		{"all hold", []Case{yes, yes}, True, nil, nil},
		{"none holds", []Case{no, no}, False, nil, nil},
		{"one of two", []Case{no, yes}, TrueIf, []string{"idle"}, nil},
		{"one is not decided", []Case{yes, unclear}, Inconclusive, nil, nil},
		{"one is not decided, beside one that does not hold", []Case{unclear, no}, Inconclusive, nil, nil},
		{"nothing was measured", nil, Inconclusive, nil, nil},
		{"only other settings were", []Case{better}, Inconclusive, nil, nil},
		{"another setting helps, and is no answer", []Case{no, better}, False, nil, []string{"U: in flight"}},
		{"another setting does not help", []Case{no, worse}, False, nil, nil},
		{"another setting is not decided", []Case{yes, dull}, True, nil, nil},
	} {
		got, when, with := judge(x.cases)
		if got != x.want || !slices.Equal(when, x.when) || !slices.Equal(with, x.with) {
			t.Errorf("%s: %s when %q with %q; want %s, %q, %q", x.name, got, when, with, x.want, x.when, x.with)
		}
	}
}

func TestMeasuredInWords(t *testing.T) {
	c := Case{Circumstance: "idle", Setting: "U", What: "gone after", Unit: "s", Least: 2, Most: 6, Scale: 15, Value: 11.04, Bit: true, Told: "ETIMEDOUT"}
	for _, x := range []struct {
		change func(*Case)
		want   string
	}{
		{func(*Case) {}, "idle [U]: gone after 11 s (unscaled 166 s); ETIMEDOUT (holds 2 .. 6 s)"},
		{func(c *Case) { c.Censored = true }, "not gone after"},
		{func(c *Case) { c.Bit, c.Witness = false, "pid 7: running" }, "it did not bite: pid 7: running"},
		{func(c *Case) { c.Most = never }, "(holds from 2 s)"},
		{func(c *Case) { c.Most = c.Least }, "(holds at 2 s)"},
	} {
		with := c
		x.change(&with)
		if got := with.measured(); !strings.Contains(got, x.want) {
			t.Errorf("%q lacks %q", got, x.want)
		}
	}
}
