package harness

import (
	"context"
	"errors"
	"fmt"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/load"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/harness/target"
)

// What goes on beside a fault: other clients of the same server, in a lab that has them.
// They are not sampled. What is asked of them is that a fault which is not theirs takes
// nothing from their visitors, and that they serve after one that is.

// neighbour is one of them.
type neighbour struct {
	*target.Instance
	client target.ClientValues
}

// startNeighbours starts the lab's other clients, if the target knows so many.
func (w *World) startNeighbours(ctx context.Context) error {
	if len(w.Lab.Neighbours) > w.suite.Target.Neighbours {
		return nil // newWorld skips the spec
	}
	for n := range w.Lab.Neighbours {
		i, err := w.deployment.StartNeighbour(ctx, n+1)
		if err != nil {
			return err
		}
		w.neighbours = append(w.neighbours, neighbour{i, target.Neighbour(n + 1)})
	}
	return nil
}

// warmNeighbours visits each as the client is visited before the baseline is taken.
func (w *World) warmNeighbours(ctx context.Context) error {
	for _, n := range w.neighbours {
		if err := w.visitOnce(ctx, w.Lab.Guest, n.client); err != nil {
			return err
		}
		for _, flow := range []load.Flow{load.Idle, load.Both} {
			visitors, err := w.open(ctx, w.Lab.Guest, n.client, flow, w.protocols())
			defer closeAll(visitors)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// VisitBeside opens n visitors of each neighbour, spread over the protocols. They stay
// until the heal. A fault that is not the neighbours' must not cost one of them.
func (w *World) VisitBeside(n int, flow load.Flow) {
	w.t.Helper()
	if len(w.neighbours) == 0 {
		w.abort(fmt.Errorf("visit beside: lab %s has one client only", w.Lab.Name))
	}
	ctx, cancel := context.WithTimeoutCause(w.ctx, setUpTime, errors.New("opening the visitors took too long"))
	defer cancel()
	for _, one := range w.neighbours {
		visitors, err := w.open(ctx, w.Lab.Guest, one.client, flow, w.spread(n))
		w.round.beside = append(w.round.beside, visitors...)
		if err != nil {
			w.abort(fmt.Errorf("open visitors of %s: %w", one.Role, err))
		}
	}
}

// spare notes which connections the round's fault leaves alone.
func (w *World) spare() {
	w.t.Helper()
	f := &w.round.fault
	if server := w.Server.Role; f.Ends == server || f.Class == record.Frozen && f.Place == server {
		return // it is the neighbours' server too
	}
	spared, err := w.Lab.Spared(lab.Place(f.Place))
	if err != nil {
		w.abort(err)
	}
	if len(spared) > 0 {
		f.Spared = map[string][]string{w.Server.Role: spared}
		return
	}
	for _, v := range w.round.beside { // they go through it too, as they are
		if t := traffics[v.Visit().Flow]; t != w.round.traffic && !quiet[t] {
			w.round.traffic = "idle and in flight"
		}
	}
}

// beside looks, when the window is over, for what the neighbours have lost by a fault that
// was not theirs.
func (w *World) beside() {
	w.t.Helper()
	w.kept()
	r := w.round
	if r.fault.Spared == nil {
		return
	}
	lost := 0
	for _, v := range r.beside {
		if err := v.Err(); err != nil {
			lost++
			r.outcome.Beside = fmt.Sprintf("%d of %d visitors of other clients lost their connections by %s, which was not theirs; the last, by %s: %v",
				lost, len(r.beside), r.fault.Name, v.Visit().Protocol, err)
		}
	}
}

// neighboursServe waits until each neighbour serves.
func (w *World) neighboursServe(ctx context.Context) error {
	for _, n := range w.neighbours {
		if !n.Running() {
			return fmt.Errorf("%s ended by itself: %s: %s", n.Role, n.Status(), last(n.Tail(1)))
		}
		if err := w.served(ctx, w.Lab.Guest, n.client); err != nil {
			return fmt.Errorf("%s: %w", n.Role, err)
		}
	}
	return nil
}

// Rehearse lets all clients, with n visitors each, meet a fault once, unjudged, and takes
// snapshot B anew: what a server grows to by a crowd that loses everything at once, it
// keeps. Call it before Visit.
func (w *World) Rehearse(n int, f fault.Fault) {
	w.t.Helper()
	ctx, cancel := context.WithTimeoutCause(w.ctx, setUpTime, errors.New("the rehearsal took too long"))
	defer cancel()
	if err := w.rehearse(ctx, n, f); err != nil {
		w.abort(fmt.Errorf("rehearse: %w", err))
	}
	if err := w.next(0); err != nil {
		w.abort(fmt.Errorf("rehearse: %w", err))
	}
}

func (w *World) rehearse(ctx context.Context, n int, f fault.Fault) error {
	visitors, err := w.open(ctx, w.Lab.Visitor, target.Returning, load.Both, w.spread(n))
	defer func() { closeAll(visitors) }()
	if err != nil {
		return err
	}
	for _, one := range w.neighbours {
		more, err := w.open(ctx, w.Lab.Guest, one.client, load.Both, w.spread(n))
		visitors = append(visitors, more...)
		if err != nil {
			return err
		}
	}
	heal, _, err := f.Inject(ctx, w.Lab)
	if err != nil {
		return err
	}
	if err := heal(ctx); err != nil {
		return err
	}
	if err := w.served(ctx, w.Lab.Visitor, target.Returning); err != nil {
		return err
	}
	return w.neighboursServe(ctx)
}

// spread gives each of n visitors one of the target's protocols.
func (w *World) spread(n int) []load.Protocol {
	protocols, spread := w.protocols(), make([]load.Protocol, 0, n)
	for i := range n {
		spread = append(spread, protocols[i%len(protocols)])
	}
	return spread
}
