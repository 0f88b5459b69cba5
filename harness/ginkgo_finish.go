package harness

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"

	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/harness/target"
	"github.com/halfopen/halfopen/reports"
)

// finish runs once, in the first process, with the reports of all of them. It
// closes the record and draws the page.
func finish(report types.Report) {
	if report.PreRunStats.SpecsThatWillRun == 0 && !report.SuiteConfig.DryRun {
		finishEmpty(report)
		return
	}
	if shared.Dir == "" {
		if os.Getenv(EnvRun) == "" { // the set-up failed, and there is nothing to report on
			fmt.Printf("\nverdict=%s exit=2 report=none\n", record.Inconclusive)
		}
		return
	}
	w, err := record.Append(shared.Dir)
	if err != nil {
		ginkgo.Fail(err.Error())
	}
	reason := "done"
	write := func(e record.Event) {
		e.At = time.Now()
		if err := w.Write(e); err != nil {
			ginkgo.Fail(err.Error())
		}
	}
	for n, r := range report.SpecReports {
		if r.LeafNodeType != types.NodeTypeIt || r.State == types.SpecStatePending {
			continue
		}
		if r.State == types.SpecStateSkipped && r.Failure.Message == "" {
			continue // filtered out
		}
		if r.State == types.SpecStateInterrupted || r.State == types.SpecStateAborted {
			reason = "interrupted"
		}
		id := ""
		for _, entry := range r.ReportEntries {
			if entry.Name == specEntry {
				id = fmt.Sprint(entry.GetRawValue())
			}
		}
		if id == "" { // a spec without a World: it has no verdict of its own
			id = fmt.Sprintf("%d-s-%d", shared.Suite, n)
			s := describe(r)
			write(record.Event{Kind: record.KindBegin, Spec: id, Begin: &s})
			if v := plainVerdict(r); v != nil {
				write(record.Event{Kind: record.KindVerdict, Spec: id, Verdict: v})
			}
		}
		write(record.Event{Kind: record.KindEnd, Spec: id, End: &record.End{
			State: r.State.String(), Failure: r.Failure.Message, Duration: r.RunTime.Seconds(),
		}})
	}
	if shared.Own {
		write(record.Event{Kind: record.KindFinish, Finish: &record.Finish{Reason: reason, Duration: time.Since(shared.Began).Seconds()}})
	}
	if err := w.Close(); err != nil {
		ginkgo.Fail(err.Error())
	}
	if err := tellVerdict(); err != nil {
		ginkgo.Fail(err.Error())
	}
}

// finishEmpty fails a suite of which no spec was asked for, as a typing error in
// -focus does: Ginkgo would call it a success. It leaves a run of its own, for else
// the latest one would be another, which may have passed.
func finishEmpty(report types.Report) {
	asked := report.SuiteConfig
	err := fmt.Errorf("%s: no story matches %s", record.Inconclusive, strings.Join(slices.DeleteFunc([]string{
		told("-focus", strings.Join(asked.FocusStrings, " ")), told("-skip", strings.Join(asked.SkipStrings, " ")),
		told("--label-filter", asked.LabelFilter), told("--focus-file", strings.Join(asked.FocusFiles, " ")),
	}, func(s string) bool { return s == "" }), ", "))
	if os.Getenv(EnvRun) == "" {
		err = errors.Join(err, emptyRun())
	}
	ginkgo.Fail(err.Error())
}

func told(flag, value string) string {
	if value == "" {
		return ""
	}
	return fmt.Sprintf("%s %q", flag, value)
}

// emptyRun is the run of a suite without a spec.
func emptyRun() error {
	root, err := ModuleRoot()
	if err != nil {
		return err
	}
	file, err := targetPath(root, *targetFlag)
	if err != nil {
		return err
	}
	t, err := target.Load(file)
	if err != nil {
		return err
	}
	shared.Root, shared.Began = root, time.Now()
	mutant, name := os.Getenv(EnvMutant), runName()
	head := Head(root, name, replay("", file, mutant), mutant, ginkgo.GinkgoRandomSeed(), t)
	if shared.Dir, err = RunFolder(root, name, shared.Began); err != nil {
		return err
	}
	end := record.Event{At: time.Now(), Kind: record.KindFinish, Finish: &record.Finish{Reason: "done"}}
	if err := note(shared.Dir, []record.Event{head, end}); err != nil {
		return err
	}
	return tellVerdict()
}

// tellVerdict draws the report and, at the end of a run of its own, prints the line
// that scripts read.
func tellVerdict() error {
	summary, err := reports.Write(shared.Dir)
	if err != nil {
		return err
	}
	if os.Getenv(EnvRun) == "" {
		stay, err := IndexRuns(shared.Dir)
		if err != nil {
			fmt.Fprintln(os.Stderr, "halfopen:", err) // the run's own report is whole
		}
		if stay != "" {
			fmt.Printf("\nhalfopen: %s", stay) // behind Ginkgo's signs of progress; the verdict has a line of its own
		}
		fmt.Printf("\nverdict=%s exit=%d report=%s\n", summary.Verdict, leak.ExitCode(summary.Verdict), (&Suite{Dir: shared.Dir, Root: shared.Root}).reportPath())
	}
	return nil
}

// plainVerdict is the verdict on a spec that had no World: SKIPPED or INCONCLUSIVE
// if it says something, else none.
func plainVerdict(r types.SpecReport) *record.Judgement {
	switch {
	case r.State == types.SpecStateSkipped:
		return &record.Judgement{Verdict: record.Skipped, Reason: r.Failure.Message, Returned: -1}
	case r.State.Is(types.SpecStateFailureStates):
		return &record.Judgement{Verdict: record.Inconclusive, Reason: r.Failure.Message, Returned: -1}
	}
	return nil
}
