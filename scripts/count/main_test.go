package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onsi/ginkgo/v2/types"
)

// testdata/go.jsonl is the output of a run with a test of every end: passed,
// skipped, a red subtest beside a green one, a package that does not build, one
// whose TestMain fails, one that panics, one without tests.
func TestGo(t *testing.T) {
	in, err := os.Open("testdata/go.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var out strings.Builder
	tally, err := Go(in, &out)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Tally{Passed: 3, Failed: 4, Skipped: 1}); tally != want {
		t.Errorf("tally %+v, want %+v", tally, want)
	}
	for _, want := range []string{"m/a TestTree/red", "it is red", "undefined: undefined", "left a goroutine", "panic: boom", "d_test.go:3"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output lacks %q", want)
		}
	}
	for _, noise := range []string{"quiet please", "TestTree/green", "no test files"} {
		if strings.Contains(out.String(), noise) {
			t.Errorf("output has %q, and that did not fail", noise)
		}
	}
}

func TestGoEnds(t *testing.T) {
	const killed = `{"Action":"start","Package":"m"}
{"Action":"run","Package":"m","Test":"TestHangs"}
{"Action":"output","Package":"m","Test":"TestHangs","Output":"=== RUN   TestHangs\n"}
{"Action":"output","Package":"m","Output":"signal: killed\n"}
{"Action":"fail","Package":"m","Elapsed":1}
`
	for _, c := range []struct {
		name, in string
		want     Tally
		fails    bool
		prints   string
	}{
		{"a killed package", killed, Tally{Failed: 1}, false, "signal: killed"},
		{"output cut off", killed[:strings.Index(killed, `{"Action":"output","Package":"m","Output"`)], Tally{Failed: 1}, false, "m TestHangs"},
		{"words of the go command", "go: no such tool\n", Tally{}, true, "go: no such tool"},
		{"nothing", "", Tally{}, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			tally, err := Go(strings.NewReader(c.in), &out)
			if tally != c.want || (err != nil) != c.fails || !strings.Contains(out.String(), c.prints) {
				t.Errorf("tally %+v, error %v, output %q", tally, err, out.String())
			}
		})
	}
}

func spec(state types.SpecState, failure string) types.SpecReport {
	return types.SpecReport{
		LeafNodeType: types.NodeTypeIt, LeafNodeText: "spec " + state.String(), State: state,
		Failure: types.Failure{Message: failure}, CapturedGinkgoWriterOutput: "written by " + state.String(),
	}
}

func TestGinkgo(t *testing.T) {
	setUp := spec(types.SpecStatePassed, "")
	setUp.LeafNodeType = types.NodeTypeBeforeSuite
	badSetUp := spec(types.SpecStatePanicked, "set-up died")
	badSetUp.LeafNodeType, badSetUp.LeafNodeText = types.NodeTypeBeforeSuite, ""
	passed, filtered := spec(types.SpecStatePassed, ""), spec(types.SpecStateSkipped, "")
	for _, c := range []struct {
		name      string
		succeeded bool
		specs     types.SpecReports
		want      Tally
		fails     bool
		prints    []string
	}{
		{"all ends", false, types.SpecReports{setUp, passed, passed, filtered, spec(types.SpecStateSkipped, "no netem"),
			spec(types.SpecStatePending, ""), spec(types.SpecStateFailed, "LEAK: fd 7"), spec(types.SpecStateTimedout, "too slow")},
			Tally{2, 2, 2}, false, []string{"LEAK: fd 7", "written by failed", "too slow"}},
		{"set-up fails", false, types.SpecReports{badSetUp, filtered}, Tally{Failed: 1}, false, []string{"BeforeSuite", "set-up died"}},
		{"suite fails by itself", false, types.SpecReports{passed}, Tally{Passed: 1, Failed: 1}, false, []string{"suite scenarios"}},
		{"filter matches nothing", true, types.SpecReports{setUp, filtered}, Tally{}, true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var in, out bytes.Buffer
			report := types.Report{SuiteDescription: "scenarios", SuiteSucceeded: c.succeeded, SpecReports: c.specs}
			if err := json.NewEncoder(&in).Encode([]types.Report{report}); err != nil {
				t.Fatal(err)
			}
			tally, err := Ginkgo(&in, &out)
			if tally != c.want || (err != nil) != c.fails {
				t.Errorf("tally %+v, error %v; want %+v, error %t", tally, err, c.want, c.fails)
			}
			for _, want := range c.prints {
				if !strings.Contains(out.String(), want) {
					t.Errorf("output lacks %q:\n%s", want, out.String())
				}
			}
			if strings.Contains(out.String(), "written by passed") {
				t.Error("output has what a passing spec wrote")
			}
		})
	}
}

func TestRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "count")
	in := `{"Action":"pass","Package":"m","Test":"TestA"}` + "\n"
	if _, err := run([]string{"-o", file, "go"}, strings.NewReader(in), io.Discard); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != "1 0 0\n" {
		t.Errorf("count file has %q, error %v", got, err)
	}
	for _, args := range [][]string{{}, {"ginkgo"}, {"ginkgo", "missing.json"}, {"junit", "x"}, {"-x"}} {
		if _, err := run(args, strings.NewReader(in), io.Discard); err == nil {
			t.Errorf("run %q gave no error", args)
		}
	}
}
