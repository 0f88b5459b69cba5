package harness

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	"github.com/onsi/gomega"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/harness/target"
	"github.com/halfopen/halfopen/reports"
)

// This file, ginkgo_finish.go and ginkgo_schedule.go alone know Ginkgo.

var targetFlag = flag.String("target", "", "the YAML `FILE` of the system under test (default "+DefaultTarget+" of the main module)")

var evidenceFlag = flag.String("evidence", EvidenceShort, "what is kept of a spec that does not pass: none, short, or `full` (whole packets and the keys of TLS)")

// Main is the TestMain of a suite of scenarios: it enters the sandbox and runs the
// tests there.
func Main(m *testing.M) {
	if err := lab.Sandbox(); err != nil {
		fmt.Fprintln(os.Stderr, "halfopen:", err)
		os.Exit(2)
	}
	code := m.Run()
	if unprepared {
		code = 2
	}
	os.Exit(code)
}

// unprepared says that the set-up has failed: no spec has run in this process.
var unprepared bool

// failSetUp ends a suite before its first spec, in one line.
func failSetUp(err error) {
	ginkgo.GinkgoHelper()
	unprepared = true
	ginkgo.Fail("set-up: " + err.Error())
}

// suite is this process's; set before any spec runs.
var suite *Suite

// Scenarios prepares a Ginkgo suite for Worlds and runs it: the target is built
// once, every spec writes into one record, and the report is drawn at the end.
// Call it from the suite's one test function.
func Scenarios(t *testing.T, name string) {
	gomega.RegisterFailHandler(ginkgo.Fail)
	ginkgo.RunSpecs(t, name)
}

// setUp is what the first process tells the others.
type setUp struct {
	Dir, Target, Root, Temp string
	Bins                    map[string]string
	Began                   time.Time
	Own                     bool // the run folder was made here, and ends here
	Suite                   int  // of this run, from 1: a run may play several, one after the other
}

var shared setUp

// Prepare registers the nodes around a suite's specs. Call it once, at the top
// level of the suite's package: var _ = harness.Prepare().
func Prepare() bool {
	ginkgo.SynchronizedBeforeSuite(func(ctx ginkgo.SpecContext) []byte {
		remember()
		s, err := prepare(ctx)
		if err != nil {
			failSetUp(err)
		}
		text, err := json.Marshal(s)
		if err != nil {
			failSetUp(err)
		}
		return text
	}, func(text []byte) {
		remember()
		if err := json.Unmarshal(text, &shared); err != nil {
			failSetUp(err)
		}
		suite = &Suite{Dir: shared.Dir, Root: shared.Root, Bins: shared.Bins, Seed: ginkgo.GinkgoRandomSeed(), Mutant: os.Getenv(EnvMutant), Evidence: *evidenceFlag}
		if err := suite.open(shared.Target); err != nil {
			failSetUp(err)
		}
	}, ginkgo.NodeTimeout(5*time.Minute))
	ginkgo.SynchronizedAfterSuite(func() {
		if err := expectNothingLeft(); err != nil {
			ginkgo.Fail(err.Error())
		}
	}, func() {
		if shared.Temp != "" {
			if err := os.RemoveAll(shared.Temp); err != nil {
				ginkgo.Fail("clean up: " + err.Error())
			}
		}
	})
	ginkgo.ReportAfterSuite("leak report", finish)
	return true
}

// prepare runs in the first process only.
func prepare(ctx ginkgo.SpecContext) (s setUp, err error) {
	if s.Root, err = ModuleRoot(); err != nil {
		return s, err
	}
	shared.Root = s.Root
	if s.Target, err = targetPath(s.Root, *targetFlag); err != nil {
		return s, err
	}
	if _, err := reports.Keep(); err != nil {
		return s, err
	}
	if err := CheckEvidence(*evidenceFlag); err != nil {
		return s, err
	}
	if *scheduleFlag != "" {
		if _, err := readSchedule(s.Root, *scheduleFlag); err != nil {
			return s, err
		}
	}
	t, err := target.Load(s.Target)
	if err != nil {
		return s, err
	}
	if err := lab.Check(); err != nil {
		return s, err
	}
	if s.Temp, err = os.MkdirTemp("", "halfopen-"); err != nil {
		return s, err
	}
	mutant := os.Getenv(EnvMutant)
	if s.Bins, err = t.Compile(ctx, s.Root, s.Temp, mutant); err != nil {
		return s, err
	}
	s.Began = time.Now()
	check := selfCheck(ctx, s.Root, s.Temp)
	events := []record.Event{{At: time.Now(), Kind: record.KindCheck, Check: &check}}
	s.Suite = 1
	if s.Dir = os.Getenv(EnvRun); s.Dir != "" {
		before, err := record.Read(s.Dir)
		if err != nil {
			return s, err
		}
		for _, e := range before {
			if e.Check != nil { // each suite has one
				s.Suite++
			}
		}
		return s, note(s.Dir, events)
	}
	s.Own = true
	name := runName()
	// The head first, for it takes a while: no folder is there without one. Nor is
	// one made for a suite that was interrupted.
	head := Head(s.Root, name, replay("", s.Target, mutant), mutant, ginkgo.GinkgoRandomSeed(), t)
	if ctx.Err() != nil {
		return s, context.Cause(ctx)
	}
	if s.Dir, err = RunFolder(s.Root, name, s.Began); err != nil {
		return s, err
	}
	shared = s // finish has to know of the folder, whatever comes between
	return s, note(s.Dir, append([]record.Event{head}, events...))
}

// runName is the name of a run of the suite's own.
func runName() string {
	if name := os.Getenv(EnvName); name != "" {
		return name
	}
	return "scenarios"
}

// note appends events to the record in a run's folder.
func note(dir string, events []record.Event) error {
	w, err := record.Append(dir)
	if err != nil {
		return err
	}
	for _, e := range events {
		if err := w.Write(e); err != nil {
			return errors.Join(err, w.Close())
		}
	}
	return w.Close()
}

// targetPath finds the target's file as its user wrote it: from the working folder
// (Ginkgo runs a suite in the suite's own) or from the main module.
func targetPath(root, file string) (string, error) {
	if file == "" {
		file = filepath.Join(root, DefaultTarget)
	}
	if _, err := os.Stat(file); err != nil && !filepath.IsAbs(file) {
		if inRoot := filepath.Join(root, file); statable(inRoot) {
			file = inRoot
		}
	}
	return filepath.Abs(file)
}

func statable(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// suiteFlags are those of the stories themselves that change what they do.
var suiteFlags = []string{"soak", "labs", "shrink", "schedule", "steps", "matrix", "sweep"}

// replay is the command that runs the spec with this text again; for "" all that
// this run was asked for.
func replay(text, target, mutant string) string {
	asked, _ := ginkgo.GinkgoConfiguration() // the other half is about printing
	return replayAsked(asked, text, target, mutant)
}

// replayAsked is replay of a suite that was asked for so.
func replayAsked(asked types.SuiteConfig, text, target, mutant string) string {
	var b strings.Builder
	if mutant != "" {
		fmt.Fprintf(&b, "%s=%s ", EnvMutant, mutant)
	}
	fmt.Fprintf(&b, "go tool ginkgo --seed=%d", asked.RandomSeed)
	// What may take longer than Ginkgo grants by itself, an hour, may do so again. The suite
	// is told what was left of its time when it began.
	if asked.Timeout > types.NewDefaultSuiteConfig().Timeout {
		fmt.Fprintf(&b, " --timeout=%s", (asked.Timeout + time.Minute - 1).Truncate(time.Minute))
	}
	if text != "" {
		fmt.Fprintf(&b, " -focus %q", regexp.QuoteMeta(text))
	} else {
		if asked.ParallelTotal > 1 {
			fmt.Fprintf(&b, " -procs=%d", asked.ParallelTotal)
		}
		if asked.LabelFilter != "" {
			fmt.Fprintf(&b, " --label-filter=%q", asked.LabelFilter)
		}
		for _, focus := range asked.FocusStrings {
			fmt.Fprintf(&b, " -focus %q", focus)
		}
	}
	b.WriteString(" ./scenarios")
	var own []string
	if rel := relative(shared.Root, target); rel != DefaultTarget {
		own = append(own, "-target="+rel)
	}
	for _, name := range suiteFlags {
		if f := flag.Lookup(name); f != nil && f.Value.String() != f.DefValue {
			own = append(own, "-"+name+"="+f.Value.String())
		}
	}
	if own != nil {
		b.WriteString(" -- " + strings.Join(own, " "))
	}
	return b.String()
}

// specs counts the Worlds of this process.
var specs atomic.Int64

// specEntry is the report entry that ties Ginkgo's account of a spec to the
// record's.
const specEntry = "halfopen spec"

// New builds a World for the running spec: the lab of the topology, the target on
// it, warmed up and quiescent. It is taken down when the spec ends.
func New(ctx ginkgo.SpecContext, topology lab.Topology) *World {
	ginkgo.GinkgoHelper()
	r := ginkgo.CurrentSpecReport()
	id := nextID()
	ginkgo.AddReportEntry(specEntry, id, ginkgo.ReportEntryVisibilityNever)
	return newWorld(ctx, ginkgoT{}, suite, describe(r), id, topology)
}

// nextID is the ID of one more spec in the record.
func nextID() string {
	return fmt.Sprintf("%d-%d-%d", shared.Suite, ginkgo.GinkgoParallelProcess(), specs.Add(1))
}

// describe is the record's form of a spec.
func describe(r types.SpecReport) record.Spec {
	s := record.Spec{
		Name: r.FullText(), Suite: "catalogue", File: relative(shared.Root, r.FileName()), Line: r.LineNumber(),
		Labels: r.Labels(), Replay: replay(r.FullText(), shared.Target, os.Getenv(EnvMutant)),
	}
	for _, l := range s.Labels {
		if l == "soak" {
			s.Suite = "soak"
		}
	}
	return s
}

// relative is path as seen from root, if it lies inside.
func relative(root, path string) string {
	if rel, err := filepath.Rel(root, path); err == nil && !strings.HasPrefix(rel, "..") {
		return rel
	}
	return path
}

// ginkgoT is Ginkgo as a T.
type ginkgoT struct{}

func (ginkgoT) Helper() { types.MarkAsHelper(1) }

func (ginkgoT) Logf(format string, args ...any) {
	fmt.Fprintf(ginkgo.GinkgoWriter, format+"\n", args...)
}

func (ginkgoT) Fatalf(format string, args ...any) {
	ginkgo.GinkgoHelper()
	ginkgo.Fail(fmt.Sprintf(format, args...))
}

func (ginkgoT) Skipf(format string, args ...any) {
	ginkgo.GinkgoHelper()
	ginkgo.Skip(fmt.Sprintf(format, args...))
}

func (ginkgoT) Cleanup(fn func()) { ginkgo.DeferCleanup(fn) }
