package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/harness/target"
)

// ExpectService asks whether, after the heal, the returning client and a new
// one serve whole visits by every protocol, each within R: the one counted from the heal,
// the other, who comes when that one has had its time, from its start. A client that the
// fault killed is started again. The answer goes into the verdict: without service it is DEAD.
func (w *World) ExpectService() {
	w.t.Helper()
	r := w.round
	if r.healedAt.IsZero() {
		w.abort(errors.New("expect service: call Heal first"))
	}
	limit := leak.ServiceLimit(w.suite.Settings)
	services := w.serve(limit, fault.Goodbye)
	if len(w.neighbours) > 0 {
		services = append(services, w.serveWithin(limit, "neighbouring", time.Now(), w.waited(), w.neighboursServe))
	}
	w.note(services...)
}

// ExpectServiceMoved asks, between Settle and Heal, whether a client that the fault has moved
// to another address or network serves from there, within R of the window's end: by then it
// has noticed that its old connections are lost.
func (w *World) ExpectServiceMoved() {
	w.t.Helper()
	r := w.round
	if !r.settled || !r.healedAt.IsZero() {
		w.abort(errors.New("expect service of a client that has moved: call it between Settle and Heal"))
	}
	w.note(w.serveWithin(leak.ServiceLimit(w.suite.Settings), record.Moved, r.passed, r.outcome.Waited, w.returning))
}

// note keeps what clients got, for the verdict.
func (w *World) note(services ...record.Service) {
	w.t.Helper()
	if err := context.Cause(w.ctx); err != nil {
		w.t.Fatalf("expect service: %v", err)
	}
	for _, s := range services {
		w.emit(record.Event{Kind: record.KindService, Service: &s})
	}
	w.round.services = append(w.round.services, services...)
}

// serve lets the returning client and a new one serve, and the new one leave again: that has
// a time of its own, and is none of its service.
func (w *World) serve(limit float64, goodbye time.Duration) []record.Service {
	w.t.Helper()
	var guest *target.Instance
	services := w.ask(limit, w.returning, func(ctx context.Context) (err error) {
		guest, err = w.welcome(ctx)
		return err
	})
	if guest != nil {
		w.farewell(guest, goodbye, w.since())
	}
	return services
}

// ask lets the two clients serve, one after the other, each within limit seconds.
func (w *World) ask(limit float64, returning, newcomer func(context.Context) error) []record.Service {
	return []record.Service{
		w.serveWithin(limit, "returning", w.round.healedAt, w.round.waited, returning),
		w.serveWithin(limit, "new", time.Now(), w.waited(), newcomer),
	}
}

// serveWithin lets a client serve within limit seconds after from; see within.
func (w *World) serveWithin(limit float64, client string, from time.Time, waited float64, serve func(context.Context) error) record.Service {
	ctx, cancel := w.within(limit, from, waited)
	defer cancel()
	s := record.Service{Client: client, Limit: limit}
	err := serve(ctx)
	s.OK, s.After = err == nil, time.Since(from).Seconds()
	if err != nil {
		s.Error = err.Error()
	}
	return s
}

// waited is how long the machine has let threads wait since snapshot E, in seconds.
func (w *World) waited() float64 {
	if w.round.starved == nil {
		return 0
	}
	return w.round.starved.Waited()
}

// since tells how long the machine has let threads wait from now on, in seconds.
func (w *World) since() func() float64 {
	before := w.waited()
	return func() float64 { return w.waited() - before }
}

// within is a context that ends limit seconds after from, and as much later as the
// machine has let threads wait since, when that was waited: who serves in that time was
// late, but not dead.
func (w *World) within(limit float64, from time.Time, waited float64) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(w.ctx)
	go func() {
		for {
			left := time.Until(from.Add(seconds(limit + w.waited() - waited)))
			if left <= 0 {
				cancel(fmt.Errorf("%.3g s are over", limit))
				return
			}
			if pause(ctx, left) != nil {
				return
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

// returning waits until the first client serves again.
func (w *World) returning(ctx context.Context) error {
	w.living() // notes a process that ended by itself
	if !w.Client.Running() {
		if err := w.Client.Observer.Close(); err != nil {
			return err
		}
		if err := w.startClient(ctx); err != nil {
			return err
		}
	}
	return w.served(ctx, w.Lab.Visitor, target.Returning)
}

// Relogin starts the client that the fault killed again at once, before its window
// has passed: the new login meets the old one. The window counts from the new login,
// which a target may take for the old one's end.
func (w *World) Relogin() {
	w.t.Helper()
	if w.Client.Running() {
		w.abort(errors.New("log in again: the client still runs: inject a fault that ends it first"))
	}
	w.living() // notes one that ended by itself before the fault did it
	ctx, cancel := context.WithTimeoutCause(w.ctx, seconds(leak.ServiceLimit(w.suite.Settings)), errors.New("the client does not log in again"))
	defer cancel()
	if err := errors.Join(w.Client.Observer.Close(), w.startClient(ctx)); err != nil {
		w.abort(err)
	}
	w.round.at = time.Now()
}

// newcomer lets a second client log in, serve, and leave in good order.
func (w *World) newcomer(ctx context.Context) error {
	i, err := w.welcome(ctx)
	if i == nil {
		return err
	}
	return errors.Join(err, goodbye(context.WithoutCancel(ctx), i, nil))
}

// welcome lets a second client log in and serve. Whoever calls it lets it leave, if there is one.
func (w *World) welcome(ctx context.Context) (*target.Instance, error) {
	i, err := w.deployment.StartClient(ctx, target.Newcomer)
	if err != nil {
		return nil, err
	}
	return i, w.served(ctx, w.Lab.Visitor, target.Newcomer)
}

// served visits a client until a whole round of visits succeeds.
func (w *World) served(ctx context.Context, from *lab.Host, client target.ClientValues) error {
	for {
		once, cancel := context.WithTimeout(ctx, visitTime)
		err := w.visitOnce(once, from, client)
		cancel()
		if err == nil {
			return nil
		}
		if pause(ctx, poll) != nil {
			return err // the last visit's error says more than the deadline's
		}
	}
}

// visitTime bounds one try of a round of visits, so that one that hangs does not
// use up the whole time.
const visitTime = 2 * time.Second
