package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/load"
	"github.com/halfopen/halfopen/harness/record"
)

// What a client beside the fault gets while it lasts, as a share of what it was offered.

// offerShare of what the machine can do is offered: enough to be felt, and so little that a
// machine which is busy with a fault too can give it.
const offerShare = 0.25

// offerTime is for how long a rate is measured before the fault.
const offerTime = time.Second

// floods are as many connections as a login has sessions, by default.
const floods = 4

// OfferBeside measures how many bytes a second the first neighbour's visitors can have, and
// offers them a quarter of that from now on, until the heal. A fault that is not the
// neighbour's must leave it most of it. Call it before Visit: snapshot B is taken anew.
func (w *World) OfferBeside() {
	w.t.Helper()
	ctx, cancel := context.WithTimeoutCause(w.ctx, setUpTime, errors.New("measuring what the machine can do took too long"))
	defer cancel()
	rate := &record.Offer{}
	visitors, err := w.flood(ctx, 0)
	if err == nil {
		rate.Capacity, err = w.measure(ctx, visitors)
	}
	closeAll(visitors)
	if err == nil {
		err = w.next(0)
	}
	if err != nil {
		w.abort(fmt.Errorf("measure what the machine can do: %w", err))
	}
	r := w.round
	rate.Offered = offerShare * rate.Capacity
	r.offer.visitors, err = w.flood(ctx, rate.Offered/floods)
	r.beside = append(r.beside, r.offer.visitors...)
	// A machine that is busy for a moment is asked again.
	for tries := 0; err == nil && tries < 3 && rate.Before < leak.Keeps*rate.Offered; tries++ {
		rate.Before, err = w.measure(ctx, r.offer.visitors)
	}
	if err != nil {
		w.abort(fmt.Errorf("offer a quarter of what the machine can do: %w", err))
	}
	r.outcome.Offer = rate
}

// offer is what a round measures of it.
type offer struct {
	visitors []*load.Visitor
	from     time.Time
	bytes    int64 // by then
}

func (o *offer) total() int64 {
	var n int64
	for _, v := range o.visitors {
		n += v.Bytes()
	}
	return n
}

// begin starts to measure, just before the fault.
func (o *offer) begin() { o.from, o.bytes = time.Now(), o.total() }

// rate is bytes a second since then.
func (o *offer) rate() float64 { return float64(o.total()-o.bytes) / time.Since(o.from).Seconds() }

// flood opens visitors of the first neighbour, each of which takes rate bytes a second.
func (w *World) flood(ctx context.Context, rate float64) (visitors []*load.Visitor, err error) {
	if len(w.neighbours) == 0 {
		return nil, fmt.Errorf("lab %s has one client only", w.Lab.Name)
	}
	routes, err := w.deployment.Routes(w.neighbours[0].client)
	if err != nil {
		return nil, err
	}
	route, ok := routes[string(load.TCP)]
	if !ok {
		return nil, fmt.Errorf("target %s has no way for %s", w.suite.Target.Name, load.TCP)
	}
	for range floods {
		visit := w.visitOf(load.TCP, route)
		visit.Flow, visit.Rate = load.Flood, rate
		v, err := load.Open(ctx, w.Lab.Guest.DialContext, visit)
		if err != nil {
			return visitors, err
		}
		visitors = append(visitors, v)
	}
	return visitors, nil
}

// measure lets the visitors come to their rate, and says what it is in bytes a second.
func (w *World) measure(ctx context.Context, visitors []*load.Visitor) (float64, error) {
	if err := pause(ctx, offerTime/2); err != nil {
		return 0, err
	}
	o := offer{visitors: visitors}
	o.begin()
	if err := pause(ctx, offerTime); err != nil {
		return 0, err
	}
	return o.rate(), nil
}

// kept notes what came of the offer when the window is over. A window that is shorter than
// what a rate is measured over is waited out for as long.
func (w *World) kept() {
	w.t.Helper()
	r := w.round
	if r.outcome.Offer == nil {
		return
	}
	if err := pause(w.ctx, time.Until(r.offer.from.Add(offerTime))); err != nil {
		w.t.Fatalf("measure beside the fault: %v", err)
	}
	x := r.outcome.Offer
	x.Over, x.During, x.Waited = time.Since(r.offer.from).Seconds(), r.offer.rate(), r.starved.Waited()
}
