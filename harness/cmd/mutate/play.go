package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness/record"
)

// The suite's own variables and default; see package harness, which this program
// does not import: it only starts it.
const (
	envMutant     = "MUTANT"
	envOut        = "HALFOPEN_OUT"
	envRoot       = "HALFOPEN_ROOT"
	envRun        = "HALFOPEN_RUN"
	defaultTarget = "scenarios/targets/tunnel.yaml"
)

// Attempt is what came of one story.
type Attempt struct {
	Focus    string         `json:"focus"`
	Spec     string         `json:"spec,omitempty"` // its full name
	Verdict  record.Verdict `json:"verdict"`        // of the whole run
	Reason   string         `json:"reason,omitempty"`
	Where    string         `json:"where,omitempty"`
	Why      string         `json:"why,omitempty"`
	Seconds  float64        `json:"seconds"`
	Tries    int            `json:"tries"`
	Earlier  string         `json:"earlier,omitempty"` // why the try before was INCONCLUSIVE
	judgings []record.Judgement
}

// playTime bounds one story: everything that it does is bounded, this is for what
// should not happen.
const playTime = 5 * time.Minute

// play runs the stories that focus names with d planted; the run's folder, and what
// Ginkgo printed, go to the folder out. An error says that nothing was judged.
func (r *runner) play(ctx context.Context, d Definition, focus, out string) (Attempt, error) {
	began := time.Now()
	a := Attempt{Focus: focus, Verdict: record.Inconclusive}
	fail := func(err error) (Attempt, error) {
		return a, fmt.Errorf("play %q: %w", focus, err)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fail(err)
	}
	file, err := r.target(d, out)
	if err != nil {
		return fail(err)
	}
	said, err := os.Create(filepath.Join(out, "ginkgo.log"))
	if err != nil {
		return fail(err)
	}
	cmd := exec.Command(r.ginkgo, "--no-color", "--focus="+focus, "--timeout="+playTime.String(), r.suite, "--", "-target="+file)
	cmd.Dir = r.module
	cmd.Env = append(os.Environ(), envMutant+"="+d.Name, envOut+"="+out, envRoot+"="+r.module, envRun+"=", "TMPDIR="+r.temp)
	cmd.Stdout, cmd.Stderr = said, said
	err = wait(ctx, cmd)
	a.Seconds = time.Since(began).Seconds()
	if closed := said.Close(); closed != nil {
		return fail(closed)
	}
	if ctx.Err() != nil {
		return fail(errors.New("interrupted"))
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return fail(err)
	}
	// Ginkgo fails on every verdict but PASS: the record says which.
	run := filepath.Join(out, "latest")
	if err := a.read(run); err != nil {
		text, readErr := os.ReadFile(said.Name())
		if readErr != nil {
			return fail(errors.Join(err, readErr))
		}
		return fail(fmt.Errorf("no story was judged: %w; Ginkgo said: %s", err, tail(string(text))))
	}
	return a, nil
}

// read reads what the run in the folder dir came to.
func (a *Attempt) read(dir string) error {
	summary, err := readSummary(dir)
	if err != nil {
		return err
	}
	events, err := record.Read(dir)
	if err != nil {
		return err
	}
	a.Verdict, a.Reason = summary.Verdict, summary.Reason
	for _, e := range events {
		if e.Begin != nil {
			a.Spec = e.Begin.Name
		}
		if e.Verdict != nil {
			a.judgings = append(a.judgings, *e.Verdict)
			if e.Verdict.Verdict == summary.Verdict {
				a.Where, a.Why = e.Verdict.Where, e.Verdict.Why
			}
		}
	}
	return nil
}

// wait runs a command in a process group of its own: Ctrl-C is ours to handle. The
// group is told to end when ctx is over, and made to when the command has, or some
// time later.
func wait(ctx context.Context, cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	over := ctx.Done()
	var late <-chan time.Time
	for {
		signal := unix.SIGINT
		select {
		case err := <-done:
			if ctx.Err() != nil { // what does not heed signals stays behind
				err = errors.Join(err, signalGroup(cmd, unix.SIGKILL))
			}
			return err
		case <-over:
			over, late = nil, time.After(patience)
		case <-late:
			signal, late = unix.SIGKILL, nil
		}
		if err := signalGroup(cmd, signal); err != nil {
			return errors.Join(err, cmd.Process.Kill(), <-done)
		}
	}
}

// signalGroup signals a command's process group; one that is gone is no error.
func signalGroup(cmd *exec.Cmd, s syscall.Signal) error {
	if err := unix.Kill(-cmd.Process.Pid, s); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal %s: %w", cmd.Path, err)
	}
	return nil
}

// patience is how long a suite that was interrupted may heal and clean up.
const patience = 15 * time.Second

// target is the file of d's target. With variables to add, it is a copy in the
// folder dir that has them.
func (r *runner) target(d Definition, dir string) (string, error) {
	file := d.Target
	if file == "" {
		file = defaultTarget
	}
	file = filepath.Join(r.module, file)
	if len(d.Env) == 0 {
		return file, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read target: %w", err)
	}
	whole := map[string]any{}
	if err := yaml.Unmarshal(text, &whole); err != nil {
		return "", fmt.Errorf("read target %s: %w", file, err)
	}
	env, _ := whole["env"].(map[string]any) // nil without one
	if env == nil {
		env = map[string]any{}
	}
	for key, value := range d.Env {
		env[key] = value
	}
	whole["env"] = env
	if text, err = yaml.Marshal(whole); err != nil {
		return "", fmt.Errorf("copy target %s: %w", file, err)
	}
	to := filepath.Join(dir, filepath.Base(file))
	if err := os.WriteFile(to, text, 0o644); err != nil {
		return "", fmt.Errorf("copy target: %w", err)
	}
	return to, nil
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
