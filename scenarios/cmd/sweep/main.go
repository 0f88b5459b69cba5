// Sweep cuts a session's life after each of its packets, both ways and each alone, each cut
// in a lab of its own, and says which events of that life were hit and what came of it.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/scenarios/sweep"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s := sweeper{}
	verdict := record.Inconclusive
	cmd := &cobra.Command{
		Use:   "sweep",
		Short: "Cut a session's life after each of its packets",
		Long: `Record a session's life (connect, TLS, token, then visitors who come one after the
other, a successor, the drain, the last FIN), then play it again and again, each time in
a lab of its own, and cut it after packet N: every N, both ways and each alone. After each
cut both ends must have let go within the window, and serve again after the heal.

Which event a cut has hit is read from the packets of its own lab: two lives are never
quite alike. Coverage is of events: those of the recorded life that no cut has hit are
named, and the sweep is inconclusive. The result is in reports/sweep/latest.json.

  sweep --focus "packet 7, "     the cuts after packet 7 of the life recorded last

Exit status: 0 pass; 1 leak, late or dead; 2 usage or set-up; 3 inconclusive.`,
		Args: cobra.NoArgs, SilenceErrors: true, SilenceUsage: true,
		RunE: func(*cobra.Command, []string) (err error) {
			verdict, err = s.sweep(ctx)
			return err
		},
	}
	cmd.Flags().IntVar(&s.procs, "procs", 16, "labs at once")
	cmd.Flags().StringVar(&s.focus, "focus", "", "only cuts whose name matches, of the life recorded last")
	cmd.Flags().StringVar(&s.target, "target", "scenarios/targets/tunnel-recycling.yaml", "the target's `FILE`; it replaces a session after four requests")
	cmd.CompletionOptions.DisableDefaultCmd = true
	if err := cmd.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "sweep:", err)
		os.Exit(2)
	}
	os.Exit(leak.ExitCode(verdict))
}

// tries is how often a cut that was inconclusive, or an event that no cut has hit, is tried:
// sixteen labs at once may starve each other, and lives differ. What was judged red stays so.
const tries = 3

type sweeper struct {
	procs         int
	focus, target string
	root, folder  string
}

// result is latest.json.
type result struct {
	Verdict  record.Verdict `json:"verdict"`
	ExitCode int            `json:"exit_code"`
	Target   string         `json:"target"`
	Packets  int            `json:"packets"` // of the recorded life
	Events   int            `json:"events"`  // of the recorded life, behind SYN and SYN ACK
	Covered  int            `json:"covered"` // of those
	Missed   []string       `json:"missed"`
	Others   []string       `json:"others"` // events that were hit and are not in the recorded life
	Cuts     []cut          `json:"cuts"`
	Again    int            `json:"again"` // plays of cuts that had been played before
	Minutes  float64        `json:"minutes"`
	Reports  []string       `json:"reports"`
	Beside   record.Verdict `json:"beside,omitempty"` // what a run came to apart from its cuts, if that is worse

	hit []string // events, by cuts that were judged
}

type cut struct {
	sweep.Cut
	Verdict record.Verdict `json:"verdict"`
	Reason  string         `json:"reason,omitempty"`
	Where   string         `json:"where,omitempty"`
	Replay  string         `json:"replay"`
}

func (s *sweeper) sweep(ctx context.Context) (record.Verdict, error) {
	began := time.Now()
	var err error
	if s.root, err = harness.ModuleRoot(); err != nil {
		return "", err
	}
	if s.target, err = filepath.Abs(s.target); err != nil {
		return "", err
	}
	s.folder = filepath.Join(s.root, "reports", "sweep")
	if err := os.MkdirAll(s.folder, 0o755); err != nil {
		return "", err
	}
	if err := s.forget(); err != nil {
		return "", err
	}
	if s.focus == "" {
		run, err := s.play(ctx, 1, "records the life", "-sweep-life="+s.folder)
		if err != nil {
			return "", fmt.Errorf("record a life: %w", err)
		}
		whole, err := uncut(run)
		if err != nil || whole != record.Pass {
			return whole, err
		}
	}
	life, err := sweep.LoadLife(s.folder)
	if err != nil {
		return "", fmt.Errorf("%w: sweep without --focus records one", err)
	}
	r := result{Packets: len(life), Missed: []string{}, Others: []string{}, Target: s.target}
	focus := cmp.Or(s.focus, "cut after packet")
	for try := range tries {
		run, err := s.play(ctx, max(1, s.procs>>try), focus, "-sweep="+s.folder)
		if err != nil {
			return "", err
		}
		if err := s.judge(&r, run, life); err != nil {
			return "", err
		}
		again := r.again(life, s.focus == "")
		if len(again) == 0 || try == tries-1 {
			break
		}
		fmt.Printf("\nagain, with fewer labs at once: %d cuts that were inconclusive, or whose event was not hit\n", len(again))
		focus = "(" + strings.Join(again, "|") + ")$"
	}
	r.Verdict = r.worst(s.focus == "")
	r.ExitCode = leak.ExitCode(r.Verdict)
	r.Minutes = time.Since(began).Minutes()
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return "", err
	}
	latest := filepath.Join(s.folder, "latest.json")
	if err := errors.Join(os.WriteFile(latest+".new", append(text, '\n'), 0o644), os.Rename(latest+".new", latest)); err != nil {
		return "", err
	}
	r.print(s.focus == "")
	return r.Verdict, nil
}

// forget removes what an earlier sweep has left: its result, and its cuts, for one that is
// not played has hit nothing.
func (s *sweeper) forget() error {
	old, err := filepath.Glob(filepath.Join(s.folder, "cut-*.json"))
	if err != nil {
		return err
	}
	for _, file := range append(old, filepath.Join(s.folder, "latest.json")) {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// uncut is the verdict on the life that was recorded. If it is no PASS there is nothing to
// cut, and it is the sweep's.
func uncut(run string) (record.Verdict, error) {
	verdict, err := verdictOf(run)
	if err == nil && verdict != record.Pass {
		fmt.Printf("\nthe life that was recorded, uncut: verdict=%s exit=%d report=%s\n", verdict, leak.ExitCode(verdict), filepath.Join(run, "index.html"))
	}
	return verdict, err
}

// play runs the stories that focus names and gives the run's folder. Ginkgo fails on every
// verdict but PASS: the record says which.
func (s *sweeper) play(ctx context.Context, procs int, focus, flag string) (string, error) {
	runs := filepath.Join(s.folder, "runs")
	before, err := os.Readlink(filepath.Join(runs, "latest"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	cmd := exec.Command("ginkgo", "--no-color", fmt.Sprintf("-procs=%d", procs), "--timeout=1h", "--label-filter=sweep", "--focus=Packet sweep .*"+focus, "./scenarios", "--", flag, "-target="+s.target)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.root, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), harness.EnvOut+"="+runs, harness.EnvName+"=sweep", harness.EnvRun+"=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true} // one Ctrl-C is enough
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("start ginkgo: %w: scripts/setup.sh installs it", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(os.Interrupt) })
	defer stop()
	err = cmd.Wait()
	if ctx.Err() != nil {
		return "", errors.New("interrupted")
	}
	after, linkErr := os.Readlink(filepath.Join(runs, "latest"))
	if linkErr != nil || after == before {
		return "", errors.Join(errors.New("no story was judged"), err, linkErr)
	}
	return filepath.Join(runs, filepath.Base(after)), nil
}

func verdictOf(run string) (record.Verdict, error) {
	text, err := os.ReadFile(filepath.Join(run, "summary.json"))
	if err != nil {
		return "", err
	}
	var summary record.Summary
	err = json.Unmarshal(text, &summary)
	return summary.Verdict, err
}

// judge takes the cuts of one run into the account.
func (s *sweeper) judge(r *result, run string, life sweep.Life) error {
	events, err := record.Read(run)
	if err != nil {
		return err
	}
	summary, err := verdictOf(run)
	if err != nil {
		return err
	}
	specs, verdicts := map[string]record.Spec{}, map[string]record.Judgement{} // by name
	for _, e := range events {
		switch {
		case e.Begin != nil:
			specs[e.Spec] = *e.Begin
		case e.Verdict != nil:
			verdicts[specs[e.Spec].Name] = *e.Verdict
		}
	}
	replays := map[string]string{}
	for _, spec := range specs {
		replays[spec.Name] = spec.Replay
	}
	worst := record.Pass // of the cuts of this run
	for _, c := range life.Cuts() {
		name := "Packet sweep " + c.Name()
		if _, played := replays[name]; !played {
			continue
		}
		j, judged := verdicts[name]
		if !judged {
			j = record.Judgement{Verdict: record.Inconclusive, Reason: "it was not judged"}
		}
		worst = leak.Worst(worst, j.Verdict)
		if _, err := c.Load(s.folder); err != nil {
			return err
		}
		one := cut{Cut: c, Verdict: j.Verdict, Replay: replays[name]}
		if j.Verdict != record.Pass {
			one.Reason, one.Where = j.Reason, j.Where
		}
		r.put(one)
	}
	if leak.Worst(worst, summary) != worst { // something beside the cuts
		r.Beside = leak.Worst(cmp.Or(r.Beside, record.Pass), summary)
	}
	r.Reports = append(r.Reports, filepath.Join(run, "index.html"))
	r.cover(life)
	return nil
}

// put enters a cut. What was inconclusive before gives way; a leak never does.
func (r *result) put(c cut) {
	if c.judged() {
		r.hit = append(r.hit, c.Event)
	}
	at := slices.IndexFunc(r.Cuts, func(old cut) bool { return old.Name() == c.Name() })
	if at < 0 {
		r.Cuts = append(r.Cuts, c)
		return
	}
	r.Again++
	if old := r.Cuts[at]; !old.judged() || c.judged() && leak.Worst(old.Verdict, c.Verdict) != old.Verdict {
		r.Cuts[at] = c
	}
}

func (c cut) judged() bool {
	return c.Verdict != record.Inconclusive && c.Verdict != record.Skipped
}

// cover says which events of the recorded life were hit.
func (r *result) cover(life sweep.Life) {
	all := life[2:].Events() // the first two packets pass always
	r.Events, r.Covered, r.Missed, r.Others = len(all), 0, []string{}, []string{}
	for _, e := range all {
		if slices.Contains(r.hit, e) {
			r.Covered++
		} else {
			r.Missed = append(r.Missed, e)
		}
	}
	for _, e := range r.hit {
		if e != "" && !slices.Contains(all, e) && !slices.Contains(r.Others, e) {
			r.Others = append(r.Others, e)
		}
	}
	slices.Sort(r.Others)
}

// again are the names of the cuts that are to be played once more: those that were
// inconclusive, and where the whole life is swept those whose packet, in the recorded life,
// is an event that none has hit.
func (r *result) again(life sweep.Life, whole bool) []string {
	var names []string
	for _, c := range r.Cuts {
		missed := whole && slices.Contains(r.Missed, life[c.After].Event) && (c.Way == fault.BothWays || c.Way == life[c.After].Way)
		if c.Verdict == record.Inconclusive || missed {
			names = append(names, c.Name())
		}
	}
	return names
}

// worst is the verdict of all: a sweep of the whole life that has missed an event is
// inconclusive.
func (r *result) worst(whole bool) record.Verdict {
	verdict := cmp.Or(r.Beside, record.Pass)
	if len(r.Cuts) == 0 || whole && len(r.Missed) > 0 {
		verdict = leak.Worst(verdict, record.Inconclusive)
	}
	for _, c := range r.Cuts {
		verdict = leak.Worst(verdict, c.Verdict)
	}
	return verdict
}

// print names what was not hit where the whole sweep was played.
func (r *result) print(whole bool) {
	fmt.Println()
	for _, c := range r.Cuts {
		if c.Verdict != record.Pass {
			fmt.Printf("%s: %s, hit %q: %s\n  where: %s\n  again: %s\n", c.Verdict, c.Name(), c.Event, c.Reason, c.Where, c.Replay)
		}
	}
	if whole && len(r.Missed) > 0 {
		fmt.Printf("not hit, so the sweep is not whole: %s\n", strings.Join(r.Missed, "; "))
	}
	fmt.Printf("%d packets, %d of %d events covered (and %d others), %d cuts and %d again, %.1f min: verdict=%s exit=%d report=%s\n",
		r.Packets, r.Covered, r.Events, len(r.Others), len(r.Cuts), r.Again, r.Minutes, r.Verdict, r.ExitCode, strings.Join(r.Reports, ","))
}
