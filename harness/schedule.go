package harness

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/load"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/harness/target"
)

// schedule is the one in a file, as its user wrote the path: from the working folder or
// from the main module. Without a file it is drawn from the suite's seed, with so many
// steps, of faults that the target has a window for.
func (s *Suite) schedule(file string, steps int) (fault.Schedule, error) {
	if file != "" {
		return readSchedule(s.Root, file)
	}
	drawn := fault.Draw(uint64(s.Seed), steps, func(f record.Fault) bool {
		x, some := mixedExposure(f)
		return !some || leak.WindowFor(s.Settings, leak.Stated(s.Settings, x), x).Upper >= 0
	})
	return drawn, drawn.Check()
}

func readSchedule(root, file string) (fault.Schedule, error) {
	path, err := targetPath(root, file)
	if err != nil {
		return fault.Schedule{}, err
	}
	return fault.ReadSchedule(path)
}

// mixedExposure is what may have to notice one fault of a schedule: with data in flight,
// for other faults may leave some. It is false for a fault of which nothing dies.
func mixedExposure(f record.Fault) (leak.Exposure, bool) {
	r := round{fault: f, traffic: inFlight}
	return r.exposure(), f.Class != record.Spared && f.Class != record.Flap
}

// Play takes snapshot E, plays a schedule, and lets the window of its last fault pass:
// Inject and Settle in one. Visitors who are cut off meanwhile are followed by others.
// Afterwards some connections may live and some must be gone, and nobody can say which:
// what is judged is what is held when all have left.
func (w *World) Play(s fault.Schedule) {
	w.t.Helper()
	r := w.round
	if r.injected {
		w.abort(errors.New("play: a round has one schedule, or one fault"))
	}
	if err := s.Check(); err != nil {
		w.abort(fmt.Errorf("play schedule: %w", err))
	}
	faults, err := s.Faults()
	if err != nil {
		w.abort(fmt.Errorf("play schedule: %w", err))
	}
	file := fmt.Sprintf("schedule-%s.yaml", w.id)
	if err := s.Write(filepath.Join(w.suite.Dir, file)); err != nil {
		w.abort(err)
	}
	for _, f := range faults {
		if d := f.Describe(); d.Brings && d.Class != record.Unfinished { // it may strike a handshake too
			faults = append(faults, fault.As{Fault: f, Class: record.Unfinished})
		}
	}
	w.mixed(fmt.Sprintf("a schedule of %d steps", len(s.Steps)), faults, func() (string, bool) {
		told := record.Schedule{Seed: s.Seed, File: file, Steps: Steps(s)}
		w.emit(record.Event{Kind: record.KindSchedule, Schedule: &told})
		w.t.Logf("%s", s)
		r.events = len(s.Steps)
		played, err := s.Play(w.ctx, w.Lab, w.revive)
		if err != nil {
			w.abort(err)
		}
		bit := 0
		for i, p := range played {
			told.Steps[i].Bit, told.Steps[i].Saw = p.Bit, p.Saw
			if p.Bit {
				bit++
			}
			if errors.Is(p.Err, errors.ErrUnsupported) {
				w.lacks(fmt.Sprintf("step %d: %v", i+1, p.Err))
			}
		}
		told.Played = true
		w.emit(record.Event{Kind: record.KindSchedule, Schedule: &told})
		return fmt.Sprintf("%d of %d steps took effect", bit, len(s.Steps)), bit > 0
	})
}

// lacks ends the spec as SKIPPED for what this machine cannot do: no target's file can know.
func (w *World) lacks(what string) {
	w.t.Helper()
	w.emit(record.Event{Kind: record.KindVerdict, Verdict: &record.Judgement{Verdict: record.Skipped, Reason: what, Returned: -1}})
	if w.round != nil {
		w.round.judged, w.round.verdict = true, record.Skipped
	}
	w.t.Skipf("%s: %s", record.Skipped, what)
}

// Meddle is Play with a deed of the story's own in place of a schedule: whatever people do
// with the target that kills no path. It says what came of it, and whether it took effect; an
// error blames the target: it did not serve, or did not end what it must.
func (w *World) Meddle(name string, deed func(ctx context.Context) (saw string, bit bool, err error)) {
	w.t.Helper()
	if w.round.injected {
		w.abort(errors.New("meddle: a round has one deed, or one fault"))
	}
	// Whoever is left alone by it is left alone for good.
	silent := []fault.Fault{fault.Unplug{At: lab.AtClient}, fault.Unplug{At: lab.AtVisitor}, fault.Unplug{At: lab.AtOrigin}}
	w.mixed(name, silent, func() (string, bool) {
		saw, bit, err := deed(w.ctx)
		if err != nil && w.ctx.Err() == nil {
			w.round.outcome.Broken = fmt.Sprintf("%s: %v", name, err)
			return err.Error(), true
		}
		return saw, bit
	})
}

// mixed takes snapshot E, does what may kill some connections and not others, as the faults
// would, and lets the window pass.
func (w *World) mixed(name string, faults []fault.Fault, do func() (saw string, bit bool)) {
	w.t.Helper()
	r := w.round
	w.faults++
	r.fault = record.Fault{ID: w.faults, Name: name, Place: "several places", Class: record.Mixed}
	w.emit(record.Event{Kind: record.KindLoad, Load: r.load()})
	r.starve()
	w.expose()
	w.boundMixed(faults)
	w.listen()
	w.lost()
	w.mu.Lock()
	r.began = time.Now()
	w.mu.Unlock()
	r.at, r.injected, r.events = r.began, true, 1
	w.phase("injected", r.began)
	visiting, leave := context.WithCancel(w.ctx)
	defer leave()
	crowd := w.follow(visiting)
	saw, bit := do()
	leave()
	for v := range crowd {
		r.visitors = append(r.visitors, v)
	}
	r.witness = func(context.Context) (string, bool, error) { return saw, bit, nil }
	r.at = time.Now()
	w.look("witnessed")
	w.outlast()
}

// boundMixed computes the window of several faults, and skips the spec if one has none.
func (w *World) boundMixed(faults []fault.Fault) {
	w.t.Helper()
	var windows []record.Window
	for _, f := range faults {
		d := f.Describe()
		if d.Ends != "" {
			w.round.fault.Ends = d.Ends
		}
		x, some := mixedExposure(d)
		if !some {
			continue
		}
		d.Peers = w.Lab.Peers(lab.Place(d.Place))
		groups := w.groups(x, func(s *leak.Snapshots) (record.Sample, []record.Socket) {
			return s.E, leak.Exposed(d, s.B, s.E)
		})
		window := leak.WindowFor(w.suite.Settings, groups, x)
		if window.Upper < 0 {
			w.skip(fmt.Sprintf("nothing ends a connection in bounded time after %s at %s: in target %s %s",
				d.Name, d.Place, w.suite.Target.Name, leak.Unbounded(groups, x)))
		}
		windows = append(windows, window)
	}
	w.round.window = leak.Mixed(windows...)
	w.emit(record.Event{Kind: record.KindWindow, Window: &w.round.window})
}

// outlast lets the whole window pass, and takes snapshot F.
func (w *World) outlast() {
	w.t.Helper()
	r := w.round
	if err := pause(w.ctx, time.Until(r.at.Add(seconds(r.window.Deadline)))); err != nil {
		w.t.Fatalf("settle: %v", err)
	}
	r.settled, r.passed = true, time.Now()
	r.outcome.Waited = r.starved.Waited()
	w.snapshot(record.WindowEnd, func(s *leak.Snapshots, f record.Sample) { s.F = f })
	r.outcome.Noticed = w.noticed()
	w.survey()
}

// revive starts a process again that a step has ended.
func (w *World) revive(ctx context.Context, role string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, setUpTime, errors.New("it does not become ready"))
	defer cancel()
	p, start := w.process(role), func() error { return errors.Join(w.Client.Observer.Close(), w.startClient(ctx)) }
	if p == w.Server {
		start = func() error { return w.restartServer(ctx) }
	}
	// A goodbye may take a while, longer than its step.
	told, waited := time.Now(), w.since()
	if err := parted(ctx, p.Instance, fault.Goodbye); err != nil {
		return err
	}
	w.outstayed(p, told, fault.Goodbye, waited)
	w.living() // notes one that had ended by itself before its step told it to
	return start()
}

// follow lets a visitor come for each that is cut off, until ctx ends. The channel gives
// those that came, and is closed when no more come.
func (w *World) follow(ctx context.Context) <-chan *load.Visitor {
	routes, err := w.deployment.Routes(target.Returning)
	if err != nil {
		w.abort(err)
	}
	var visits []load.Visit // a seed for each that may come: they are counted by World alone
	for range followers {
		for _, v := range w.round.visitors {
			visit := w.visitOf(v.Visit().Protocol, routes[string(v.Visit().Protocol)])
			visit.Flow = v.Visit().Flow
			visits = append(visits, visit)
		}
	}
	came, n := make(chan *load.Visitor, len(visits)), len(w.round.visitors)
	var seats sync.WaitGroup
	for i, v := range w.round.visitors {
		seats.Go(func() {
			for k := i; k < len(visits); k += n {
				select {
				case <-v.Done():
				case <-ctx.Done():
					return
				}
				next, err := w.knock(ctx, visits[k])
				if err != nil {
					return
				}
				v = next
				came <- v
			}
		})
	}
	go func() {
		seats.Wait()
		close(came)
	}()
	return came
}

// followers are how many visitors come, one after the other, for one that was cut off.
const followers = 20

// knock opens a visit, again and again until it succeeds or ctx ends.
func (w *World) knock(ctx context.Context, visit load.Visit) (*load.Visitor, error) {
	for {
		once, cancel := context.WithTimeout(ctx, visitTime)
		v, err := load.Open(once, w.Lab.Visitor.DialContext, visit)
		cancel()
		switch {
		case err == nil:
			return v, nil
		case errors.Is(err, load.ErrCorrupt):
			w.mu.Lock()
			w.round.outcome.Corrupt = fmt.Sprintf("a visitor that came during the schedule got a wrong byte: %v", err)
			w.mu.Unlock()
			return nil, err
		}
		if err := pause(ctx, 2*poll); err != nil {
			return nil, err
		}
	}
}

// Steps are a schedule's as the record has them.
func Steps(s fault.Schedule) []record.Step {
	steps := make([]record.Step, len(s.Steps))
	for i, x := range s.Steps {
		steps[i] = record.Step{Fault: x.Fault, At: x.At, With: x.With, Start: x.Start.Seconds(), For: x.For.Seconds()}
	}
	return steps
}
