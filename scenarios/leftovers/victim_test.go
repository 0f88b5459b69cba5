package leftovers_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness/record"
)

// plan is what one round does; drawn from its seed.
type plan struct {
	victim  string // "soak", "ginkgo", "outer", "inner"
	signal  string // "SIGKILL", "SIGTERM", "Ctrl-C", "Ctrl-C twice"
	after   time.Duration
	gap     time.Duration // between the two of Ctrl-C twice
	compile bool          // ginkgo compiles the suite itself
	skip    bool          // soak without the catalogue: its cycles come sooner
	stale   bool          // a source was changed: everything has to be compiled anew
}

func (p plan) String() string {
	what := p.victim
	if p.compile {
		what += " from source"
	}
	if p.skip {
		what += " without catalogue"
	}
	if p.stale {
		what += ", stale"
	}
	return fmt.Sprintf("%s, %s after %.1f s", what, p.signal, p.after.Seconds())
}

// atOnce says whether the signals ask for an end at once.
func (p plan) atOnce() bool { return p.signal == "SIGKILL" || p.signal == "Ctrl-C twice" }

// patience is how long the victim may take to an end in good order.
func (p plan) patience() time.Duration {
	if p.victim == "ginkgo" && p.signal == "SIGTERM" {
		return whole
	}
	return patience
}

// site is where victims run: a checkout, and who they are.
type site struct {
	checkout string
	suite    string // the compiled scenarios
	ginkgo   string
	user     *syscall.Credential // nil: who runs the test
	env      []string
	limit    time.Duration // something that is gone by then was late, or not even that
}

// command is a command of the site's user, in dir below the checkout.
func (s *site) command(dir, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = filepath.Join(s.checkout, dir)
	cmd.Env = s.env
	// A group of its own: Ctrl-C is for the victim only. It dies with the test.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.user, Pdeathsig: unix.SIGKILL}
	return cmd
}

// folder makes a folder that belongs to the site's user.
func (s *site) folder(path string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	if s.user != nil {
		if err := os.Chown(path, int(s.user.Uid), int(s.user.Gid)); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	return nil
}

// touch changes a source at the bottom of the copied checkout, so that all above it
// is compiled anew.
func (s *site) touch() error {
	f, err := os.OpenFile(filepath.Join(s.checkout, "harness", "record", "event.go"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("change a source: %w", err)
	}
	// A comment would not do: what the compiler makes of it is the same.
	_, err = fmt.Fprintf(f, "\nconst touched%d = %d\n", time.Now().UnixNano(), time.Now().UnixNano())
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("change a source: %w", err)
	}
	return nil
}

// victim is a running one.
type victim struct {
	plan
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the command itself is gone
	log    string
	folder string // of the round: out, tmp, cache
}

func (v *victim) out() string   { return filepath.Join(v.folder, "out") }
func (v *victim) tmp() string   { return filepath.Join(v.folder, "tmp") }
func (v *victim) cache() string { return filepath.Join(v.folder, "cache") }

// start starts the victim of a plan. Its output, temporary files, results and cache
// lie in folder.
func (s *site) start(p plan, folder string) (*victim, error) {
	v := &victim{plan: p, ended: make(chan struct{}), log: filepath.Join(folder, "log"), folder: folder}
	for _, dir := range []string{folder, v.out(), v.tmp(), v.cache()} {
		if err := s.folder(dir); err != nil {
			return nil, err
		}
	}
	if p.stale {
		if err := s.touch(); err != nil {
			return nil, err
		}
	}
	switch p.victim {
	case "soak":
		args := []string{"--duration=60s", "--procs=4", "--seed=1"}
		if p.skip {
			args = append(args, "--catalogue=false")
		}
		v.cmd = s.command("", filepath.Join(s.checkout, "scripts", "soak"), args...)
	case "ginkgo":
		suite := s.suite
		if p.compile {
			suite = "./scenarios"
		}
		v.cmd = s.command("", s.ginkgo, "-procs=4", "--label-filter=quick", "--no-color", suite)
	default:
		v.cmd = s.command("scenarios", s.suite, "-ginkgo.label-filter=quick", "-ginkgo.no-color", "-test.timeout=0")
	}
	v.cmd.Env = append(v.cmd.Env, "TMPDIR="+v.tmp(), "HALFOPEN_OUT="+v.out(), "XDG_CACHE_HOME="+v.cache())
	log, err := os.Create(v.log)
	if err != nil {
		return nil, fmt.Errorf("start victim: %w", err)
	}
	defer log.Close()
	v.cmd.Stdout, v.cmd.Stderr = log, log
	if err := v.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start victim: %w", err)
	}
	go func() {
		_ = v.cmd.Wait() // how a victim ends is not at stake
		close(v.ended)
	}()
	return v, nil
}

// over says whether the command itself is gone.
func (v *victim) over() bool {
	select {
	case <-v.ended:
		return true
	default:
		return false
	}
}

// phase is how far the victim has come, given the processes below it.
func (v *victim) phase(below []process) string {
	text, err := os.ReadFile(v.log)
	said := string(text)
	switch {
	case err != nil:
		return "unknown"
	case v.over():
		return "over"
	case v.victim == "soak":
		return soakPhase(said, below)
	}
	records, err := filepath.Glob(filepath.Join(v.out(), "*", record.FileName))
	if err == nil && len(records) > 0 {
		if text, err := os.ReadFile(records[0]); err == nil && strings.Contains(string(text), `"begin":`) {
			return "stories"
		}
	}
	for _, p := range below {
		if program, _, _ := strings.Cut(p.args, " "); strings.HasSuffix(program, "scenarios.test") {
			return "set-up"
		}
	}
	return "compile"
}

func soakPhase(said string, below []process) string {
	switch {
	case strings.Contains(said, "verdict="):
		return "end"
	case strings.Contains(said, "soak: soak\n"):
		return "soak"
	case strings.Contains(said, "soak: catalogue\n"):
		return "catalogue"
	case !strings.Contains(said, "soak: building"):
		return "script"
	}
	for _, p := range below {
		if program, _, _ := strings.Cut(p.args, " "); filepath.Base(program) == "go" || strings.Contains(program, "/pkg/tool/") {
			return "build"
		}
	}
	return "rehearsal"
}

// strike sends the plan's signals, to processes that the test started or their
// descendants only.
func (v *victim) strike(below []process) error {
	target := v.cmd.Process.Pid
	if v.victim == "inner" {
		for _, p := range below {
			if p.parent == v.cmd.Process.Pid && strings.Contains(p.args, "scenarios.test") {
				target = p.pid
			}
		}
	}
	var errs []error
	switch v.signal {
	case "SIGKILL":
		errs = append(errs, unix.Kill(target, unix.SIGKILL))
	case "SIGTERM":
		errs = append(errs, unix.Kill(target, unix.SIGTERM))
	case "Ctrl-C":
		errs = append(errs, unix.Kill(-v.cmd.Process.Pid, unix.SIGINT))
	case "Ctrl-C twice":
		errs = append(errs, unix.Kill(-v.cmd.Process.Pid, unix.SIGINT))
		select {
		case <-v.ended:
		case <-time.After(v.gap):
			errs = append(errs, unix.Kill(-v.cmd.Process.Pid, unix.SIGINT))
		}
	}
	for _, err := range errs {
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("send %s to %s: %w", v.signal, v.victim, err)
		}
	}
	return nil
}
