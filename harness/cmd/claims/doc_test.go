package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness"
)

// The page has the claims that the program has, in its words, and no other.
func TestPageIsInStep(t *testing.T) {
	root, err := harness.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "claims.md"))
	if err != nil {
		t.Fatal(err)
	}
	if wrong := outOfStep(string(text), all()); len(wrong) > 0 {
		t.Errorf("docs/claims.md is out of step, make claims writes it anew:\n%s", strings.Join(wrong, "\n"))
	}
}

func TestOutOfStepIsSeen(t *testing.T) {
	claims := []claim{{id: "A1", words: "a | b"}, {id: "A2", words: "c"}}
	results := []Result{{ID: "A1", Claim: "a | b"}, {ID: "A2", Claim: "c"}}
	page := table{Claims: results}.doc()
	if wrong := outOfStep(page, claims); len(wrong) > 0 {
		t.Errorf("in step, and called out of it: %q", wrong)
	}
	for name, others := range map[string][]claim{
		"one that the page lacks":      append(slices.Clone(claims), claim{id: "A3", words: "d"}),
		"one that only the page has":   claims[:1],
		"one that has other words now": {claims[0], {id: "A2", words: "other"}},
	} {
		if len(outOfStep(page, others)) == 0 {
			t.Errorf("%s: not seen", name)
		}
	}
}

// outOfStep says what differs between the page and the claims.
func outOfStep(page string, claims []claim) []string {
	var wrong []string
	rows := map[string]string{} // by ID
	for line := range strings.Lines(page) {
		if rest, ok := strings.CutPrefix(line, "| ["); ok {
			id, rest, _ := strings.Cut(rest, "]")
			rows[id] = rest
		}
	}
	for _, c := range claims {
		switch row, ok := rows[c.id]; {
		case !ok:
			wrong = append(wrong, c.id+" has no row")
		case !strings.Contains(row, "| "+cell(c.words)+" |"), !strings.Contains(page, "\n## "+c.id+"\n\n> "+c.words+"\n"):
			wrong = append(wrong, c.id+" stands there in other words")
		}
		delete(rows, c.id)
	}
	for id := range rows {
		wrong = append(wrong, id+" is no claim")
	}
	return wrong
}

func TestClaimsAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range all() {
		if seen[c.id] || c.id == "" || c.where == "" || c.words == "" || c.tried == "" {
			t.Errorf("claim %q: lacks a text, or has an ID that another has", c.id)
		}
		seen[c.id] = true
		own := false
		for _, x := range c.cases {
			own = own || x.Setting == "" && !x.slow
			if x.run == nil || x.Circumstance == "" || x.What == "" || x.Most != never && x.Most < x.Least {
				t.Errorf("claim %s, %q: lacks a text, a trial or a range", c.id, x.Circumstance)
			}
		}
		if !own {
			t.Errorf("claim %s: the quick set has no case with the document's settings", c.id)
		}
	}
}

// A trial that fails is no answer.
func TestMeasure(t *testing.T) {
	says := func(r reading, err error) trial {
		return trial{
			Case: Case{Circumstance: "c", What: "w", Most: 1},
			run:  func(context.Context, *bench) (reading, error) { return r, err },
		}
	}
	slow := says(reading{value: 9, bit: true}, nil)
	slow.slow = true
	claims := []claim{
		{id: "good", cases: []trial{says(reading{value: 1, bit: true}, nil), slow}},
		{id: "bad", cases: []trial{says(reading{value: 1, bit: true}, errors.New("no lab"))}},
	}
	results, err := measure(t.Context(), &bench{}, claims, false, 2, func(int, int) {})
	if err != nil || results[0].Answer != True || results[1].Answer != Inconclusive || len(results[1].Trouble) != 1 {
		t.Errorf("%+v, %v", results, err)
	}
	results, err = measure(t.Context(), &bench{}, claims, true, 2, func(int, int) {})
	if err != nil || results[0].Answer != TrueIf || len(results[0].Cases) != 2 {
		t.Errorf("with the slow ones: %+v, %v", results, err)
	}
}
