package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness/record"
)

// errMissed says that a planted leak was not caught; the table says which.
var errMissed = errors.New("not every planted leak was caught")

func runCommand() *cobra.Command {
	var jobs int
	cmd := &cobra.Command{
		Use:   "run [NAME...]",
		Short: "Plant each leak, or those named, run its stories, and see whether it is caught",
		Long: `Plant each leak, or those named, and run the stories that must catch it and the one
that must miss it. A leak is caught if they come to the expected verdict and name
the holder. A run that is INCONCLUSIVE is done once more.

Prints a table and writes reports/mutants/latest.json. What a leak that was not
caught left behind is kept in reports/mutants/NAME.

Exit status: 0 every leak was caught by all of them, and missed by the other;
1 otherwise; 2 usage or set-up. Ctrl-C ends it, and leaves latest.json as it was.`,
		RunE: func(cmd *cobra.Command, names []string) error {
			if jobs < 1 {
				return errors.New("--jobs must be at least 1")
			}
			module, err := findModule()
			if err != nil {
				return err
			}
			chosen, err := choose(filepath.Join(module, definitions), names)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM)
			defer stop()
			return runAll(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr(), module, chosen, jobs)
		},
	}
	cmd.Flags().IntVar(&jobs, "jobs", 2, "mutants that run at once")
	return cmd
}

// choose reads the definitions with these names; all of them without names.
func choose(dir string, names []string) ([]Definition, error) {
	if len(names) == 0 {
		return ReadDefinitions(dir)
	}
	var chosen []Definition
	for _, name := range names {
		d, err := FindDefinition(dir, name)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, d)
	}
	return chosen, nil
}

// runner runs stories on targets with a leak planted.
type runner struct {
	module string // folder of the main module
	temp   string // goes with the run
	ginkgo string // path of Ginkgo's own program
	suite  string // the compiled scenarios
}

// runAll runs the chosen mutants, jobs at a time, and prints and writes the results.
func runAll(ctx context.Context, out, progress io.Writer, module string, chosen []Definition, jobs int) (err error) {
	began := time.Now()
	r := &runner{module: module}
	if r.temp, err = os.MkdirTemp("", "halfopen-mutants-"); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() {
		if failed := os.RemoveAll(r.temp); err == nil {
			err = failed
		}
	}()
	if err := r.prepare(ctx); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted: %w", errMissed)
		}
		return err
	}
	results := make([]Result, len(chosen))
	var workers sync.WaitGroup
	var printing sync.Mutex
	turns := make(chan int)
	for range min(jobs, len(chosen)) {
		workers.Go(func() {
			for i := range turns {
				results[i] = r.mutant(ctx, chosen[i])
				printing.Lock()
				fmt.Fprintln(progress, "mutate: "+results[i].line())
				printing.Unlock()
			}
		})
	}
	for i := range chosen {
		if ctx.Err() != nil {
			results[i] = Result{Definition: chosen[i], Error: "not run"}
			continue
		}
		select {
		case turns <- i:
		case <-ctx.Done():
			results[i] = Result{Definition: chosen[i], Error: "not run"}
		}
	}
	close(turns)
	workers.Wait()
	printTable(out, results)
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w", errMissed)
	}
	report := reportOf(results, began, time.Since(began))
	if err := report.write(filepath.Join(module, reportFile)); err != nil {
		return err
	}
	fmt.Fprintf(out, "score %.2f: %d caught, %d survived, %d equivalent; %.0f s; %s\n",
		report.Score, report.Caught, report.Survived, report.Equivalent, report.Seconds, reportFile)
	if !report.ok() {
		return errMissed
	}
	return nil
}

// prepare compiles the stories.
func (r *runner) prepare(ctx context.Context) error {
	tool, err := r.goTool(ctx, "tool", "-n", "ginkgo")
	if err != nil {
		return err
	}
	r.ginkgo = strings.TrimSpace(tool)
	r.suite = filepath.Join(r.temp, "scenarios.test")
	_, err = r.goTool(ctx, "test", "-c", "-o", r.suite, "./scenarios")
	return err
}

// goTool runs the go command in the main module and returns what it printed.
func (r *runner) goTool(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = r.module
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return string(out), nil
}

// mutant runs the stories of one definition.
func (r *runner) mutant(ctx context.Context, d Definition) Result {
	began := time.Now()
	result := Result{Definition: d}
	var failed error
	result.Story, failed = r.again(ctx, d, story, d.Focus)
	for i, focus := range d.Also {
		if failed != nil {
			break
		}
		var a Attempt
		a, failed = r.again(ctx, d, fmt.Sprintf("also-%d", i+1), focus)
		result.Also = append(result.Also, a)
	}
	result.judge()
	if failed == nil && d.Misses != "" {
		var a Attempt
		a, failed = r.again(ctx, d, without, d.Misses)
		result.Without, result.Missed = &a, missed(d, a)
	}
	if failed != nil {
		result.Error = failed.Error()
	}
	result.Seconds = time.Since(began).Seconds()
	if !result.ok() && ctx.Err() == nil {
		if err := r.keep(d); err != nil {
			result.Error = errors.Join(failed, err).Error()
		}
	}
	return result
}

// The folders of a mutant's two stories; those that must catch it too have a number.
const (
	story   = "story"
	without = "without"
)

// again plays a story, and once more if it is INCONCLUSIVE: the machine may have
// stood still.
func (r *runner) again(ctx context.Context, d Definition, what, focus string) (Attempt, error) {
	var a Attempt
	var earlier string
	for try := 1; ; try++ {
		out := filepath.Join(r.temp, d.Name, what)
		if err := os.RemoveAll(out); err != nil {
			return a, fmt.Errorf("make a folder: %w", err)
		}
		var err error
		a, err = r.play(ctx, d, focus, out)
		a.Tries, a.Earlier = try, earlier
		if err != nil || a.Verdict != record.Inconclusive || what == without && missed(d, a) || try == tries || ctx.Err() != nil {
			return a, err
		}
		earlier = a.Reason
	}
}

// tries of one story.
const tries = 2

// keep moves what the runs of a mutant left into reports/mutants/NAME.
func (r *runner) keep(d Definition) error {
	to := filepath.Join(r.module, filepath.Dir(reportFile), d.Name)
	if err := os.RemoveAll(to); err != nil {
		return fmt.Errorf("keep the runs of %s: %w", d.Name, err)
	}
	if err := os.CopyFS(to, os.DirFS(filepath.Join(r.temp, d.Name))); err != nil {
		return fmt.Errorf("keep the runs of %s: %w", d.Name, err)
	}
	return nil
}
