package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// goEvent is one line of `go test -json`: see `go doc test2json`, and for the
// lines of a build, `go help buildjson`.
type goEvent struct {
	Action      string
	Package     string
	Test        string
	Output      string
	ImportPath  string
	FailedBuild string
}

// goTest is one test, or with an empty Test in the key, one package.
type goTest struct {
	output strings.Builder
	ended  string // the Action that ended it: "pass", "fail", "skip", or "" so far
	parent bool   // has subtests
	redSub bool   // one of its subtests failed
}

type goKey struct{ Package, Test string }

// Go counts the output of `go test -json`. Only leaves count: a test with
// subtests counts itself only if it failed by its own doing. A package that
// fails without a failing test (it does not build, it panics, its TestMain
// fails, it was killed) counts as one failure. Lines that are not JSON are
// what the go command itself says, and are passed on.
func Go(in io.Reader, out io.Writer) (Tally, error) {
	tests := map[goKey]*goTest{}
	builds := map[string]*strings.Builder{}
	var order []goKey
	get := func(k goKey) *goTest {
		if tests[k] == nil {
			tests[k] = &goTest{}
			order = append(order, k)
		}
		return tests[k]
	}
	var tally Tally
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e goEvent
			if json.Unmarshal([]byte(line), &e) != nil {
				fmt.Fprintf(out, "%s\n", strings.TrimSuffix(line, "\n"))
			} else if e.ImportPath != "" {
				if builds[e.ImportPath] == nil {
					builds[e.ImportPath] = &strings.Builder{}
				}
				builds[e.ImportPath].WriteString(e.Output)
			} else {
				t := get(goKey{e.Package, e.Test})
				t.output.WriteString(e.Output)
				switch e.Action {
				case "pass", "fail", "skip":
					t.ended = e.Action
					if e.FailedBuild != "" && builds[e.FailedBuild] != nil {
						t.output.WriteString(builds[e.FailedBuild].String())
					}
				}
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return tally, fmt.Errorf("read go test -json: %w", err)
		}
	}
	if len(order) == 0 {
		return tally, errors.New("read go test -json: no test ran")
	}
	relate(order, tests)
	for _, k := range order {
		tally.add(k, tests[k], out)
	}
	return tally, nil
}

// relate marks the tests and packages above each test.
func relate(order []goKey, tests map[goKey]*goTest) {
	for _, k := range order {
		// A test that never ended was running when its package died.
		red := tests[k].ended == "fail" || tests[k].ended == ""
		for above := k; above.Test != ""; {
			if i := strings.LastIndexByte(above.Test, '/'); i >= 0 {
				above.Test = above.Test[:i]
			} else {
				above.Test = ""
			}
			if t := tests[above]; t != nil {
				t.parent = true
				t.redSub = t.redSub || red
			}
		}
	}
}

func (c *Tally) add(k goKey, t *goTest, out io.Writer) {
	switch {
	case t.ended == "fail" || t.ended == "":
		name := strings.TrimSpace(k.Package + " " + k.Test)
		if !t.redSub {
			c.Failed++
			fmt.Fprintf(out, "--- failed: %s\n%s", name, t.output.String())
		} else if words := says(t.output.String()); words != "" {
			// The subtest counts. The stack of its panic is printed here.
			fmt.Fprintf(out, "--- above it: %s\n%s", name, words)
		}
	case t.parent || k.Test == "":
	case t.ended == "skip":
		c.Skipped++
	default:
		c.Passed++
	}
}

// says is what output tells beyond the frame that the testing package puts
// around each test.
func says(output string) string {
	var words strings.Builder
	for line := range strings.Lines(output) {
		switch {
		case strings.TrimSpace(line) == "":
		case strings.HasPrefix(line, "=== "), strings.HasPrefix(line, "--- "), strings.HasPrefix(line, "FAIL"):
		default:
			words.WriteString(line)
		}
	}
	return words.String()
}
