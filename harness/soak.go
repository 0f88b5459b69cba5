package harness

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/record"
)

// Soak runs cycles on the World's one long-lived server until d is over: visitors,
// idle or busy, a fault drawn from the suite's seed, the window, the verdict, the
// heal, service back. It prints a line a cycle, goes on after a bad one, and fails
// at the end if any was not PASS.
func (w *World) Soak(d time.Duration, visitors int, faults ...fault.Fault) {
	w.t.Helper()
	draw := rand.New(rand.NewPCG(uint64(w.suite.Seed), 0))
	end := time.Now().Add(d)
	fmt.Fprintf(os.Stdout, "soak: %v, seed %d, %d visitors a cycle\n", d, w.suite.Seed, visitors)
	exposures, bad := 0, map[record.Verdict]int{}
	for cycle := 1; time.Now().Before(end) && !w.suite.stopping(); cycle++ {
		began := time.Now()
		if err := w.next(cycle); err != nil {
			w.abort(err)
		}
		f, busy := faults[draw.IntN(len(faults))], draw.IntN(2) == 1
		w.visit(visitors, busy, nil)
		w.Inject(f)
		w.Settle()
		w.Heal()
		w.ExpectService()
		j := w.judge([]*Process{w.Server, w.Client})
		exposures += j.Exposures
		if j.Verdict != record.Pass {
			bad[j.Verdict]++
		}
		fmt.Fprintln(os.Stdout, cycleLine(cycle, w.round, j, exposures, time.Since(began), time.Until(end)))
	}
	if len(bad) > 0 {
		w.t.Fatalf("soak: %v of the cycles; report: %s", bad, w.suite.reportPath())
	}
}

// next begins the round of a cycle. The first one has been begun by New.
func (w *World) next(cycle int) error {
	if !w.round.injected {
		w.round.stopSampler()
	}
	ctx, cancel := context.WithTimeoutCause(w.ctx, setUpTime, errors.New("the target does not come to rest"))
	defer cancel()
	return w.begin(ctx, cycle)
}

// cycleLine tells one cycle in one line.
func cycleLine(cycle int, r *round, j record.Judgement, exposures int, took, left time.Duration) string {
	gone := fmt.Sprintf("gone after %4.1f s", j.Returned)
	if j.Returned < 0 {
		gone = "NOT GONE        "
	}
	what := fmt.Sprintf("%s at %s, %s", r.fault.Name, r.fault.Place, r.traffic)
	line := fmt.Sprintf("cycle %3d  %-12s  %-41s  %3d exposed, %s  %4.1f s  | %5d exposures, %s left",
		cycle, j.Verdict, what, j.Exposures, gone, took.Seconds(), exposures, max(0, left).Round(time.Second))
	if j.Verdict != record.Pass {
		line += "\n           " + j.Reason
	}
	return line
}

// stopName is the file in a run's folder that ends a soak after its cycle. A signal
// would not do: Ginkgo takes it, and breaks the cycle off.
const stopName = "stop"

// StopAfterCycle ends the soak that writes into the run's folder dir once its cycle
// is judged.
func StopAfterCycle(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, stopName), nil, 0o644); err != nil {
		return fmt.Errorf("stop the soak: %w", err)
	}
	return nil
}

// stopping says whether the soak was asked to end.
func (s *Suite) stopping() bool {
	_, err := os.Stat(filepath.Join(s.Dir, stopName))
	return err == nil
}

// ForgetStop takes back StopAfterCycle, if it was called.
func ForgetStop(dir string) error {
	if err := os.Remove(filepath.Join(dir, stopName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget the stop: %w", err)
	}
	return nil
}
