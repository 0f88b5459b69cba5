package harness

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/load"
	"github.com/halfopen/halfopen/harness/record"
)

// Soak runs cycles on the World's one long-lived server until d is over: visitors,
// idle or busy, a fault drawn from the suite's seed, the window, the verdict, the
// heal, service back, and a reading of each process at rest. It prints a line a cycle,
// goes on after a bad one, and fails at the end if any was not PASS. A flap that says not
// how long is as long as every detector outlives. Soaks that run side
// by side are numbered by lab, from 1: each draws faults of its own, and its series are
// of its own server.
//
// Faults that end the server are a block of their own, the last tenth of the time and a
// cycle at least: the series of the one server are whole before it.
func (w *World) Soak(d time.Duration, lab, visitors int, faults ...fault.Fault) {
	w.t.Helper()
	say, err := progress(lab)
	if err != nil {
		w.abort(err)
	}
	defer say.Close()
	say.line("soak: %v, seed %d, %d visitors a cycle", d, w.suite.Seed, visitors)
	ends := func(f fault.Fault) bool { return f.Describe().Ends == w.Server.Role }
	spares := func(f fault.Fault) bool { return !ends(f) }
	kills, leftKills := w.bouts(slices.DeleteFunc(slices.Clone(faults), spares))
	bouts, left := w.bouts(slices.DeleteFunc(slices.Clone(faults), ends))
	for _, why := range append(left, leftKills...) {
		say.line("soak: left out: %s", why)
	}
	if len(bouts) == 0 {
		w.skip("no fault has a window on this target")
	}
	w.prime(visitors*3/2, load.Both)
	s := &soak{
		w: w, visitors: visitors, say: say, draw: rand.New(rand.NewPCG(uint64(w.suite.Seed), uint64(lab-1))),
		tally: tally{bad: map[record.Verdict]int{}, end: time.Now().Add(d)},
	}
	until := s.end
	if len(kills) > 0 {
		until = until.Add(-d / 10)
	}
	for time.Now().Before(until) && !w.suite.stopping() {
		s.run(bouts)
		w.profile(s.cycle, &s.tally)
	}
	s.attribute()
	if len(kills) > 0 && !w.suite.stopping() {
		say.line("soak: one server lived through %d cycles; from here on it is killed, too", s.cycle)
		for first := true; first || time.Now().Before(s.end) && !w.suite.stopping(); first = false {
			s.run(kills)
		}
	}
	say.line("soak: %s", s.observed())
	if s.starved > 0 {
		say.line("soak: %d of %d cycles are left out: the machine itself stood still", s.starved, s.cycle)
	}
	if leak.TooManyStarved(s.starved, s.cycle) {
		s.bad[record.Inconclusive] += s.starved
	}
	if len(s.bad) > 0 {
		w.t.Fatalf("soak: %v of the cycles; report: %s", s.bad, w.suite.reportPath())
	}
}

// soak is a soak that is under way.
type soak struct {
	tally
	w        *World
	visitors int
	say      *teller
	draw     *rand.Rand
}

// run runs one cycle, with one of the bouts.
func (s *soak) run(bouts []bout) {
	w := s.w
	w.t.Helper()
	began := time.Now()
	s.cycle++
	if err := w.next(s.cycle); err != nil {
		w.abort(err)
	}
	b := bouts[s.draw.IntN(len(bouts))]
	w.visit(s.visitors, b.flow(), nil)
	w.Inject(w.sized(b.fault))
	w.Settle()
	w.Heal()
	w.ExpectService()
	j := w.judge([]*Process{w.Server, w.Client})
	now := time.Now()
	// Round(0) strips the monotonic reading.
	if jump := clockJump(now.Round(0).Sub(began.Round(0)), now.Sub(began)); jump != 0 {
		j = w.doubt(fmt.Sprintf("the clock of this machine jumped by %v: it was set, or the machine slept", jump.Round(time.Millisecond)))
	}
	w.read(j, &s.tally)
	s.say.line("%s", s.line(s.cycle, w.round, j, time.Since(began)))
}

// bout is a fault that a soak may draw, with the traffic that it meets.
type bout struct {
	fault fault.Fault
	busy  bool
}

func (b bout) flow() load.Flow {
	if b.busy {
		return load.Both
	}
	return load.Idle
}

// sized gives a flap without a length the longest that every detector outlives, with the
// traffic that is there.
func (w *World) sized(f fault.Fault) fault.Fault {
	if flap, ok := f.(fault.Flap); ok && flap.For == 0 {
		flap.For = w.ShortOutage()
		return flap
	}
	return f
}

// bouts are the faults, idle and busy, that this target has a window for, and why the
// others are left out.
func (w *World) bouts(faults []fault.Fault) (bouts []bout, left []string) {
	for _, f := range faults {
		for _, busy := range []bool{false, true} {
			r := round{fault: f.Describe(), traffic: idle}
			if busy {
				r.traffic = inFlight
			}
			groups := leak.Stated(w.suite.Settings, r.exposure())
			if window := leak.WindowOf(groups, r.exposure()); window.Upper < 0 && !window.Survive {
				left = append(left, fmt.Sprintf("%s at %s, %s: nothing ends a connection in bounded time: %s",
					r.fault.Name, r.fault.Place, r.traffic, leak.Unbounded(groups, r.exposure())))
				continue
			}
			bouts = append(bouts, bout{f, busy})
		}
	}
	return bouts, left
}

// Prime lets n idle visitors come and go, and takes snapshot B anew: what a program grows to
// by holding a crowd once, it keeps. Call it before Visit in a story of a crowd.
func (w *World) Prime(n int) {
	w.t.Helper()
	w.prime(n*3/2, load.Idle)
	if err := w.next(0); err != nil {
		w.abort(err)
	}
}

// prime lets the target meet more visitors at once than any cycle has, so that no record
// of concurrency is set in a cycle that is judged.
func (w *World) prime(visitors int, flow load.Flow) {
	w.t.Helper()
	burst, err := w.letIn(visitors, flow, w.protocols())
	closeAll(burst)
	if err != nil {
		w.abort(fmt.Errorf("priming burst: %w", err))
	}
}

// clockJump is by how much the clock on the wall disagrees with the monotonic one over the
// same time; 0 if it is too little to matter. Everything is timed by the monotonic one,
// which stands still while the machine sleeps.
func clockJump(wall, monotonic time.Duration) time.Duration {
	if jump := wall - monotonic; jump.Abs() >= time.Second {
		return jump
	}
	return 0
}

// doubt makes the cycle INCONCLUSIVE, whatever it was.
func (w *World) doubt(reason string) record.Judgement {
	w.t.Helper()
	j := record.Judgement{Verdict: record.Inconclusive, Reason: reason, Returned: -1}
	w.emit(record.Event{Kind: record.KindVerdict, Verdict: &j})
	w.round.verdict = record.Inconclusive
	return j
}

// read records what each process held at the end of the cycle: a point of each series.
func (w *World) read(j record.Judgement, t *tally) {
	w.t.Helper()
	r := w.round
	for _, p := range []*Process{w.Server, w.Client} {
		g := r.snapshots[p.Role].G
		if g.PID != p.PID() {
			continue // it began after the baseline, and is not judged
		}
		e := record.Event{At: time.Now(), Kind: record.KindReading, Reading: &record.Reading{
			Role: p.Role, PID: g.PID, Quiescent: r.outcome.SettledAfter >= 0, Counts: leak.CountsOf(g), Memory: g.Memory, Took: r.weighed[p.Role],
		}}
		if j.Verdict != record.Inconclusive && j.Verdict != record.Skipped {
			e.Reading.Exposures, e.Reading.FaultEvents = j.Exposures, j.FaultEvents
		}
		w.emit(e)
		t.readings = append(t.readings, e)
	}
	if j.Verdict != record.Inconclusive && j.Verdict != record.Skipped {
		t.exposures += j.Exposures
		t.faults += j.FaultEvents
	}
	switch {
	case j.Starved:
		t.starved++
	case j.Verdict != record.Pass:
		t.bad[j.Verdict]++
	}
}

// profile takes the server's heap profile at the first cycle whose memory is judged.
func (w *World) profile(cycle int, t *tally) {
	w.t.Helper()
	if cycle != leak.WarmUp(leak.FewestRounds, 0) {
		return
	}
	data, err := w.Server.HeapProfile(w.ctx)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		w.abort(err)
	}
	t.profile, t.profiled, t.profiledPID = data, cycle, w.Server.PID()
}

// attribute says where the server's heap grew, if the series say that it did: by another
// profile, against the first.
func (s *soak) attribute() {
	w, t := s.w, &s.tally
	w.t.Helper()
	if t.profile == nil || t.profiledPID != w.Server.PID() || t.cycle == t.profiled || !w.Server.Running() || !t.grows() {
		return
	}
	data, err := w.Server.HeapProfile(w.ctx)
	if err != nil {
		w.abort(err)
	}
	sites, err := leak.Sites(t.profile, data, t.cycle-t.profiled)
	if err != nil {
		w.abort(err)
	}
	w.emit(record.Event{Kind: record.KindGrowth, Growth: &record.Growth{Role: w.Server.Role, PID: w.Server.PID(), From: t.profiled, To: t.cycle, Sites: sites}})
	for _, x := range sites {
		s.say.line("soak: the heap grew by %s a cycle, %.2f objects, at %s", leak.Bytes(x.Bytes), x.Objects, x.Where)
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
