package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/harness/target"
	"github.com/halfopen/halfopen/reports"
)

// Suite is what the specs of one run share. Every test process has one; the first
// process makes the run's folder and builds the target, and tells the others.
type Suite struct {
	Target   *target.Target
	Settings record.Settings
	Bins     map[string]string // the target's programs, by name
	Dir      string            // the run's folder
	Root     string            // of the main module
	Seed     int64
	Mutant   string
	Evidence string // kept of a round that is no PASS: "none", "short", "full"

	record *record.Writer
}

// The environment variables by which scripts/soak and the nightly job steer a
// suite.
const (
	// EnvRun is the folder of a run that is there already: a suite appends to it.
	EnvRun = "HALFOPEN_RUN"
	// EnvOut is the folder that holds runs; reports/runs of the main module
	// without it.
	EnvOut = "HALFOPEN_OUT"
	// EnvName is the run's name; "scenarios" without it.
	EnvName = "HALFOPEN_RUN_NAME"
	// EnvRoot is the folder of the main module, for a suite that was compiled
	// beforehand and runs elsewhere.
	EnvRoot = "HALFOPEN_ROOT"
	// EnvMutant is the leak to plant in the target.
	EnvMutant = "MUTANT"
	// EnvProgress is a pipe that takes the lines of soaks that run side by side: what
	// parallel processes print, Ginkgo keeps until the end.
	EnvProgress = "HALFOPEN_PROGRESS"
)

// DefaultTarget is the target of a suite that names none, relative to the main
// module.
const DefaultTarget = "scenarios/targets/tunnel.yaml"

// ModuleRoot is the folder of the main module: HALFOPEN_ROOT, or the one with
// go.mod, from the working folder upwards.
func ModuleRoot() (string, error) {
	if root := os.Getenv(EnvRoot); root != "" {
		return root, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find main module: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find main module: no go.mod here or above: run it inside the checkout")
		}
		dir = parent
	}
}

// RunFolder makes the folder of a new run and returns it: NAME below HALFOPEN_OUT,
// or below reports/runs of the main module.
func RunFolder(root, name string, now time.Time) (string, error) {
	out := os.Getenv(EnvOut)
	if out == "" {
		out = filepath.Join(root, "reports", "runs")
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", fmt.Errorf("make run folder: %w", err)
	}
	base := filepath.Join(out, now.UTC().Format("20060102-150405")+"-"+name)
	for n, dir := 2, base; ; n++ {
		err := os.Mkdir(dir, 0o755)
		if err == nil {
			return filepath.Abs(dir)
		}
		if !errors.Is(err, os.ErrExist) || n > 99 {
			return "", fmt.Errorf("make run folder: %w", err)
		}
		dir = fmt.Sprintf("%s-%d", base, n)
	}
}

// IndexRuns draws the page of all runs beside the run folder dir, and prunes old ones. It
// says in one line which of those stay all the same, and why; "" if none does.
func IndexRuns(dir string) (stay string, err error) {
	keep, err := reports.Keep()
	if err != nil {
		return "", err
	}
	_, spared, err := reports.Index(filepath.Dir(dir), keep)
	if len(spared) > 0 {
		stay = "an old run is not pruned: " + spared[0]
	}
	if more := len(spared) - 1; more > 0 {
		stay += fmt.Sprintf("; and %d more, which leakreport index lists", more)
	}
	return stay, err
}

// Head is the first event of a run.
func Head(root, name, command, mutant string, seed int64, t *target.Target) record.Event {
	return record.Event{At: time.Now(), Kind: record.KindRun, Run: &record.Run{
		Version: record.Version, Name: name, Seed: seed, Command: command,
		Target: t.Name, TargetFile: relative(root, t.File), TargetHash: t.Hash, Mutant: mutant, Scaled: t.Kernel,
		Settings: t.Settings.Record(), Environment: environment(root),
	}}
}

// open reads the suite's target and opens its record.
func (s *Suite) open(targetFile string) error {
	t, err := target.Load(targetFile)
	if err != nil {
		return err
	}
	s.Target, s.Settings = t, t.Settings.Record()
	s.record, err = record.Append(s.Dir)
	return err
}

// close closes the suite's record; the suite of a set-up that failed has none.
func (s *Suite) close() error {
	if s == nil || s.record == nil {
		return nil
	}
	return s.record.Close()
}

// reportPath is where the run's page will be, as a user would type it.
func (s *Suite) reportPath() string {
	return relative(s.Root, filepath.Join(s.Dir, "index.html"))
}

// environment is where the run runs.
func environment(root string) record.Environment {
	e := record.Environment{Go: runtime.Version(), CPUs: runtime.NumCPU(), User: "root"}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		e.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	if text, err := os.ReadFile("/etc/os-release"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
				e.OS = strings.Trim(strings.TrimSpace(name), `"`)
			}
		}
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		_, _ = fmt.Sscan(string(text), &e.Load1) // 0 says: not known
	}
	if outerUser() != 0 {
		e.User = "ordinary user"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	e.Iptables = output(ctx, root, "iptables", "--version")
	e.Commit = output(ctx, root, "git", "describe", "--always", "--dirty")
	return e
}

// outerUser is the user's number outside the sandbox.
func outerUser() int {
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return os.Getuid()
	}
	var inside, outside int
	if _, err := fmt.Sscan(string(text), &inside, &outside); err != nil {
		return os.Getuid()
	}
	return outside + os.Getuid() - inside
}

// output is what a program prints, "" if it cannot be run.
func output(ctx context.Context, dir, name string, args ...string) string {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	text, err := cmd.Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
