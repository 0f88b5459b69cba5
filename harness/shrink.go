package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/record"
)

// trialT is the T of one of several Worlds in a spec: what ends it ends the trial, and
// not the spec.
type trialT struct {
	T
	cleanups []func()
	said     string // why it ended early
}

// trialOver is what a trial panics with when it ends early.
type trialOver struct{}

func (t *trialT) Fatalf(format string, args ...any) {
	if t.said == "" {
		t.said = fmt.Sprintf(format, args...)
	}
	panic(trialOver{})
}

func (t *trialT) Skipf(format string, args ...any) { t.Fatalf(format, args...) }

func (t *trialT) Cleanup(fn func()) { t.cleanups = append(t.cleanups, fn) }

// run runs fn, and then the clean-ups, the last first.
func (t *trialT) run(fn func()) {
	guarded := func(fn func()) {
		defer func() {
			if r := recover(); r != nil && r != (trialOver{}) {
				panic(r)
			}
		}()
		fn()
	}
	guarded(fn)
	for len(t.cleanups) > 0 {
		last := t.cleanups[len(t.cleanups)-1]
		t.cleanups = t.cleanups[:len(t.cleanups)-1]
		guarded(last)
	}
}

// trial is what came of one part of a schedule.
type trial struct {
	record.ShrinkTrial
	said string
}

// shrinking makes a schedule smaller, trial by trial.
type shrinking struct {
	play  func(part fault.Schedule, name string) trial
	found record.Shrunk
}

// shrunk is the smallest part of s that is as red as all of it. A schedule that is not red
// is an error, an interruption too; what was tried until then is in found.
func (x *shrinking) shrunk(ctx context.Context, s fault.Schedule) (fault.Schedule, error) {
	x.found.Before = record.Schedule{Seed: s.Seed, Steps: Steps(s)}
	x.found.Verdict = x.try(s, "the whole").Verdict
	if !red(x.found.Verdict) {
		return s, fmt.Errorf("nothing to shrink: the whole schedule is %s", x.found.Verdict)
	}
	return fault.Shrink(s, func(part fault.Schedule, what string) (bool, error) {
		t := x.try(part, what)
		if t.Verdict == record.Inconclusive && ctx.Err() == nil {
			t = x.try(part, what+", for the machine may have stood still")
		}
		return t.Verdict == x.found.Verdict, context.Cause(ctx)
	})
}

// red are the verdicts that blame the target.
func red(v record.Verdict) bool {
	return v == record.Leak || v == record.Late || v == record.Dead
}

// try plays one part, and prints its line.
func (x *shrinking) try(part fault.Schedule, what string) trial {
	began := time.Now()
	n := len(x.found.Trials) + 1
	t := x.play(part, fmt.Sprintf("trial %d: %s", n, what))
	t.Steps, t.What, t.Took = len(part.Steps), what, time.Since(began).Seconds()
	t.Red = red(t.Verdict) && t.Verdict == x.verdict(t.Verdict)
	x.found.Trials = append(x.found.Trials, t.ShrinkTrial)
	fmt.Fprintf(os.Stdout, "shrink: trial %d: %d steps, %s: %s (%.0f s) %s\n", n, t.Steps, what, t.Verdict, t.Took, t.said)
	return t
}

// verdict is the one that parts must come to; the first trial sets it.
func (x *shrinking) verdict(first record.Verdict) record.Verdict {
	if x.found.Verdict == "" {
		return first
	}
	return x.found.Verdict
}

// brief is where the holder is, or else the first line, of what a failed story says.
func brief(said string) string {
	first, rest, _ := strings.Cut(said, "\n")
	for line := range strings.Lines(rest) {
		if where, ok := strings.CutPrefix(strings.TrimSpace(line), "where: "); ok {
			return where
		}
	}
	if _, after, ok := strings.Cut(first, ": "); ok {
		first = after
	}
	return first
}

// store writes both schedules beside the record.
func (x *shrinking) store(dir string, before, after fault.Schedule) error {
	x.found.Before.File, x.found.After.File = "schedule-whole.yaml", "schedule-shrunk.yaml"
	return errors.Join(before.Write(filepath.Join(dir, x.found.Before.File)), after.Write(filepath.Join(dir, x.found.After.File)))
}
