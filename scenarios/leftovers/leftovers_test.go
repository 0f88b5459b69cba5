package leftovers_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var (
	rounds   = flag.Int("rounds", number("LEFTOVERS", 0), "how many rounds of every kind, on a copy of the checkout; two short ones in place if 0 [LEFTOVERS]")
	seed     = flag.Uint64("leftovers.seed", uint64(number("LEFTOVERS_SEED", 0)), "seed of the draws; from the clock if 0 [LEFTOVERS_SEED]")
	only     = flag.Int("round", 0, "run this round only, to see it again; all if 0")
	as       = flag.String("as", os.Getenv("LEFTOVERS_AS"), "`USER` the victims run as, when root runs the test [LEFTOVERS_AS]")
	checkout = flag.String("checkout", "", "checkout that the victims are of; this one if empty")
)

const (
	// limit is the promise: nothing is left so long after the kill.
	limit = 3 * time.Second
	// patience is how long an orderly end may take: a cycle of the soak has a
	// window, a heal and a return; a story at most as much, with its clean-up.
	patience = 90 * time.Second
	// whole is how long a whole catalogue may take: ginkgo does not heed SIGTERM, and
	// runs to its end.
	whole = 15 * time.Minute
	// latest is when a round of every kind strikes, at most.
	latest = 25 * time.Second
	// early is when a third of the rounds strike, at most: the phases of the
	// beginning are short.
	early = 5 * time.Second
)

func number(name string, otherwise int) int {
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		return otherwise
	}
	return n
}

func TestNothingLeftBehind(t *testing.T) {
	adopt(t)
	if *seed == 0 {
		*seed = uint64(time.Now().Unix())
	}
	short := *rounds == 0
	n := *rounds
	if short {
		n = 2
	}
	s := prepare(t, short)
	tally := newTally()
	for i := 1; i <= n; i++ {
		if *only != 0 && i != *only {
			continue
		}
		p := draw(rand.New(rand.NewPCG(*seed, uint64(i))), short)
		o := s.round(t, p, i)
		t.Logf("%s", o.line(i))
		for _, problem := range o.problems {
			t.Errorf("round %d (%v): left behind: %s", i, p, problem)
		}
		if len(o.problems) > 0 {
			t.Logf("again: go test ./scenarios/leftovers -count=1 -v -rounds %d -leftovers.seed %d -round %d", n, *seed, i)
		}
		tally.add(o)
	}
	t.Logf("seed %d\n%s", *seed, tally)
}

// draw draws a round. A short one has no compiler in it, and ends early.
func draw(r *rand.Rand, short bool) plan {
	p := plan{
		victim: pick(r, "soak", "soak", "soak", "ginkgo", "ginkgo", "outer", "inner"),
		signal: pick(r, "SIGKILL", "SIGKILL", "SIGKILL", "SIGTERM", "Ctrl-C", "Ctrl-C twice", "Ctrl-C twice"),
		after:  time.Duration(r.Float64() * float64(latest)),
		gap:    50*time.Millisecond + time.Duration(r.Float64()*float64(time.Second)),
	}
	p.compile = p.victim == "ginkgo" && r.IntN(3) == 0
	p.skip = p.victim == "soak" && r.IntN(2) == 0
	if p.victim == "ginkgo" && !p.compile {
		p.after /= 2 // it has less to do
	}
	if r.IntN(3) == 0 {
		p.after = time.Duration(r.Float64() * float64(early))
	}
	// Compilers at work are killed only where there is something to compile.
	p.stale = (p.victim == "soak" || p.compile) && r.IntN(2) == 0
	if short {
		p.compile, p.stale, p.skip = false, false, false
		p.victim, p.signal = pick(r, "ginkgo", "outer", "inner"), pick(r, "SIGKILL", "Ctrl-C twice")
		p.after = time.Duration(r.Float64() * float64(3*time.Second))
	}
	return p
}

func pick(r *rand.Rand, words ...string) string { return words[r.IntN(len(words))] }

// prepare makes the place where the victims run.
func prepare(t *testing.T, short bool) *site {
	t.Helper()
	root := *checkout
	if root == "" {
		root = filepath.Join("..", "..")
	}
	root, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{checkout: root, env: environment(), limit: limit}
	if short {
		s.limit = 10 * limit // the promise is for a machine that is not busy; what stays is found here too
	}
	// Not t.TempDir, for other users may not enter that.
	base, err := os.MkdirTemp("", "leftovers-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("kept for a look: %s", base)
		} else if err := os.RemoveAll(base); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	if *as != "" {
		s.user = credential(t, *as, &s.env)
	}
	if !short {
		s.checkout = filepath.Join(base, "checkout")
		if err := s.copyFrom(root); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.folder(filepath.Join(base, "bin")); err != nil {
		t.Fatal(err)
	}
	s.suite = filepath.Join(base, "bin", "scenarios.test")
	s.env = append(s.env, "HALFOPEN_ROOT="+s.checkout, "GOCACHE="+s.mustRun(t, "go", "env", "GOCACHE"))
	s.mustRun(t, "go", "test", "-c", "-o", s.suite, "./scenarios")
	s.ginkgo = s.mustRun(t, "go", "tool", "-n", "ginkgo")
	if !short { // so that compiling takes no longer than it does for its users
		s.mustRun(t, "go", "build", "./...")
	}
	return s
}

// environment is the test's, without what would steer a victim.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasPrefix(name, "HALFOPEN_") || strings.HasPrefix(name, "GINKGO_") ||
			slices.Contains([]string{"MUTANT", "TARGET", "DURATION", "SEED", "TMPDIR", "XDG_CACHE_HOME", "GOFLAGS"}, name)
	})
}

// credential is what makes a child of root's run as the user, whose home it sets.
func credential(t *testing.T, name string, env *[]string) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		t.Fatalf("run victims as %s: only root can", name)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err1 != nil || err2 != nil {
		t.Fatalf("user %s has no numbers: %v %v", name, err1, err2)
	}
	*env = slices.DeleteFunc(*env, func(v string) bool {
		key, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{"HOME", "USER", "LOGNAME", "GOCACHE", "GOPATH", "GOBIN", "GOMODCACHE"}, key)
	})
	*env = append(*env, "HOME="+u.HomeDir, "USER="+name, "LOGNAME="+name)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// copyFrom copies a checkout: others may work in it meanwhile, and ginkgo compiles
// into it.
func (s *site) copyFrom(root string) error {
	if err := s.folder(s.checkout); err != nil {
		return err
	}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		to := filepath.Join(s.checkout, rel)
		switch {
		case rel == ".git" || rel == "bin" || rel == filepath.Join("reports", "runs"):
			return filepath.SkipDir
		case d.IsDir():
			return s.folder(to)
		case !d.Type().IsRegular() || strings.HasSuffix(rel, ".test"):
			return nil
		}
		text, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil // somebody's temporary file
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(to, text, info.Mode().Perm())
	})
	if err != nil {
		return fmt.Errorf("copy checkout: %w", err)
	}
	return nil
}

// mustRun runs a command in the checkout as the victims will, and returns what it
// printed.
func (s *site) mustRun(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := s.command("", name, args...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, said.String())
	}
	return strings.TrimSpace(string(out))
}

// outcome is what a round found.
type outcome struct {
	plan
	phase          string
	took           time.Duration // until nothing was left; from the kill, or from the victim's end
	orderly        time.Duration // from the signal to the victim's end, if it was asked for an orderly one
	processes      int           // below the victim when it was struck
	networks       int           // network namespaces seen below it
	drawn, rescued int           // reports that were there, and that were made
	ginkgos        string        // what ginkgo's own compiling left, and for how long
	problems       []string
}

func (o outcome) line(n int) string {
	text := fmt.Sprintf("round %2d: %-12s %-10s %-44s %3d processes, %2d networks; nothing left after %4.0f ms", n,
		o.signal, o.phase, o.plan, o.processes, o.networks, float64(o.took.Milliseconds()))
	if o.orderly > 0 {
		text += fmt.Sprintf(", orderly end %.1f s", o.orderly.Seconds())
	}
	if o.drawn+o.rescued > 0 {
		text += fmt.Sprintf(", reports %d+%d", o.drawn, o.rescued)
	}
	return text + o.ginkgos
}

// tally counts what the rounds found: phase, signal, victim.
type tally struct {
	cells            map[[3]string]*[2]int // rounds, rounds that left something
	longest          time.Duration
	longestOrderly   time.Duration
	orderlies, total int
	ginkgos          []string
}

func newTally() *tally { return &tally{cells: map[[3]string]*[2]int{}} }

func (t *tally) add(o outcome) {
	key := [3]string{o.victim, o.phase, o.signal}
	if t.cells[key] == nil {
		t.cells[key] = &[2]int{}
	}
	t.cells[key][0]++
	if len(o.problems) > 0 {
		t.cells[key][1]++
	}
	if o.ginkgos != "" {
		t.ginkgos = append(t.ginkgos, o.ginkgos)
	}
	t.total++
	t.longest = max(t.longest, o.took)
	if o.orderly > 0 {
		t.orderlies++
		t.longestOrderly = max(t.longestOrderly, o.orderly)
	}
}

func (t *tally) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s %-10s %-13s %6s %12s\n", "victim", "phase", "signal", "rounds", "left behind")
	bad := 0
	keys := slices.SortedFunc(maps.Keys(t.cells), func(a, b [3]string) int { return slices.Compare(a[:], b[:]) })
	for _, k := range keys {
		fmt.Fprintf(&b, "%-8s %-10s %-13s %6d %12d\n", k[0], k[1], k[2], t.cells[k][0], t.cells[k][1])
		bad += t.cells[k][1]
	}
	fmt.Fprintf(&b, "%d rounds, %d left something behind; the slowest was clean after %d ms (limit %v)\n", t.total, bad, t.longest.Milliseconds(), limit)
	if t.orderlies > 0 {
		fmt.Fprintf(&b, "%d orderly ends, the longest took %.1f s (limit %v; a whole catalogue where ginkgo alone got SIGTERM)\n", t.orderlies, t.longestOrderly.Seconds(), patience)
	}
	for _, g := range t.ginkgos {
		fmt.Fprintf(&b, "Ginkgo's own:%s\n", g)
	}
	return b.String()
}
