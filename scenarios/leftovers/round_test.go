package leftovers_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// poll is how often a round looks.
const poll = 20 * time.Millisecond

// round starts the victim of a plan, strikes it, and looks for what is left.
func (s *site) round(t *testing.T, p plan, n int) outcome {
	t.Helper()
	o := outcome{plan: p}
	fail := func(err error) outcome {
		o.problems = append(o.problems, err.Error())
		return o
	}
	before, err := readHost()
	if err != nil {
		return fail(err)
	}
	old, err := allNamespaces()
	if err != nil {
		return fail(err)
	}
	folder := filepath.Join(s.base(), fmt.Sprintf("round-%d", n))
	v, err := s.start(p, folder)
	if err != nil {
		return fail(err)
	}
	defer v.finish(t)

	select {
	case <-v.ended:
	case <-time.After(p.after):
	}
	below, err := descendants(os.Getpid())
	if err != nil {
		return fail(err)
	}
	o.phase = v.phase(below)
	pids := make([]int, len(below))
	for i, b := range below {
		pids[i] = b.pid
	}
	seen := namespacesOf(pids)
	for name := range old {
		delete(seen, name)
	}
	o.processes, o.networks = len(below), seen.count()
	struck := time.Now()
	if err := v.strike(below); err != nil {
		return fail(err)
	}
	clock := time.Now()
	if !p.atOnce() && o.phase != "over" {
		select {
		case <-v.ended:
		case <-time.After(p.patience()):
			o.problems = append(o.problems, fmt.Sprintf("%s did not end within %v of %s", p.victim, p.patience(), p.signal))
		}
		clock = time.Now()
		o.orderly = clock.Sub(struck)
	}
	left := s.settle(v, old, seen, clock, &o)
	o.problems = append(o.problems, left...)

	after, err := readHost()
	if err != nil {
		return fail(err)
	}
	o.problems = append(o.problems, after.changes(before)...)
	wrong, drawn, rescued := results(v.out(), p.atOnce())
	o.problems = append(o.problems, wrong...)
	o.drawn, o.rescued = drawn, rescued
	if p.compile { // in the copy: for the next round
		suites, err := filepath.Glob(filepath.Join(s.checkout, "scenarios", "*.test"))
		for _, path := range suites {
			err = errors.Join(err, os.Remove(path))
		}
		if err != nil {
			return fail(err)
		}
	}
	if len(o.problems) == 0 {
		if err := os.RemoveAll(folder); err != nil {
			return fail(err)
		}
	}
	return o
}

// base is where the rounds' folders lie.
func (s *site) base() string { return filepath.Dir(filepath.Dir(s.suite)) }

// settle polls until nothing is left or the limit is over, and returns what is left
// then. It waits a little longer to tell late from never.
func (s *site) settle(v *victim, old, seen namespaces, clock time.Time, o *outcome) []string {
	var late []string
	for {
		reapOrphans(v.cmd.Process.Pid)
		left, err := s.left(v, old, seen)
		if err != nil {
			return []string{err.Error()}
		}
		o.took = time.Since(clock)
		if v.compile && v.signal == "SIGKILL" && o.phase != "compile" {
			// Only a ginkgo that lives takes away the suite that it compiled.
			if n := slices.IndexFunc(left, compiledSuite.MatchString); n >= 0 {
				o.ginkgos = fmt.Sprintf(" %s while running: %q", v.signal, left[n])
				left = slices.Delete(left, n, n+1)
			}
		}
		own := o.phase == "compile" && !slices.ContainsFunc(slices.Concat(left, late), func(what string) bool { return !ginkgosOwn.MatchString(what) })
		switch {
		case len(left) == 0 && len(late) == 0:
			return nil
		case own && o.took > s.limit && !slices.ContainsFunc(left, isProcess):
			o.ginkgos = fmt.Sprintf(" %s while compiling: go ended after %.1f s; files: %q", v.signal, o.took.Seconds(), left)
			o.took = 0
			return nil
		case len(left) == 0:
			return append(late, fmt.Sprintf("(all of it was gone after %.1f s)", o.took.Seconds()))
		case o.took > s.limit && late == nil:
			late = left
		case o.took > 2*s.limit && !slices.ContainsFunc(left, isProcess), o.took > 20*s.limit:
			return late
		}
		time.Sleep(poll)
	}
}

// ginkgosOwn is what ginkgo leaves if it is ended at once while it compiles: the
// go command and its tools, go's temporary folder, and the compiled suite.
var ginkgosOwn = regexp.MustCompile(`^process \d+ \(\w\) (\S*/)?(go |pkg/tool/)|^file .*(/go-build\d+|/scenarios/\w+\.test)$`)

// compiledSuite is a suite that ginkgo compiled in its folder.
var compiledSuite = regexp.MustCompile(`^file .*/scenarios/\w+\.test$`)

// isProcess says whether what is left may go by itself: files do not.
func isProcess(what string) bool { return strings.HasPrefix(what, "process") }

// left names what is there now of a victim.
func (s *site) left(v *victim, old, seen namespaces) ([]string, error) {
	below, err := descendants(os.Getpid())
	if err != nil {
		return nil, err
	}
	var left []string
	for _, p := range below {
		left = append(left, "process "+p.String())
	}
	now, err := allNamespaces()
	if err != nil {
		return nil, err
	}
	left = append(left, now.heldBy(old, seen, below)...)
	nothing := func(string) bool { return false }
	for dir, keep := range map[string]func(string) bool{
		v.tmp(): nothing,
		// The program of scripts/soak is there to stay, under its own name.
		filepath.Join(v.cache(), "halfopen"): func(name string) bool { return strings.HasPrefix(name, "soak-") && !strings.Contains(name, ".") },
		filepath.Join(s.checkout, "scenarios"): func(name string) bool {
			return !strings.HasSuffix(name, ".test") && !strings.HasPrefix(name, "ginkgo")
		},
	} {
		found, err := stray(dir, keep)
		if err != nil {
			return nil, err
		}
		left = append(left, found...)
	}
	return left, nil
}

// finish ends what is still below the test, so that a round that failed does not
// spoil the next, and waits for the command.
func (v *victim) finish(t *testing.T) {
	t.Helper()
	for range 200 {
		below, err := descendants(os.Getpid())
		if err != nil {
			t.Error(err)
			return
		}
		for _, p := range below {
			if err := unix.Kill(p.pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
				t.Errorf("end %v: %v", p, err)
			}
		}
		if len(below) == 0 && v.over() {
			reapOrphans(0)
			return
		}
		time.Sleep(poll)
	}
	t.Error("a victim would not die")
}
