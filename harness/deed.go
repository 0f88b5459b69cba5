package harness

import (
	"context"
	"time"

	"github.com/halfopen/halfopen/harness/load"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/harness/target"
)

// What a deed of Meddle may need.

// Guest starts one more client of the target, beside those that a World has. Its role must
// be its own. Whoever calls it stops it.
func (w *World) Guest(ctx context.Context, c target.ClientValues) (*target.Instance, error) {
	return w.deployment.StartClient(ctx, c)
}

// Limits are what the target refuses more of.
func (w *World) Limits() target.Limits { return w.suite.Target.Limits }

// Handshake is how long the target lets somebody be silent who has not said what they want;
// 0 if for ever.
func (w *World) Handshake() time.Duration { return seconds(w.suite.Settings.Handshake) }

// Waited is for how long this machine has let threads wait since snapshot E: what a deed saw
// late by so much blames nobody.
func (w *World) Waited() time.Duration { return seconds(w.waited()) }

// Route is how visitors reach the returning client by a protocol; ok is false if the target
// has no way for it.
func (w *World) Route(p load.Protocol) (route target.Route, ok bool, err error) {
	routes, err := w.deployment.Routes(target.Returning)
	route, ok = routes[string(p)]
	return route, ok, err
}

// Visits are n visits to a client, spread over all ways that the target has, for a deed that
// opens them itself.
func (w *World) Visits(c target.ClientValues, n int) ([]load.Visit, error) {
	routes, err := w.deployment.Routes(c)
	if err != nil {
		return nil, err
	}
	var visits []load.Visit
	for i := range n {
		p := w.protocols()[i%len(routes)]
		visits = append(visits, w.visitOf(p, routes[string(p)]))
	}
	return visits, nil
}

// Note writes into the record where a packet sweep cuts, or what it has hit.
func (w *World) Note(c record.Cut) { w.emit(record.Event{Kind: record.KindCut, Cut: &c}) }

// Depart has all visitors leave at once, in the middle of what they do, and says how many.
func (w *World) Depart() int {
	closeAll(w.round.visitors)
	return len(w.round.visitors)
}
