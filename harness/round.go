package harness

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/load"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/harness/target"
)

// round is one fault with all that belongs to it, from snapshot B to the verdict.
// A scenario is one round, a soak many.
type round struct {
	cycle     int
	snapshots map[string]*leak.Snapshots // by role
	visitors  []*load.Visitor
	beside    []*load.Visitor // of neighbours
	offer     offer
	traffic   string
	errands   *errands                   // short visits, one after the other; nil if there are none
	exposed   map[string]map[uint64]bool // inodes by role, from snapshot E
	holders   map[string]int             // pids by role, of those that held them
	gaveUp    time.Time                  // when the sampler first missed one of them

	injected bool
	events   int // faults that were injected
	fault    record.Fault
	began    time.Time // when the fault began, at the earliest
	at       time.Time // when the fault was in force, at the latest
	window   record.Window
	undo     []fault.Heal
	witness  fault.Witness
	starved  *Starvation // measured from the first visitor to the fault, and anew from snapshot E to the verdict
	waited   float64     // by then, when the fault was healed
	settled  bool
	passed   time.Time // when the window was over
	healedAt time.Time
	weighed  map[string]float64 // seconds that reading G's memory took, by role
	services []record.Service
	network  map[string]network // by host, at the window's end, if anything was left
	printed  map[*Process]int64 // how far their outputs had come before the fault
	outcome  record.Outcome

	judged  bool
	verdict record.Verdict

	stop, stopped chan struct{} // of the sampler
	once          sync.Once     // closes stop
}

// poll is the time between two looks at what is still there.
const poll = 50 * time.Millisecond

// begin starts a round: it waits until the target is quiescent, and takes
// snapshot B.
func (w *World) begin(ctx context.Context, cycle int) error {
	r := &round{
		cycle: cycle, snapshots: map[string]*leak.Snapshots{}, exposed: map[string]map[uint64]bool{}, holders: map[string]int{}, weighed: map[string]float64{},
		outcome: record.Outcome{Returned: -1, First: -1}, stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	if w.round != nil {
		w.round.stopSampler()
		if w.round.starved != nil { // a fault never came
			w.round.starved.End()
		}
	}
	before := map[string]record.Sample{}
	if w.round != nil {
		for role, s := range w.round.snapshots {
			before[role] = s.Carry(w.round.verdict)
		}
	}
	w.mu.Lock()
	w.round = r
	w.mu.Unlock()
	sampling := false
	defer func() {
		if !sampling { // also where a record that cannot be written fails the spec
			close(r.stopped)
		}
	}()
	for _, p := range []*Process{w.Server, w.Client} {
		s, err := w.atRest(ctx, p)
		if err == nil {
			w.evidence.profile(ctx, p)
			err = p.weigh(ctx, &s)
		}
		if unread := leak.UnreadGauge(s); err == nil && unread != "" {
			err = errors.New(unread)
		}
		if err != nil {
			return fmt.Errorf("take snapshot B: %w", err)
		}
		r.snapshots[p.Role] = &leak.Snapshots{B: s, Before: before[p.Role]}
		w.emit(record.Event{Kind: record.KindSnapshot, At: s.At, Snapshot: &record.Snapshot{Label: record.Baseline, Sample: s}})
	}
	sampling = true
	go w.sample(r)
	return nil
}

// atRest is quiescent when nobody visits any more. A target may take its half-close bound
// to let go of a visitor and of an origin; what it still holds of the warm-up would be in
// the baseline, and hide as much that leaks. One that holds them for longer, as who keeps a
// pool, does so at rest: it is not waited for again.
func (w *World) atRest(ctx context.Context, p *Process) (record.Sample, error) {
	edge := w.Lab.Edge()[p.Role]
	for end := time.Now().Add(min(w.Grace(), setUpTime/4)); ; {
		s, err := quiescent(ctx, p)
		if err != nil || p.pools || leak.Connected(s, edge) == 0 {
			return s, err
		}
		p.pools = time.Now().After(end)
	}
}

// quiescent samples until the counts are equal twice in a row.
func quiescent(ctx context.Context, p *Process) (record.Sample, error) {
	last, err := p.Sample(ctx)
	for err == nil {
		if err = pause(ctx, 2*poll); err != nil {
			return last, fmt.Errorf("%s does not come to rest: %w", p.Role, err)
		}
		var now record.Sample
		if now, err = p.Sample(ctx); err == nil && leak.Alike(last, now) {
			return now, nil
		}
		last = now
	}
	return last, err
}

// pause waits for d, or fails when ctx is over.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Visit opens n idle visitors of the returning client, spread over the protocols
// (all that the target has, if none is named), each with a first round of bytes
// checked. They stay until the heal.
func (w *World) Visit(n int, protocols ...load.Protocol) {
	w.t.Helper()
	w.visit(n, load.Idle, protocols)
}

// VisitBusy is Visit with data in flight all the time, both ways.
func (w *World) VisitBusy(n int, protocols ...load.Protocol) {
	w.t.Helper()
	w.visit(n, load.Both, protocols)
}

// VisitUpload is Visit with data in flight all the time from the visitor to the origin,
// so from the server to the client: one end of each connection only receives.
func (w *World) VisitUpload(n int, protocols ...load.Protocol) {
	w.t.Helper()
	w.visit(n, load.Upload, protocols)
}

// VisitDownload is VisitUpload the other way, from the client to the server.
func (w *World) VisitDownload(n int, protocols ...load.Protocol) {
	w.t.Helper()
	w.visit(n, load.Download, protocols)
}

func (w *World) visit(n int, flow load.Flow, protocols []load.Protocol) {
	w.t.Helper()
	if len(protocols) == 0 {
		protocols = w.protocols()
	}
	for _, p := range protocols {
		if !slices.Contains(w.protocols(), p) {
			w.skip(fmt.Sprintf("target %s has no way for %s", w.suite.Target.Name, p))
		}
	}
	if w.round.starved == nil {
		w.round.starve()
	}
	visitors, err := w.letIn(n, flow, protocols)
	w.round.visitors = append(w.round.visitors, visitors...)
	if err != nil {
		w.abort(fmt.Errorf("open visitors: %w", err))
	}
	traffic := traffics[flow]
	switch w.round.traffic {
	case "", traffic:
		w.round.traffic = traffic
	default:
		w.round.traffic = "idle and in flight"
	}
}

// letIn opens n visitors of the returning client, spread over the protocols. Who did not
// get in is an error, which says if the machine stood still meanwhile.
func (w *World) letIn(n int, flow load.Flow, protocols []load.Protocol) (visitors []*load.Visitor, err error) {
	spread := make([]load.Protocol, 0, n)
	for i := range n {
		spread = append(spread, protocols[i%len(protocols)])
	}
	ctx, cancel := context.WithTimeoutCause(w.ctx, setUpTime, errors.New("the visitors took too long"))
	defer cancel()
	waited, err := withWaits(func() (err error) {
		visitors, err = w.open(ctx, w.Lab.Visitor, target.Returning, flow, spread)
		return err
	})
	return visitors, excuse(err, waited)
}

// Attempt has n visitors come while the fault is there, each with one whole visit, and
// says how many were served. They get what they get, and leave when they have waited
// for long enough; but nobody gets a wrong byte.
func (w *World) Attempt(n int, protocols ...load.Protocol) (served int) {
	w.t.Helper()
	if !w.round.injected || w.round.settled {
		w.abort(errors.New("attempt: call it between Inject and Settle"))
	}
	if len(protocols) == 0 {
		protocols = w.protocols()
	}
	routes, err := w.deployment.Routes(target.Returning)
	if err != nil {
		w.abort(err)
	}
	results, seats := make(chan error, n), make(chan struct{}, atOnce)
	for i := range n {
		p := protocols[i%len(protocols)]
		visit := w.visitOf(p, routes[string(p)])
		seats <- struct{}{}
		go func() {
			defer func() { <-seats }()
			ctx, cancel := context.WithTimeout(w.ctx, visitTime)
			defer cancel()
			results <- load.Once(ctx, w.Lab.Visitor.DialContext, visit)
		}()
	}
	for range n {
		switch err := <-results; {
		case err == nil:
			served++
		case errors.Is(err, load.ErrCorrupt):
			w.round.outcome.Corrupt = fmt.Sprintf("a visitor that came during the fault got a wrong byte: %v", err)
		}
	}
	return served
}

// atOnce is how many of those visitors are there at the same time.
const atOnce = 40

// protocols are those that the target has ways for.
func (w *World) protocols() []load.Protocol {
	routes, err := w.deployment.Routes(target.Returning)
	if err != nil {
		w.abort(err)
	}
	var found []load.Protocol
	for _, p := range slices.Sorted(maps.Keys(routes)) {
		found = append(found, load.Protocol(p))
	}
	return found
}

// entering is how many visitors come in at one time: servers bound how many they have not
// yet heard a request of, and a crowd is to be let in.
const entering = 256

// open opens one visitor of a client for each entry of protocols, so many of them at a time.
func (w *World) open(ctx context.Context, from *lab.Host, client target.ClientValues, flow load.Flow, protocols []load.Protocol) ([]*load.Visitor, error) {
	routes, err := w.deployment.Routes(client)
	if err != nil {
		return nil, err
	}
	type result struct {
		v   *load.Visitor
		err error
	}
	results := make(chan result, len(protocols))
	door := make(chan struct{}, entering)
	for _, p := range protocols {
		visit := w.visitOf(p, routes[string(p)])
		visit.Flow = flow
		go func() {
			door <- struct{}{}
			v, err := load.Open(ctx, from.DialContext, visit)
			<-door
			results <- result{v, err}
		}()
	}
	var visitors []*load.Visitor
	var errs []error
	for range protocols {
		r := <-results
		if r.err != nil {
			errs = append(errs, r.err)
			continue
		}
		visitors = append(visitors, r.v)
	}
	return visitors, errors.Join(errs...)
}

// visitOf is a visit with a seed that no other visit of this spec has.
func (w *World) visitOf(p load.Protocol, r target.Route) load.Visit {
	w.seed++
	return load.Visit{Protocol: p, Address: r.Address, Host: r.Host, Path: r.Path, Seed: w.seed}
}

// visitOnce makes one whole visit to a client by each protocol.
func (w *World) visitOnce(ctx context.Context, from *lab.Host, client target.ClientValues) error {
	routes, err := w.deployment.Routes(client)
	if err != nil {
		return err
	}
	for _, p := range w.protocols() {
		if err := load.Once(ctx, from.DialContext, w.visitOf(p, routes[string(p)])); err != nil {
			return err
		}
	}
	return nil
}

// skip ends the spec as SKIPPED, with what is missing.
func (w *World) skip(reason string) {
	w.t.Helper()
	if expected, told := w.suite.Target.ExpectsSkip(w.name); told && !expected {
		w.abort(fmt.Errorf("skipped, which the target's file does not expect: %s", reason))
	}
	w.lacks(reason)
}
