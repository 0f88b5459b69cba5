package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/harness/target"
	"github.com/halfopen/halfopen/reports"
)

// job is one run of the main job.
type job struct {
	options
	root    string // of the main module
	temp    string // compiled programs; goes with the job, however it ends
	ginkgo  string // path of Ginkgo's own program
	suite   string // the compiled scenarios
	dir     string // the run's folder
	signals chan os.Signal
	stopped bool // a signal has come
	failed  bool // a suite ended with another status than 0
}

// run does everything and returns the exit status that the verdict gives. An
// error means usage or set-up.
func (o *options) run(ctx context.Context) (int, error) {
	if err := o.check(); err != nil {
		return 0, err
	}
	j := &job{options: *o, signals: make(chan os.Signal, 4)}
	signal.Notify(j.signals, unix.SIGINT, unix.SIGTERM)
	var err error
	if j.root, err = harness.ModuleRoot(); err != nil {
		return 0, err
	}
	if j.target == "" {
		j.target = filepath.Join(j.root, harness.DefaultTarget)
	}
	if j.target, err = filepath.Abs(j.target); err != nil {
		return 0, err
	}
	t, err := target.Load(j.target)
	if err != nil {
		return 0, err
	}
	temp, err := lab.MakeTemp("halfopen-soak-")
	if err != nil {
		return 0, err
	}
	defer func() {
		if err := temp.Remove(); err != nil {
			fmt.Fprintln(os.Stderr, "soak:", err)
		}
	}()
	j.temp = temp.Path
	if err := j.prepare(); err != nil || j.stopped {
		return 3, err
	}
	// The head first, for it takes a while: no folder is there without one.
	head := harness.Head(j.root, "soak", j.again(), j.mutant, j.seed, t)
	head.Run.Require, head.Run.Shard = j.require, j.shard
	began := time.Now()
	if j.dir, err = harness.RunFolder(j.root, j.name(), began); err != nil {
		return 0, err
	}
	if err := j.note(head); err != nil {
		return 0, err
	}
	if j.catalogue {
		if err := j.play("catalogue", j.pass, "--procs="+strconv.Itoa(j.procs), "--label-filter=quick", "--timeout=30m"); err != nil {
			return 0, err
		}
	}
	if !j.stopped {
		// Everything the soak does is bounded; this is for what should not happen.
		// Each allocation is sampled: the default rate misses what leaks slowly.
		if err := os.Setenv(target.EnvGodebug, "memprofilerate=1"); err != nil {
			return 0, fmt.Errorf("set up the soak: %w", err)
		}
		if err := j.soak(); err != nil {
			return 0, err
		}
	}
	return j.finish(began)
}

// soak plays the soak, or several side by side, whose lines come through a pipe.
func (j *job) soak() error {
	if j.labs == 1 {
		return j.play("soak", j.endCycle, j.soakLine()...)
	}
	path := filepath.Join(j.temp, "progress")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return fmt.Errorf("make the pipe for progress: %w", err)
	}
	pipe, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open the pipe for progress: %w", err)
	}
	defer pipe.Close()
	hold, err := os.OpenFile(path, os.O_WRONLY, 0) // it does not end while one soak begins and another ends
	if err != nil {
		return fmt.Errorf("open the pipe for progress: %w", err)
	}
	var lines sync.WaitGroup
	lines.Go(func() { _, _ = io.Copy(os.Stdout, pipe) }) // until nobody can write; a line that is lost is no finding
	if err := os.Setenv(harness.EnvProgress, path); err != nil {
		return fmt.Errorf("set up the soak: %w", err)
	}
	err = j.play(fmt.Sprintf("soak, %d labs side by side", j.labs), j.endCycle, j.soakLine()...)
	err = errors.Join(err, hold.Close())
	lines.Wait()
	return err
}

// soakLine is what play is told of the soak: each lab has a process of its own.
func (j *job) soakLine() []string {
	line := []string{"--label-filter=soak", "--timeout=" + (j.duration + 10*time.Minute).String(), "soak=" + j.duration.String()}
	if j.labs > 1 {
		line = append(line, "--procs="+strconv.Itoa(j.labs), "labs="+strconv.Itoa(j.labs))
	}
	return line
}

// prepare compiles what is needed and rehearses once, so that what is wrong with
// the machine or the target is one line, before anything is written.
func (j *job) prepare() error {
	fmt.Println("soak: building and rehearsing")
	j.ginkgo, j.suite = filepath.Join(j.temp, ginkgoName), filepath.Join(j.temp, suiteName)
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("rehearse: %w", err)
	}
	var said bytes.Buffer
	cmd := exec.Command(self, "rehearse", "--target="+j.target, "--mutant="+j.mutant, "--into="+j.temp)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := j.wait(cmd, j.pass); err != nil && !j.stopped {
		text := strings.TrimPrefix(strings.TrimSpace(said.String()), "soak: ")
		if text == "" {
			text = err.Error()
		}
		return fmt.Errorf("set-up: %s", text)
	}
	return nil
}

// wait runs a command in the main module, in a process group of its own: Ctrl-C is
// ours to handle. The first signal goes to first, the second ends the group.
func (j *job) wait(cmd *exec.Cmd, first func(*exec.Cmd, syscall.Signal) error) error {
	cmd.Dir = j.root
	// What the command leaves in its temporary folder goes with ours.
	cmd.Env = append(os.Environ(), "TMPDIR="+j.temp, harness.EnvRoot+"="+j.root, harness.EnvRun+"="+j.dir, harness.EnvMutant+"="+j.mutant)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case err := <-done:
			return err
		case s := <-j.signals:
			handle := first
			if j.stopped {
				fmt.Println("soak: ending at once")
				handle = func(cmd *exec.Cmd, _ syscall.Signal) error { return j.pass(cmd, unix.SIGKILL) }
			}
			j.stopped = true
			if err := handle(cmd, s.(syscall.Signal)); err != nil {
				fmt.Fprintln(os.Stderr, "soak:", err)
			}
		}
	}
}

// pass sends a signal to a command's process group.
func (j *job) pass(cmd *exec.Cmd, s syscall.Signal) error {
	if err := unix.Kill(-cmd.Process.Pid, s); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("pass %v on: %w", s, err)
	}
	return nil
}

// endCycle asks the soak to end after its cycle.
func (j *job) endCycle(*exec.Cmd, syscall.Signal) error {
	fmt.Println("soak: ending after this cycle; once more to end at once")
	return harness.StopAfterCycle(j.dir)
}

// play runs the compiled scenarios once, into the run's folder; first handles the
// first signal. An argument without a leading dash is a flag of the suite itself.
func (j *job) play(name string, first func(*exec.Cmd, syscall.Signal) error, args ...string) error {
	fmt.Printf("soak: %s\n", name)
	cmd := exec.Command(j.ginkgo, j.line(args)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err := j.wait(cmd, first)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		j.failed = true // the record says why
		return nil
	}
	return err
}

// line is what Ginkgo is told: its own flags, the suite, and the suite's flags.
func (j *job) line(args []string) []string {
	line := []string{"--no-color", "--succinct", "--seed=" + strconv.FormatInt(j.seed, 10)}
	own := []string{"--", "-target=" + j.target, "-evidence=" + j.evidence}
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			line = append(line, a)
		} else {
			own = append(own, "-"+a)
		}
	}
	return append(append(line, j.suite), own...)
}

// name is that of the run's folder, after the time: shards begin together.
func (j *job) name() string {
	if j.shard == "" {
		return "soak"
	}
	return "soak-" + strings.ReplaceAll(j.shard, "/", "of")
}

// again is the command that does this run again.
func (j *job) again() string {
	text := "scripts/soak --duration " + j.duration.String() + " --seed " + strconv.FormatInt(j.seed, 10)
	if rel, err := filepath.Rel(j.root, j.target); err != nil || rel != harness.DefaultTarget {
		text += " --target " + j.target
	}
	if j.mutant != "" {
		text += " --mutant " + j.mutant
	}
	if !j.catalogue {
		text += " --catalogue=false"
	} else if j.procs != catalogueProcs {
		text += " --procs " + strconv.Itoa(j.procs)
	}
	if j.labs > 1 {
		text += " --labs " + strconv.Itoa(j.labs)
	}
	if len(j.require) > 0 {
		text += " --require " + strings.Join(j.require, ",")
	}
	if j.evidence != harness.EvidenceShort {
		text += " --evidence " + j.evidence
	}
	return text
}

// note writes one event of the run itself.
func (j *job) note(e record.Event) error {
	w, err := record.Append(j.dir)
	if err != nil {
		return err
	}
	return errors.Join(w.Write(e), w.Close())
}

// finish closes the record, draws the report and prints the verdict. A run of
// which nothing was recorded leaves no folder.
func (j *job) finish(began time.Time) (int, error) {
	if err := harness.ForgetStop(j.dir); err != nil {
		return 0, err
	}
	f := record.Finish{Reason: "done", Duration: time.Since(began).Seconds(), Failed: j.failed && !j.stopped}
	if j.stopped {
		f.Reason = "interrupted"
	}
	if err := j.note(record.Event{At: time.Now(), Kind: record.KindFinish, Finish: &f}); err != nil {
		return 0, err
	}
	s, err := reports.Write(j.dir)
	if err != nil {
		return 0, err
	}
	if len(s.Specs) == 0 && j.failed && !j.stopped {
		return 0, errors.Join(errors.New("set-up: no story began; Ginkgo's output above says why"), os.RemoveAll(j.dir))
	}
	stay, err := harness.IndexRuns(j.dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err) // the run's own report is whole
	}
	if stay != "" {
		fmt.Println("soak:", stay)
	}
	path := filepath.Join(j.dir, "index.html")
	if rel, err := filepath.Rel(j.root, path); err == nil && !strings.HasPrefix(rel, "..") {
		path = rel
	}
	fmt.Printf("\n%s: %s\n", s.Verdict, s.Reason)
	for _, x := range s.Statements {
		fmt.Println("  " + x.Text)
	}
	if j.stopped {
		fmt.Println("  interrupted: judged is what was done until then")
	}
	fmt.Printf("verdict=%s exit=%d report=%s\n", s.Verdict, s.ExitCode, path)
	return s.ExitCode, nil
}
