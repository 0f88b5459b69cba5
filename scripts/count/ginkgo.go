package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/onsi/ginkgo/v2/types"
)

// Ginkgo counts the specs of a report that ginkgo --json-report wrote. A spec
// that Skip ended is skipped; one that a filter left out is not counted. A
// suite's own nodes (BeforeSuite and the like) count only when they fail. A
// report in which no spec ran is an error: a filter that matches nothing must
// not pass.
func Ginkgo(in io.Reader, out io.Writer) (Tally, error) {
	var reports []types.Report
	if err := json.NewDecoder(in).Decode(&reports); err != nil {
		return Tally{}, fmt.Errorf("read ginkgo report: %w", err)
	}
	var tally Tally
	for _, report := range reports {
		for _, spec := range report.SpecReports {
			tally.addSpec(spec, out)
		}
		if tally.Failed == 0 && !report.SuiteSucceeded {
			tally.Failed++
			fmt.Fprintf(out, "--- failed: suite %s: %v\n", report.SuiteDescription, report.SpecialSuiteFailureReasons)
		}
	}
	if tally == (Tally{}) {
		return tally, errors.New("read ginkgo report: no spec ran")
	}
	return tally, nil
}

func (c *Tally) addSpec(spec types.SpecReport, out io.Writer) {
	isSpec := spec.LeafNodeType.Is(types.NodeTypeIt)
	switch {
	case spec.State.Is(types.SpecStateFailureStates):
		c.Failed++
		name := spec.FullText()
		if name == "" {
			name = spec.LeafNodeType.String()
		}
		fmt.Fprintf(out, "--- failed: %s [%s]\n%s\n%s\n%s", name, spec.State,
			spec.Failure.Location, spec.Failure.Message, spec.CombinedOutput())
		if spec.Failure.ForwardedPanic != "" {
			fmt.Fprintln(out, spec.Failure.ForwardedPanic)
		}
	case !isSpec:
	case spec.State.Is(types.SpecStatePassed):
		c.Passed++
	case spec.State.Is(types.SpecStatePending), spec.Failure.Message != "":
		c.Skipped++
	}
}
