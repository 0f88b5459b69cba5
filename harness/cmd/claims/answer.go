package main

import "strings"

// Answer is what a claim comes to.
type Answer string

// The answers.
const (
	True         Answer = "TRUE"
	False        Answer = "FALSE"
	TrueIf       Answer = "TRUE IF"
	Inconclusive Answer = "INCONCLUSIVE"
)

// judge makes the answer of a claim's cases. The cases with the document's own settings
// decide: all of them hold, none does, or it depends on the circumstance, which when names.
// with are the other settings that were tried and make it hold.
func judge(cases []Case) (answer Answer, when, with []string) {
	own, held := 0, 0
	for _, c := range cases {
		holds, decided := c.decide()
		if c.Setting != "" {
			if holds && decided {
				with = append(with, c.Setting+": "+c.Circumstance)
			}
			continue
		}
		if !decided {
			return Inconclusive, nil, nil
		}
		own++
		if holds {
			held++
			when = append(when, c.Circumstance)
		}
	}
	switch {
	case own == 0:
		return Inconclusive, nil, nil
	case held == own:
		return True, nil, with
	case held == 0:
		return False, nil, with
	}
	return TrueIf, when, with
}

// words is the answer as the table has it.
func words(answer Answer, when []string) string {
	if answer != TrueIf {
		return string(answer)
	}
	return string(answer) + " " + strings.Join(when, "; ")
}
