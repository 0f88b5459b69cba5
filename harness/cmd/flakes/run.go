package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/harness/target"
)

// patience is how long a run that was interrupted may heal and clean up.
const patience = 15 * time.Second

// runTime bounds one run of the catalogue: everything in it is bounded, this is for
// what should not happen.
const runTime = 15 * time.Minute

// catalogue is the stories, compiled, and where their runs go.
type catalogue struct {
	options
	root, temp    string
	ginkgo, suite string // programs
	base          string // reports/flakes
	count         count
}

// run does all, and returns the exit status.
func (o options) run(ctx context.Context, root string, out io.Writer) (status int, err error) {
	temp, err := lab.MakeTemp("halfopen-flakes-")
	if err != nil {
		return usage, err
	}
	defer func() { err = errors.Join(err, temp.Remove()) }()
	c := &catalogue{options: o, root: root, temp: temp.Path, base: filepath.Join(root, "reports", "flakes")}
	fmt.Fprintln(out, "flakes: building")
	if err := c.build(ctx); err != nil {
		if ctx.Err() != nil {
			return inconclusive, nil // nothing has begun
		}
		return usage, err
	}
	said, err := c.count.resume(c.base)
	if err != nil {
		return usage, err
	}
	fmt.Fprintf(out, "flakes: %s\n", said)
	for n := 1; n <= o.runs && ctx.Err() == nil; n++ {
		r, err := c.once(ctx)
		switch {
		case ctx.Err() != nil:
			fmt.Fprintf(out, "flakes: interrupted in run %d of %d, which does not count\n", n, o.runs)
			continue
		case err != nil:
			return usage, err
		}
		c.count.Runs = append(c.count.Runs, r)
		if err := c.count.store(c.base); err != nil {
			return usage, err
		}
		fmt.Fprintln(out, r.line(n, o.runs, c.count.summary().tally))
	}
	s := c.count.summary()
	for _, line := range s.lines() {
		fmt.Fprintln(out, line)
	}
	switch {
	case s.bad() > 0:
		return failed, nil
	case s.judged() == 0:
		return inconclusive, nil
	}
	return 0, nil
}

// line tells one run.
func (r run) line(n, of int, t tally) string {
	text := fmt.Sprintf("run %3d of %d  %-11s  %d judged, %d skipped, %5.1f s", n, of, r.Class, r.Specs, r.Skipped, r.Duration)
	if r.Hogs > 0 {
		text += fmt.Sprintf(", %d hogs", r.Hogs)
	}
	text += fmt.Sprintf("  | %d in %d", t.bad(), t.judged())
	if r.What != "" {
		text += "\n           " + r.What
	}
	if r.Folder != "" {
		text += "\n           kept: " + r.Folder
	}
	return text
}

// build compiles the stories and the target's programs, and makes the key of the
// count from what came out, and from the target's file.
func (c *catalogue) build(ctx context.Context) error {
	file := c.target
	if file == "" {
		file = filepath.Join(c.root, harness.DefaultTarget)
	}
	file, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	c.target = file
	t, err := target.Load(file)
	if err != nil {
		return err
	}
	// The commit is not part of what is compared, so no program may have it in it.
	if err := os.Setenv("GOFLAGS", strings.TrimSpace(os.Getenv("GOFLAGS")+" -buildvcs=false")); err != nil {
		return err
	}
	if c.ginkgo, err = c.tool(ctx, "go", "tool", "-n", "ginkgo"); err != nil {
		return err
	}
	c.suite = filepath.Join(c.temp, "scenarios.test")
	if _, err := c.tool(ctx, "go", "test", "-c", "-o", c.suite, "./scenarios"); err != nil {
		return err
	}
	bins, err := t.Compile(ctx, c.root, c.temp, "")
	if err != nil {
		return err
	}
	key := sha256.New()
	fmt.Fprintln(key, t.Hash, c.label)
	for _, program := range append([]string{c.suite}, slices.Sorted(maps.Values(bins))...) {
		f, err := os.Open(program)
		if err != nil {
			return err
		}
		_, err = io.Copy(key, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	commit, _ := c.tool(ctx, "git", "describe", "--always", "--dirty") // for people; not every checkout is one of git's
	c.count = count{Target: t.Name, Key: hex.EncodeToString(key.Sum(nil))[:8], Commit: commit, Label: c.label, Began: time.Now().UTC().Truncate(time.Second)}
	return nil
}

// tool runs a program in the main module and returns what it printed.
func (c *catalogue) tool(ctx context.Context, name string, args ...string) (string, error) {
	var said strings.Builder
	cmd := child(ctx, c.root, name, args...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.Join(strings.Fields(said.String()), " "))
	}
	return strings.TrimSpace(string(out)), nil
}

// child is a command in a process group of its own, which the end of ctx
// interrupts, and which dies with this program.
func child(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGINT) }
	cmd.WaitDelay = patience
	return cmd
}

// once is one run of the catalogue. An error says that no run came about.
func (c *catalogue) once(ctx context.Context) (r run, err error) {
	endHogs, err := startHogs(c.hogs)
	if err != nil {
		return r, err
	}
	defer endHogs()
	r = run{At: time.Now().UTC().Truncate(time.Second), Hogs: c.hogs}
	began := time.Now()
	into, err := os.MkdirTemp(c.temp, "run-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(into)) }()
	log := filepath.Join(into, "ginkgo.log")
	said, err := os.Create(log)
	if err != nil {
		return r, err
	}
	cmd := child(ctx, c.root, c.ginkgo, "--no-color", "--procs="+strconv.Itoa(c.procs), "--label-filter="+c.label,
		"--timeout="+runTime.String(), c.suite, "--", "-target="+c.target)
	cmd.Env = append(os.Environ(), harness.EnvOut+"="+into, harness.EnvName+"=catalogue", harness.EnvRoot+"="+c.root,
		harness.EnvRun+"=", harness.EnvMutant+"=", "TMPDIR="+c.temp)
	cmd.Stdout, cmd.Stderr = said, said
	err = cmd.Run()
	if closed := said.Close(); closed != nil {
		return r, closed
	}
	r.Duration = time.Since(began).Seconds()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return r, context.Cause(ctx)
	case err != nil && !errors.As(err, &exit):
		return r, fmt.Errorf("run the catalogue: %w", err)
	}
	dir, readErr := filepath.EvalSymlinks(filepath.Join(into, "latest"))
	if readErr != nil {
		text, readErr := os.ReadFile(log)
		return r, errors.Join(fmt.Errorf("run the catalogue: no story began; Ginkgo said: %s", tail(string(text))), readErr)
	}
	events, readErr := record.Read(dir)
	if readErr != nil {
		return r, readErr
	}
	r.classify(events, err == nil)
	if r.Class == clean {
		return r, nil
	}
	return r, c.keep(&r, dir, log)
}

// keep moves the folder of a run, with what Ginkgo printed, to the count's.
func (c *catalogue) keep(r *run, dir, log string) error {
	if err := os.Rename(log, filepath.Join(dir, filepath.Base(log))); err != nil {
		return fmt.Errorf("keep the run: %w", err)
	}
	to := filepath.Join(c.count.folder(c.base), r.At.Format("20060102-150405")+"-"+strings.ReplaceAll(r.Class, " ", "-"))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("keep the run: %w", err)
	}
	// Copied, for the temporary folder may lie on another file system.
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		return fmt.Errorf("keep the run: %w", err)
	}
	r.Folder = to
	if rel, err := filepath.Rel(c.root, to); err == nil {
		r.Folder = rel
	}
	return nil
}

// classify says what a run came to, from its record; passed is Ginkgo's opinion.
func (r *run) classify(events []record.Event, passed bool) {
	r.Class = clean
	order := []string{clean, starved, flake, falseAlarm}
	worse := func(class, what string) {
		if slices.Index(order, class) > slices.Index(order, r.Class) {
			r.Class, r.What = class, what
		}
	}
	names, outcomes := map[string]string{}, map[string]bool{}
	for _, e := range events {
		switch {
		case e.Begin != nil:
			names[e.Spec] = e.Begin.Name
		case e.Outcome != nil:
			outcomes[e.Spec] = true
		case e.Check != nil && !e.Check.OK:
			worse(flake, "the self-check failed: "+e.Check.Error)
		case e.Verdict != nil:
			what := fmt.Sprintf("%s: %s: %s", names[e.Spec], e.Verdict.Verdict, e.Verdict.Reason)
			r.Specs++
			switch e.Verdict.Verdict {
			case record.Pass:
			case record.Skipped:
				r.Specs, r.Skipped = r.Specs-1, r.Skipped+1
			case record.Inconclusive:
				if e.Verdict.Starved || !outcomes[e.Spec] && leak.BlamesMachine(e.Verdict.Reason) {
					worse(starved, what)
				} else {
					worse(flake, what)
				}
			default:
				worse(falseAlarm, what)
			}
		}
	}
	switch {
	case r.Specs == 0:
		worse(flake, "no story was judged")
	case !passed && r.Class == clean:
		worse(flake, "Ginkgo reports a failure that no verdict explains: see ginkgo.log")
	}
}

// tail is the end of what a program said, in one line.
func tail(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-5):], " | ")
}
