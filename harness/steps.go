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
	r.starved = StartStarvation()
	resume := w.hush()
	if !r.busy() {
		w.acknowledged()
	}
	w.expose()
	w.bound()
	for _, v := range r.visitors {
		select {
		case <-v.Done():
			r.outcome.Broken = fmt.Sprintf("a %s visitor from %s lost its connection before the fault: %v", v.Visit().Protocol, v.Local(), v.Err())
		default:
		}
	}
	w.listen()
	w.mu.Lock()
	r.began = time.Now()
	w.mu.Unlock()
	resume()
	heal, witness, err := f.Inject(w.ctx, w.Lab)
	if err != nil {
		w.abort(err)
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

// edges are the roles whose connections at the edge a fault at a place goes through.
var edges = map[string]string{string(lab.AtVisitor): "server", string(lab.AtOrigin): "client"}

// exposure says what the window is computed for.
func (r *round) exposure() leak.Exposure {
	x := leak.Exposure{Class: r.fault.Class, Edge: edges[r.fault.Place], Busy: r.busy(), Without: r.fault.Ends}
	x.Full = r.traffic == zeroWindow && x.Edge == "server"
	if x.Class == record.Frozen {
		x.Without = r.fault.Place // who is frozen can let go of nothing: its peer must
	}
	return x
}

// bound computes the window from what the exposed sockets have, and skips the spec if
// there is none.
func (w *World) bound() {
	w.t.Helper()
	r := w.round
	x := r.exposure()
	groups := w.groups(x, func(s *leak.Snapshots) (record.Sample, []record.Socket) {
		return s.E, leak.Exposed(r.fault, s.B, s.E)
	})
	r.window = leak.WindowFor(w.suite.Settings, groups, x)
	if bound := w.suite.Settings.HalfClose; r.traffic == halfClosed && bound > 0 {
		r.window.Lower = min(r.window.Lower, max(0, bound-1)) // silence is enough, whatever the fault
	}
	if r.fault.Brings {
		r.window.Lower = 0 // each is struck at a moment of its own, maybe in the middle of its login
	}
	// A flap that is shorter than every detector needs no bound.
	if r.window.Upper < 0 && !r.window.Survive {
		w.skip(fmt.Sprintf("nothing ends a connection in bounded time after %s at %s: in target %s %s",
			r.fault.Name, r.fault.Place, w.suite.Target.Name, leak.Unbounded(groups, x)))
	}
	if expected, _ := w.suite.Target.ExpectsSkip(w.name); expected {
		w.abort(errors.New("not skipped, although the target's file expects it"))
	}
	w.emit(record.Event{Kind: record.KindWindow, Window: &r.window})
}

// groups are the connections that of gives for each process's snapshots, as they are set.
func (w *World) groups(x leak.Exposure, of func(*leak.Snapshots) (record.Sample, []record.Socket)) []leak.Group {
	sockets, namespaces := map[string][]record.Socket{}, map[string]*record.Namespace{}
	for role, s := range w.round.snapshots {
		sample, some := of(s)
		sockets[role], namespaces[role] = some, sample.Namespace
	}
	// Who is reached by which address: visitors and origins are at the edge.
	return leak.Groups(w.suite.Settings, x, sockets, w.Lab.Edge(), namespaces)
}

// load counts the visitors.
func (r *round) load() *record.Load {
	l := &record.Load{Visitors: map[string]int{}, Traffic: r.traffic}
	for _, v := range r.visitors {
		l.Visitors[string(v.Visit().Protocol)]++
		l.Bytes += v.Bytes()
	}
	if r.errands != nil {
		l.Bytes += r.errands.bytes.Load()
	}
	return l
}

// expose takes snapshot E and notes what goes through the fault.
func (w *World) expose() {
	w.t.Helper()
	w.snapshot(record.Exposed, func(s *leak.Snapshots, e record.Sample) { s.E = e })
	r := w.round
	for role, s := range r.snapshots {
		inodes := map[uint64]bool{}
		for _, c := range leak.Exposed(r.fault, s.B, s.E) {
			inodes[c.Inode] = true
		}
		w.mu.Lock()
		r.exposed[role], r.holders[role], r.gaveUp = inodes, s.E.PID, time.Time{}
		w.mu.Unlock()
	}
	r.fault.Exposures = len(r.exposed[w.Server.Role])
	if r.fault.Brings { // a server accepts nothing that is cut inside TCP's own handshake
		r.fault.Exposures = max(r.fault.Exposures, len(r.exposed[w.Client.Role]))
	}
	if r.fault.Class == record.Frozen {
		w.mu.Lock()
		delete(r.exposed, r.fault.Place) // who is frozen can let go of nothing: its peer must
		w.mu.Unlock()
	}
}

// acknowledged waits until the kernels have acknowledged all that idle visitors were
// sent: a delayed ACK (40 to 200 ms) would leave data in flight when the fault comes,
// and the kernel would resend it instead of probing. A connection counts once it was seen
// with nothing in flight: heartbeats go on.
func (w *World) acknowledged() {
	w.t.Helper()
	done := map[uint64]bool{}
	for end := time.Now().Add(acknowledgeTime); ; {
		var samples []record.Sample
		for _, p := range w.living() {
			s, err := p.Sample(w.ctx)
			if err != nil {
				w.abort(fmt.Errorf("wait for acknowledgements: %w", err))
			}
			samples = append(samples, s)
		}
		waiting := inTransit(samples, done)
		switch {
		case waiting == "":
			return
		case time.Now().After(end):
			w.abort(fmt.Errorf("visitors are not idle: after %v %s", acknowledgeTime, waiting))
		}
		if err := pause(w.ctx, poll); err != nil {
			w.t.Fatalf("wait for acknowledgements: %v", err)
		}
	}
}

// acknowledgeTime is far more than a kernel delays an ACK for.
const acknowledgeTime = 2 * time.Second

// inTransit names a connection on which something is not acknowledged, and has been in
// no look before; "" if there is none. done are those that were seen without.
func inTransit(samples []record.Sample, done map[uint64]bool) (waiting string) {
	for _, s := range samples {
		for _, c := range s.Sockets {
			switch {
			case c.State == "LISTEN":
			case c.SendQ == 0:
				done[c.Inode] = true
			case !done[c.Inode] && waiting == "":
				waiting = fmt.Sprintf("%s: %d bytes from %s to %s are not acknowledged", s.Role, c.SendQ, c.Local, c.Remote)
			}
		}
	}
	return waiting
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

// living are the processes that still run. One that ended, and not by the fault,
// is noted.
func (w *World) living() []*Process {
	var alive []*Process
	for _, p := range []*Process{w.Server, w.Client} {
		switch {
		case p.Running():
			alive = append(alive, p)
		case w.round.outcome.Died == "" && !(w.round.injected && w.round.fault.Ends == p.Role):
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
			if !p.Running() {
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
	w.beside()
	w.snapshot(record.WindowEnd, func(s *leak.Snapshots, f record.Sample) { s.F = f })
	r.outcome.Noticed = w.noticed()
	w.look("held to the end of the window")
	w.survey()
}

// endure waits until the deadline of a fault that is to be survived, and notes the
// first connection that is given up. Where data was in flight, it must flow again.
func (w *World) endure() {
	w.t.Helper()
	r := w.round
	end := r.at.Add(seconds(r.window.Deadline))
	before := r.load().Bytes
	for time.Now().Before(end) {
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
	}
	w.beside()
	r.settled, r.passed = true, time.Now()
	r.outcome.Waited = r.starved.Waited()
	w.snapshot(record.WindowEnd, func(s *leak.Snapshots, f record.Sample) { s.F = f })
	w.look("held to the end of the window")
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
	if !w.Server.Running() && r.fault.Ends == w.Server.Role {
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
