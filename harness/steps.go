package harness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/load"
	"github.com/halfopen/halfopen/harness/probe"
	"github.com/halfopen/halfopen/harness/record"
)

// Inject takes snapshot E, makes the fault happen, and asks its witness. A fault
// that does not bite makes the spec INCONCLUSIVE.
func (w *World) Inject(f fault.Fault) {
	w.t.Helper()
	r := w.round
	if r.injected {
		w.abort(errors.New("inject: a round has one fault"))
	}
	r.fault = f.Describe()
	r.fault.Peers = w.Lab.Peers(lab.Place(r.fault.Place))
	w.spare()
	w.faults++
	r.fault.ID = w.faults
	w.emit(record.Event{Kind: record.KindLoad, Load: r.load()})
	before := r.starve()
	resume := w.hush()
	if !r.busy() {
		w.acknowledged()
	}
	w.expose()
	w.bound()
	r.severed(before)
	w.listen()
	w.lost()
	w.mu.Lock()
	r.began = time.Now()
	w.mu.Unlock()
	r.offer.begin()
	resume()
	waited := w.since()
	heal, witness, err := f.Inject(w.ctx, w.Lab)
	if err != nil {
		w.abort(err)
	}
	if r.fault.Within > 0 {
		w.outstayed(w.process(r.fault.Ends), r.began, seconds(r.fault.Within), waited)
	}
	r.at, r.injected, r.witness = time.Now(), true, witness
	r.events++
	r.undo = append(r.undo, heal)
	if r.fault.Brings {
		w.bring()
	}
	w.phase("injected", r.at)
	w.look("witnessed")
}

// severed notes a visitor who was lost before the fault, and what the machine had let threads
// wait by then, before and since snapshot E.
func (r *round) severed(before float64) {
	for _, v := range r.visitors {
		select {
		case <-v.Done():
			r.outcome.Broken = fmt.Sprintf("a %s visitor from %s lost its connection before the fault: %v", v.Visit().Protocol, v.Local(), v.Err())
			r.outcome.WaitedBefore = before + r.starved.Waited()
		default:
		}
	}
}

// bring takes snapshot E again: what goes through the fault has come with it. A socket
// that was accepted a moment ago is set in the next, and one that is dialled for nothing
// never is, so it looks until all are as the file says, for a second and a dial at most:
// then that is a finding.
func (w *World) bring() {
	w.t.Helper()
	for end := time.Now().Add(time.Second + seconds(w.suite.Settings.Dial)); ; {
		w.expose()
		unset := false
		for _, s := range w.round.snapshots {
			unset = unset || len(leak.Differences(w.suite.Settings, s.E)) > 0
		}
		if !unset || time.Now().After(end) {
			return
		}
		if err := pause(w.ctx, poll); err != nil {
			w.t.Fatalf("take snapshot E: %v", err)
		}
	}
}

// phase records a step in the fault's life.
func (w *World) phase(phase string, at time.Time) {
	w.t.Helper()
	f := w.round.fault
	f.Phase = phase
	w.emit(record.Event{Kind: record.KindFault, At: at, Fault: &f})
}

// look asks the fault's witness. Once it has said no, it stays no.
func (w *World) look(phase string) {
	w.t.Helper()
	r := w.round
	saw, bit, err := r.witness(w.ctx)
	if err != nil {
		w.abort(fmt.Errorf("witness %s: %w", r.fault.Name, err))
	}
	r.fault.Bit = bit && (r.fault.Bit || phase == "witnessed")
	r.fault.Witness = saw
	w.phase(phase, time.Now())
}

// living are the processes that still run. One that ended by itself is noted: ask before
// another takes its place.
func (w *World) living() []*Process {
	var alive []*Process
	for _, p := range []*Process{w.Server, w.Client} {
		switch {
		case p.Running():
			alive = append(alive, p)
		case w.round.outcome.Died == "" && !p.AsTold():
			w.round.outcome.Died = w.evidence.secrets.text(p.epitaph())
			p.report("exited", p.Status())
		}
	}
	return alive
}

// frozen says whether the fault holds a process still: until the heal it answers
// nothing, and it is sampled again after that.
func (w *World) frozen(p *Process) bool {
	r := w.round
	return r.injected && r.healedAt.IsZero() && r.fault.Class == record.Frozen && r.fault.Place == p.Role
}

func last(lines []string) string {
	if len(lines) == 0 {
		return "it printed nothing"
	}
	return lines[len(lines)-1]
}

// snapshot samples every living process that is not frozen, records it, and hands
// it to put.
func (w *World) snapshot(label record.Label, put func(*leak.Snapshots, record.Sample)) {
	w.t.Helper()
	for _, p := range w.living() {
		if w.frozen(p) {
			continue
		}
		s, err := p.Sample(w.ctx)
		if err != nil {
			if !p.Running() || errors.Is(err, probe.ErrGone) {
				continue // living notes it the next time
			}
			w.abort(fmt.Errorf("take snapshot %s: %w", label, err))
		}
		put(w.round.snapshots[p.Role], s)
		w.emit(record.Event{Kind: record.KindSnapshot, At: s.At, Snapshot: &record.Snapshot{Label: label, Sample: s}})
	}
}

// ShortOutage is for how long a path may be silent without any healthy connection
// being given up, from what the sessions' sockets have.
func (w *World) ShortOutage() time.Duration {
	groups := w.groups(leak.Exposure{Class: record.Flap}, func(s *leak.Snapshots) (record.Sample, []record.Socket) {
		return s.B, leak.Exposed(record.Fault{}, record.Sample{}, s.B)
	})
	return seconds(leak.ShortestOutage(groups, w.round.busy()))
}

// LongestSilence is how long an idle session may send no packet, from the target's
// settings; 0 if it may be silent for ever.
func (w *World) LongestSilence() time.Duration {
	return seconds(leak.LongestSilence(w.suite.Settings))
}

// Needs skips the spec if the target lacks something, named.
func (w *World) Needs(has bool, what string) {
	w.t.Helper()
	if !has {
		w.skip(fmt.Sprintf("the story needs %s, which target %s has not", what, w.suite.Target.Name))
	}
}

// Settle lets the window pass and takes snapshot F: as soon as nothing is left of
// what went through the fault, or at the end of the window's grace (T2). What is
// gone does not come back, so there is nothing to wait for after that.
func (w *World) Settle() {
	w.t.Helper()
	r := w.round
	if !r.injected {
		w.abort(errors.New("settle: no fault was injected"))
	}
	if r.window.Survive {
		w.endure()
		return
	}
	end := r.at.Add(seconds(r.window.Last))
	look := time.Time{} // of the next full sample: it is dear
	for {
		left, all := w.left()
		over := time.Now().After(end)
		w.first(left < all)
		if over || (left == 0 && time.Now().After(look)) {
			survivors := 0
			r.passed = time.Now() // a look takes long where the machine is busy
			w.snapshotQuietly(&survivors)
			if survivors == 0 || over {
				if survivors == 0 {
					r.outcome.Returned = r.passed.Sub(r.at).Seconds()
				}
				break
			}
			look = time.Now().Add(10 * poll)
		}
		if err := pause(w.ctx, poll); err != nil {
			w.t.Fatalf("settle: %v", err)
		}
	}
	r.settled = true
	r.outcome.Waited = r.starved.Waited()
	w.snapshot(record.WindowEnd, func(s *leak.Snapshots, f record.Sample) { s.F = f })
	w.beside()
	r.outcome.Noticed = w.noticed()
	w.look("held to the end of the window")
	w.survey()
}

// endure waits until the deadline of a fault that is to be survived, and notes the
// first connection that is given up. Where data was in flight, it must flow again, on each
// connection, and still when a third of the time is over: by then what the kernels had kept
// has been sent again.
func (w *World) endure() {
	w.t.Helper()
	r := w.round
	end := r.at.Add(seconds(r.window.Deadline))
	before := r.load().Bytes
	third := time.Now().Add(time.Until(end) / 3)
	var then map[*load.Visitor]int64
	for time.Now().Before(end) {
		if then == nil && time.Now().After(third) {
			then = w.through()
		}
		left, all := w.left()
		w.first(left < all)
		if err := pause(w.ctx, poll); err != nil {
			w.t.Fatalf("settle: %v", err)
		}
	}
	if err := w.origin.Err(); err != nil {
		r.outcome.Corrupt = fmt.Sprintf("the origin got a wrong byte: %v", err)
	}
	if r.busy() && r.load().Bytes == before {
		r.outcome.Stalled = fmt.Sprintf("no byte has come since %s was over", r.fault.Name)
	} else if n, all := stuck(then, w.through()); n > 0 {
		r.outcome.Stalled = fmt.Sprintf("of %d visitors with data in flight %d live and get none any more, after %s was over", all, n, r.fault.Name)
	}
	w.beside()
	r.settled, r.passed = true, time.Now()
	r.outcome.Waited = r.starved.Waited()
	w.snapshot(record.WindowEnd, func(s *leak.Snapshots, f record.Sample) { s.F = f })
	w.look("held to the end of the window")
}

// through is how many bytes have come through the target so far, for each visitor who lives
// and sends or takes all the time: an upload's are those that have reached the origin.
func (w *World) through() map[*load.Visitor]int64 {
	came := map[*load.Visitor]int64{}
	for _, v := range w.round.visitors {
		if v.Err() != nil {
			continue
		}
		switch v.Visit().Flow {
		case load.Upload:
			came[v] = w.origin.Checked(v.Visit().Seed)
		case load.Both, load.Download:
			came[v] = v.Bytes()
		}
	}
	return came
}

// stuck counts those of all that got nothing from then to now.
func stuck(then, now map[*load.Visitor]int64) (n, all int) {
	for v, bytes := range now {
		if before, known := then[v]; known && bytes == before {
			n++
		}
	}
	return n, len(now)
}

// left counts the exposed sockets that are still held, of all those whose holders live:
// a process that is gone holds nothing, and its successor never did.
func (w *World) left() (n, all int) {
	w.t.Helper()
	r := w.round
	for _, p := range w.living() {
		if p.PID() != r.holders[p.Role] {
			continue
		}
		held, err := p.Holds(r.exposed[p.Role])
		switch {
		case err == nil:
			n, all = n+held, all+len(r.exposed[p.Role])
		case !errors.Is(err, probe.ErrGone):
			// Taken for nothing held, it would be the end of the window.
			w.abort(fmt.Errorf("look for exposed sockets: %w", err))
		}
	}
	return n, all
}

// snapshotQuietly samples without a record, and counts the survivors.
func (w *World) snapshotQuietly(survivors *int) {
	w.t.Helper()
	for _, p := range w.living() {
		if w.frozen(p) {
			continue
		}
		f, err := p.Sample(w.ctx)
		if err != nil {
			if p.Running() {
				w.abort(fmt.Errorf("look for survivors: %w", err))
			}
			continue
		}
		s := w.round.snapshots[p.Role]
		*survivors += len(leak.Survivors(w.round.fault, s.B, s.E, f))
	}
}

// Heal undoes the fault, and lets the visitors go. A server that the fault ended is
// started again.
func (w *World) Heal() {
	w.t.Helper()
	r := w.round
	if r.injected && !r.settled {
		w.abort(errors.New("heal: call Settle first: a survivor holds the heal back"))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), closeTime)
	defer cancel()
	if err := r.heal(ctx); err != nil {
		w.abort(err)
	}
	if w.Server.AsTold() {
		if err := w.restartServer(ctx); err != nil {
			w.abort(err)
		}
	}
	r.healedAt = time.Now()
	if r.starved != nil {
		r.waited = r.starved.Waited()
	}
	w.phase("healed", r.healedAt)
	r.end()
	if err := w.origin.Err(); err != nil {
		r.outcome.Corrupt = fmt.Sprintf("the origin got a wrong byte: %v", err)
	}
	for _, v := range slices.Concat(r.visitors, r.beside) {
		if err := v.Err(); errors.Is(err, load.ErrCorrupt) {
			r.outcome.Corrupt = fmt.Sprintf("a %s visitor from %s got a wrong byte: %v", v.Visit().Protocol, v.Local(), err)
		}
	}
}

// heal undoes what was injected, the last first. It may be called again.
func (r *round) heal(ctx context.Context) error {
	for len(r.undo) > 0 {
		last := len(r.undo) - 1
		if err := r.undo[last](ctx); err != nil {
			return err
		}
		r.undo = r.undo[:last]
	}
	return nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
