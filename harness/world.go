// Package harness is what a scenario talks to: a World holds one spec's lab,
// target, visitors, faults and probes, and says PASS or LEAK at the end. A
// scenario reads as a story:
//
//	w := harness.New(ctx, lab.BehindNAT)
//	w.Visit(24, load.HTTP, load.WebSocket, load.TCP)
//	w.Inject(fault.ExpireNAT{Silent: true})
//	w.Settle()
//	w.Heal()
//	w.ExpectService()
//	w.ExpectClean(w.Server, w.Client)
//
// Rooms below return errors; only World fails a spec.
package harness

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/load"
	"github.com/halfopen/halfopen/harness/probe"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/harness/target"
)

// T is the little that a World needs of a test framework.
type T interface {
	Helper()
	Logf(format string, args ...any)
	// Fatalf fails the spec and does not return.
	Fatalf(format string, args ...any)
	// Skipf ends the spec without a verdict of its own, and does not return.
	Skipf(format string, args ...any)
	// Cleanup runs fn when the spec is over, the last first.
	Cleanup(fn func())
}

// World is one spec's lab, target, load, faults, probes and record. Its methods
// fail the spec; they are called from the spec's own goroutine.
type World struct {
	// Server and Client are the target's processes. Client is the one that is
	// there from the start, and returns after a fault.
	Server, Client *Process
	Lab            *lab.Lab

	t          T
	ctx        context.Context
	suite      *Suite
	id, name   string // of the spec in the record, and its full text
	deployment *target.Deployment
	neighbours []neighbour
	origin     *load.Origin
	dir        string // certificates; goes with the spec
	logs       string // outputs of the processes; kept unless the spec passes
	seed       uint64 // of the next visitor
	faults     int    // injected so far
	evidence   evidence

	mu    sync.Mutex // guards what the sampler reads: round and the processes
	round *round
}

// setUpTime bounds how long a lab and its target may take to be ready, warm and
// quiescent.
const setUpTime = 60 * time.Second

// closeTime bounds each clean-up step; it has a context of its own, so that an
// interrupted spec is cleaned up too.
const closeTime = 10 * time.Second

// newWorld builds the lab, starts the target on it, warms it up, and takes
// snapshot B.
func newWorld(ctx context.Context, t T, suite *Suite, spec record.Spec, id string, topology lab.Topology) *World {
	t.Helper()
	w := &World{t: t, ctx: ctx, suite: suite, id: id, name: spec.Name, seed: uint64(suite.Seed) << 20, evidence: evidence{mode: suite.Evidence}}
	setUp, cancel := context.WithTimeoutCause(ctx, setUpTime, errors.New("setting up took too long"))
	defer cancel()
	l, err := topology()
	if err != nil {
		w.emit(record.Event{Kind: record.KindBegin, Begin: &spec})
		if errors.Is(err, errors.ErrUnsupported) {
			w.lacks(err.Error())
		}
		w.abort(err)
	}
	w.Lab = l
	spec.Topology = l.Drawing
	w.emit(record.Event{Kind: record.KindBegin, Begin: &spec})
	t.Cleanup(w.close)
	if l.Speaks6() && !suite.Target.IPv6 {
		w.skip(fmt.Sprintf("the story is told over IPv6: the file of target %s does not say that it speaks it", suite.Target.Name))
	}
	if err := w.evidence.watch(l); err != nil {
		w.abort(err)
	}
	if err := w.start(setUp); err != nil {
		w.abort(err)
	}
	if err := w.warmUp(setUp); err != nil {
		w.abort(fmt.Errorf("warm up: %w", err))
	}
	if err := w.begin(setUp, 0); err != nil {
		w.abort(err)
	}
	if n := len(l.Neighbours); n != len(w.neighbours) {
		w.skip(fmt.Sprintf("the story needs a server that knows %d clients beside its two: target %s has %d", n, suite.Target.Name, suite.Target.Neighbours))
	}
	return w
}

// start starts the origin, the server and the client.
func (w *World) start(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "halfopen-spec-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	w.dir, w.logs = dir, filepath.Join(w.suite.Dir, "logs", w.id)
	if w.deployment, err = w.suite.Target.Deploy(w.Lab, w.suite.Bins, dir, w.logs); err != nil {
		return err
	}
	w.deployment.KeyLog = w.evidence.mode == EvidenceFull
	web, err := w.Lab.Origin.Listen(ctx, netip.AddrPortFrom(w.Lab.AnyIP(), target.OriginHTTP).String()) // each client comes by a cable of its own
	if err != nil {
		return fmt.Errorf("start origin: %w", err)
	}
	raw, err := w.Lab.Origin.Listen(ctx, netip.AddrPortFrom(w.Lab.AnyIP(), target.OriginTCP).String())
	if err != nil {
		return errors.Join(fmt.Errorf("start origin: %w", err), web.Close())
	}
	w.origin = load.Serve(web, raw)
	if err := w.startServer(ctx); err != nil {
		return err
	}
	if err := w.startClient(ctx); err != nil {
		return err
	}
	return w.startNeighbours(ctx)
}

// startServer starts the server.
func (w *World) startServer(ctx context.Context) error {
	i, err := w.deployment.StartServer(ctx)
	if err != nil {
		return err
	}
	server, err := w.adopt(ctx, i)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.Server = server
	w.mu.Unlock()
	return nil
}

// restartServer starts a server in the place of one that has ended. Its account begins
// anew: the round judges the client alone.
func (w *World) restartServer(ctx context.Context) error {
	if err := w.Server.Observer.Close(); err != nil {
		return err
	}
	return w.startServer(ctx)
}

// startClient starts the client that returns after faults.
func (w *World) startClient(ctx context.Context) error {
	i, err := w.deployment.StartClient(ctx, target.Returning)
	if err != nil {
		return err
	}
	client, err := w.adopt(ctx, i)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.Client = client
	w.mu.Unlock()
	return nil
}

// warmUp lets the target meet everything once before the baseline is taken:
// visits of each protocol, a second client's login and logout, and a login of the
// first client over again. What a program builds lazily is no leak.
func (w *World) warmUp(ctx context.Context) error {
	if err := w.visitOnce(ctx, w.Lab.Visitor, target.Returning); err != nil {
		return err
	}
	if err := w.newcomer(ctx); err != nil {
		return err
	}
	if err := w.Client.leave(ctx); err != nil {
		return err
	}
	if err := w.comeBack(ctx); err != nil {
		return err
	}
	if err := w.warmNeighbours(ctx); err != nil {
		return err
	}
	var visitors []*load.Visitor
	defer func() { closeAll(visitors) }()
	for _, flow := range []load.Flow{load.Idle, load.Both} {
		for range warmUpVisitors {
			more, err := w.open(ctx, w.Lab.Visitor, target.Returning, flow, w.protocols())
			visitors = append(visitors, more...)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// comeBack lets the first client, which has left in good order, log in again and serve,
// within the time that a heal gives. If it cannot, its name or its port were not freed:
// that takes no fault. On a machine that stood still, it is not to blame.
func (w *World) comeBack(ctx context.Context) error {
	limit := leak.ServiceLimit(w.suite.Settings)
	within, cancel := context.WithTimeoutCause(ctx, seconds(limit), fmt.Errorf("%.3g s are over", limit))
	defer cancel()
	waited, err := withWaits(func() error {
		if err := w.startClient(within); err != nil {
			return err
		}
		return w.served(within, w.Lab.Visitor, target.Returning)
	})
	if err == nil || ctx.Err() != nil || leak.Starved(record.Outcome{Waited: waited}) {
		return excuse(err, waited)
	}
	return &dead{fmt.Errorf("the client left in good order, came back, and is not served within %.3g s: %w", limit, err)}
}

// dead is an error that speaks of the target, not of the set-up.
type dead struct{ error }

func (d *dead) Unwrap() error { return d.error }

// warmUpVisitors is how many visitors of each protocol, idle and busy, a warm-up
// has at once.
const warmUpVisitors = 4

// died tells of a process that ended by itself, also before there is a round; "" if
// none did.
func (w *World) died() string {
	if w.round != nil {
		w.living() // notes it
		return w.round.outcome.Died
	}
	for _, p := range []*Process{w.Server, w.Client} {
		if p != nil && !p.Running() && !p.AsTold() {
			p.report("exited", p.Status())
			return p.epitaph()
		}
	}
	return ""
}

// abort records that the spec could not be set up, and fails it.
func (w *World) abort(err error) {
	w.t.Helper()
	j := record.Judgement{Verdict: record.Inconclusive, Reason: err.Error(), Returned: -1}
	if errors.As(err, new(*dead)) {
		j.Verdict = record.Dead
	}
	died := w.died()
	if died == "" && errors.Is(err, probe.ErrGone) {
		died = w.awaitEnd()
	}
	if died != "" {
		j.Verdict, j.Reason = record.Dead, died
	}
	if w.ctx.Err() == nil {
		w.emit(record.Event{Kind: record.KindVerdict, Verdict: &j})
		if w.round != nil {
			w.round.judged, w.round.verdict = true, j.Verdict
			w.keepEvidence(j.Verdict)
		}
	}
	w.t.Fatalf("%s: %s", j.Verdict, j.Reason)
}

// awaitEnd is died, once it is known how a process ended that is gone already for who
// observes it: it loses its sockets and its memory before it can be waited for.
func (w *World) awaitEnd() (died string) {
	for end := time.Now().Add(10 * time.Second); died == "" && time.Now().Before(end); died = w.died() {
		time.Sleep(5 * time.Millisecond)
	}
	return died
}

// close ends the spec: faults healed, visitors gone, processes killed, hosts down.
func (w *World) close() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), closeTime)
	defer cancel()
	w.mu.Lock()
	r := w.round
	w.mu.Unlock()
	var errs []error
	if r != nil {
		r.stopSampler()
		if r.starved != nil {
			r.starved.End()
		}
		errs = append(errs, r.heal(ctx))
		r.end()
		if !r.judged && w.ctx.Err() == nil {
			w.emit(record.Event{Kind: record.KindVerdict, Verdict: &record.Judgement{
				Verdict: record.Inconclusive, Returned: -1, FaultEvents: r.events,
				Reason: "the spec ended before ExpectClean judged anything",
			}})
		}
	}
	for _, p := range []*Process{w.Server, w.Client} {
		if p != nil {
			errs = append(errs, p.Observer.Close())
		}
	}
	if w.origin != nil {
		errs = append(errs, w.origin.Close())
	}
	errs = append(errs, w.evidence.stop(), w.Lab.Close())
	if w.dir != "" {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	if r != nil && r.judged && r.verdict == record.Pass {
		errs = append(errs, os.RemoveAll(w.logs))
	} else {
		errs = append(errs, w.evidence.secrets.files(w.logs))
	}
	if err := errors.Join(errs...); err != nil {
		w.t.Fatalf("take down the lab: %v", err)
	}
}

// emit writes one event of this spec to the record. A record that cannot be
// written makes every verdict worthless, so it fails the spec.
func (w *World) emit(e record.Event) {
	w.t.Helper()
	e.Spec = w.id
	if e.At.IsZero() {
		e.At = time.Now()
	}
	if w.round != nil {
		e.Cycle = w.round.cycle
	}
	if err := w.suite.record.Write(e); err != nil {
		w.t.Fatalf("%v", err)
	}
}

func closeAll(visitors []*load.Visitor) {
	var all sync.WaitGroup
	for _, v := range visitors {
		all.Go(func() { _ = v.Close() }) // a visitor whose connection is dead has nothing to say
	}
	all.Wait()
}

// ensure that every fault satisfies the interface World injects.
var _ = []fault.Fault{
	fault.Kill{}, fault.Terminate{}, fault.Freeze{}, fault.ExhaustFDs{}, fault.PowerLoss{},
	fault.Unplug{}, fault.Flap{}, fault.LoseCarrier{}, fault.LoseRoute{}, fault.LoseAddress{},
	fault.Blackhole{}, fault.MTUBlackhole{}, fault.InjectRST{}, fault.DestroySockets{},
	fault.ExpireNAT{}, fault.RebindNAT{}, fault.NATLife{}, fault.RebootRouter{}, fault.Sequence{},
	fault.Strangers{}, fault.RefuseDials{},
}
