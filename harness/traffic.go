package harness

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/load"
	"github.com/halfopen/halfopen/harness/target"
)

// The kinds of traffic that a fault may meet, as a tunnel has them.
const (
	idle        = "idle"      // all fall silent after their first bytes
	inFlight    = "in flight" // data is always under way, both ways
	zeroWindow  = "zero window"
	halfClosed  = "half-closed"
	muteOrigin  = "half-closed, the origin mute"
	muteVisitor = "half-closed, the visitor mute"
	upgrading   = "upgrade in progress"
	shortVisit  = "many short requests"
)

// traffics name the flows.
var traffics = map[load.Flow]string{
	load.Idle: idle, load.Both: inFlight,
	load.Upload: "in flight from the server", load.Download: "in flight from the client",
	load.Stalled: zeroWindow, load.HalfClosed: halfClosed, load.Upgrading: upgrading,
	load.MuteOrigin: muteOrigin, load.MuteVisitor: muteVisitor,
	load.HalfUp: "upload half-way", load.HalfDown: "download half-way",
}

// quiet are the kinds in which nobody sends: keepalive runs.
var quiet = map[string]bool{
	"": true, idle: true, upgrading: true, muteOrigin: true, muteVisitor: true, traffics[load.HalfUp]: true, traffics[load.HalfDown]: true,
}

// halves are the kinds in which one direction has ended.
var halves = map[string]bool{halfClosed: true, muteOrigin: true, muteVisitor: true}

// busy says whether data may be in flight.
func (r *round) busy() bool { return !quiet[r.traffic] }

// VisitIn is Visit in any state of traffic that the protocols have: a reader that has
// stopped, a connection half-closed, an upgrade that is not answered, a body half-way.
func (w *World) VisitIn(flow load.Flow, n int, protocols ...load.Protocol) {
	w.t.Helper()
	w.visit(n, flow, protocols)
	if flow == load.Stalled {
		w.stall(n)
	}
}

// stall waits until the window towards n visitors is closed: the server's kernel probes.
func (w *World) stall(n int) {
	w.t.Helper()
	for end := time.Now().Add(stallTime); ; {
		s, err := w.Server.Sample(w.ctx)
		if err != nil {
			w.abort(fmt.Errorf("wait for closed windows: %w", err))
		}
		closed := 0
		for _, c := range s.Sockets {
			if c.Timer == "persist" {
				closed++
			}
		}
		if closed >= n {
			return
		}
		if time.Now().After(end) {
			w.abort(fmt.Errorf("only %d of %d visitors who read no more have closed their windows in %v", closed, n, stallTime))
		}
		if err := pause(w.ctx, poll); err != nil {
			w.t.Fatalf("wait for closed windows: %v", err)
		}
	}
}

// stallTime is how long buffers may take to fill. A target may give up a closed window by
// TCP_USER_TIMEOUT soon after.
const stallTime = 4 * time.Second

// VisitShort opens n idle visitors, and lets as many others make one short visit after the
// other beside them, until the heal.
func (w *World) VisitShort(n int, protocols ...load.Protocol) {
	w.t.Helper()
	w.visit(n, load.Idle, protocols)
	routes, err := w.deployment.Routes(target.Returning)
	if err != nil {
		w.abort(err)
	}
	r := w.round
	r.traffic, r.errands = shortVisit, &errands{}
	ctx, cancel := context.WithCancel(w.ctx)
	r.errands.cancel = cancel
	for _, v := range r.visitors {
		visit := w.visitOf(v.Visit().Protocol, routes[string(v.Visit().Protocol)])
		r.errands.seats.Go(func() { r.errands.run(ctx, w.Lab.Visitor.DialContext, visit) })
	}
}

// Script is what visitors do one after the other. Each visit is small and whole, and says
// each of its steps; a protocol that the target has no way for is passed over.
type Script func(ctx context.Context, visit func(p load.Protocol, step func(string)) error) error

// scriptSize is how many bytes each of its visits sends: its packets are few.
const scriptSize = 1 << 10

// Amid is the fault with a script that is played while it is on its way, from the
// beginning again when it has ended or failed, for a fault that takes a while to strike and
// brings its own connections. The last visitor has left when the fault is in force.
func (w *World) Amid(f fault.Fault, script Script) fault.Fault {
	w.t.Helper()
	routes, err := w.deployment.Routes(target.Returning)
	if err != nil {
		w.abort(err)
	}
	return amid{f, func(ctx context.Context) {
		visit := func(p load.Protocol, step func(string)) error {
			route, has := routes[string(p)]
			if !has {
				return nil
			}
			v := w.visitOf(p, route)
			v.Size, v.Step = scriptSize, step
			once, cancel := context.WithTimeout(ctx, visitTime)
			defer cancel()
			err := load.Once(once, w.Lab.Visitor.DialContext, v)
			if errors.Is(err, load.ErrCorrupt) {
				w.round.outcome.Corrupt = fmt.Sprintf("a visitor that came before the fault got a wrong byte: %v", err)
			}
			return errors.Join(err, pause(ctx, poll))
		}
		for ctx.Err() == nil {
			_ = script(ctx, visit) // nobody is served until the client is back
		}
	}}
}

type amid struct {
	fault.Fault
	visit func(context.Context) // until the context is over
}

// Inject implements fault.Fault.
func (a amid) Inject(ctx context.Context, on *lab.Lab) (fault.Heal, fault.Witness, error) {
	visits, leave := context.WithCancel(ctx)
	var gone sync.WaitGroup
	gone.Go(func() { a.visit(visits) })
	heal, witness, err := a.Fault.Inject(ctx, on)
	leave()
	gone.Wait()
	return heal, witness, err
}

// errands are short visits, one after the other in each seat.
type errands struct {
	gate    sync.RWMutex // whoever is on a visit holds it for reading
	seats   sync.WaitGroup
	cancel  context.CancelFunc
	bytes   atomic.Int64
	corrupt atomic.Pointer[error] // the first wrong byte
}

func (e *errands) run(ctx context.Context, dial load.Dial, visit load.Visit) {
	for {
		for !e.gate.TryRLock() { // a spec that fails may leave it closed
			if pause(ctx, poll) != nil {
				return
			}
		}
		once, cancel := context.WithTimeout(ctx, visitTime)
		err := load.Once(once, dial, visit)
		cancel()
		e.gate.RUnlock()
		switch {
		case err == nil:
			e.bytes.Add(load.Whole)
		case errors.Is(err, load.ErrCorrupt):
			e.corrupt.CompareAndSwap(nil, &err)
		}
		if pause(ctx, poll) != nil {
			return
		}
	}
}

// hush lets all come home, so that a snapshot has none of them; nobody leaves again before
// resume is called.
func (w *World) hush() (resume func()) {
	w.t.Helper()
	e := w.round.errands
	if e == nil {
		return func() {}
	}
	e.gate.Lock()
	ctx, cancel := context.WithTimeoutCause(w.ctx, setUpTime, errors.New("short visits do not end"))
	defer cancel()
	for _, p := range []*Process{w.Server, w.Client} {
		if _, err := quiescent(ctx, p); err != nil {
			e.gate.Unlock()
			w.abort(fmt.Errorf("let short visits end: %w", err))
		}
	}
	return e.gate.Unlock
}

// end ends all visits of a round, the short ones too.
func (r *round) end() {
	if e := r.errands; e != nil {
		e.cancel()
		e.seats.Wait()
		if err := e.corrupt.Load(); err != nil && r.outcome.Corrupt == "" {
			r.outcome.Corrupt = fmt.Sprintf("a short visit got a wrong byte: %v", *err)
		}
	}
	closeAll(r.visitors)
	closeAll(r.beside)
}
