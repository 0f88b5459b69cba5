package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/probe"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/harness/target"
)

// A process that is told to end by SIGTERM has a time to do so, and as much more as the
// machine has let threads wait. One that stays is told of, with what it still did, and
// killed: the rest of the story is told without it.

// stay is a process that was told to end at that time, and has had its time: nil if it has
// ended. waited is how long the machine has let threads wait since, in seconds.
func stay(ctx context.Context, i *target.Instance, o *probe.Observer, told time.Time, within time.Duration, waited func() float64) (*record.Stay, error) {
	if !i.Running() {
		return nil, nil
	}
	for i.Running() {
		left := time.Until(told.Add(within + seconds(waited())))
		if left <= 0 {
			break
		}
		if err := parted(ctx, i, left); err != nil {
			return nil, err
		}
	}
	s := &record.Stay{Role: i.Role, PID: i.PID(), After: time.Since(told).Seconds(), Within: within.Seconds(), Waited: waited()}
	if !i.Running() {
		return s, nil
	}
	s.Runs = "what nobody observes"
	if o != nil {
		ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Second, errors.New("it does not answer"))
		defer cancel()
		if sample, err := o.Sample(ctx); err == nil {
			s.Runs = leak.Runs(sample)
		} else {
			s.Runs = fmt.Sprintf("what could not be read: %v", err)
		}
	}
	return s, i.Kill()
}

// part tells a process to end, outside of any fault, as stay has it. That it had ended by
// itself before is an error that blames it. It may have no observer.
func part(ctx context.Context, i *target.Instance, o *probe.Observer, within time.Duration, waited func() float64) (*record.Stay, error) {
	told := time.Now()
	if err := i.Signal(unix.SIGTERM); err != nil {
		return nil, err
	}
	if err := parted(ctx, i, within); err != nil {
		return nil, errors.Join(err, i.Kill())
	}
	s, err := stay(ctx, i, o, told, within, waited)
	if err == nil && s == nil && !i.AsTold() {
		err = &dead{errors.New(epitaph(i))}
	}
	return s, err
}

// goodbye tells a process to end and blames it if it does not, where there is no round to
// note it in.
func goodbye(ctx context.Context, i *target.Instance, o *probe.Observer) error {
	starved := StartStarvation()
	defer starved.End()
	s, err := part(ctx, i, o, fault.Goodbye, starved.Waited)
	if err != nil || s == nil {
		return err
	}
	verdict, reason := leak.Stayed(*s)
	if err = errors.New(reason); verdict == record.Dead {
		err = &dead{err}
	}
	return err
}

// farewell lets a client leave that came for the round, and notes if it does not in time, or
// had ended by itself before.
func (w *World) farewell(i *target.Instance, within time.Duration, waited func() float64) {
	w.t.Helper()
	o := &w.round.outcome
	s, err := part(context.WithoutCancel(w.ctx), i, nil, within, waited)
	switch {
	case errors.As(err, new(*dead)):
		if o.Died == "" {
			o.Died = w.evidence.secrets.text(err.Error())
		}
	case err != nil:
		w.abort(err)
	case s != nil && o.Stayed == nil:
		o.Stayed = s
	}
}

// parted waits until a process has ended, for so long at most.
func parted(ctx context.Context, i *target.Instance, most time.Duration) error {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-i.Exited():
		return nil
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// outstayed notes a process of the round that was told to end at that time, and still runs.
func (w *World) outstayed(p *Process, told time.Time, within time.Duration, waited func() float64) {
	w.t.Helper()
	if err := context.Cause(w.ctx); err != nil {
		w.t.Fatalf("wait for the end of the %s: %v", p.Role, err)
	}
	s, err := stay(w.ctx, p.Instance, p.Observer, told, within, waited)
	if err != nil {
		w.abort(err)
	}
	if s != nil && w.round.outcome.Stayed == nil {
		w.round.outcome.Stayed = s
	}
}

// process is the one that has a role.
func (w *World) process(role string) *Process {
	if role == w.Server.Role {
		return w.Server
	}
	return w.Client
}
