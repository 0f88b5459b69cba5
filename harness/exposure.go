package harness

import (
	"errors"
	"fmt"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
)

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
	if halves[r.traffic] {
		leak.Halved(&r.window, w.suite.Settings)
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

// lost looks a last time, just before the fault: what was given up until now is not the
// fault's doing, whenever its peer hears of it.
func (w *World) lost() {
	w.t.Helper()
	r := w.round
	for _, p := range []*Process{w.Server, w.Client} {
		s := r.snapshots[p.Role]
		if s == nil || s.E.PID != p.PID() {
			continue
		}
		inodes := map[uint64]bool{}
		for _, c := range leak.Exposed(r.fault, s.B, s.E) {
			inodes[c.Inode] = true
		}
		held, err := p.Holds(inodes)
		if err != nil {
			continue // it has died, and that is told of elsewhere
		}
		if n := len(inodes) - held; n > 0 {
			r.outcome.Lost = fmt.Sprintf("the %s gave up %d of %d connections before the fault", p.Role, n, len(inodes))
			return
		}
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
