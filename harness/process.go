package harness

import (
	"context"
	"errors"
	"fmt"

	"github.com/halfopen/halfopen/harness/probe"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/harness/target"
)

// Process is one process of the target, with what observes it.
type Process struct {
	*target.Instance
	*probe.Observer

	report func(what, detail string)
	pools  bool // it holds connections of visitors or to origins when nobody visits
}

// epitaph says how a process ended that nobody had told to.
func (p *Process) epitaph() string { return epitaph(p.Instance) }

func epitaph(i *target.Instance) string {
	return fmt.Sprintf("the %s ended by itself: %s: %s", i.Role, i.Status(), last(i.Tail(1)))
}

// adopt observes a process that has just become ready, and records its life.
func (w *World) adopt(ctx context.Context, i *target.Instance) (*Process, error) {
	observed := probe.Process{Role: i.Role, PID: i.PID(), Host: i.Host, Pprof: i.Pprof, Free: i.FreePath, Metrics: i.Metrics.URL}
	for _, g := range i.Metrics.Gauges {
		observed.Gauges = append(observed.Gauges, probe.Gauge(g))
	}
	observer, err := probe.Open(ctx, observed)
	if err != nil {
		return nil, err
	}
	p := &Process{Instance: i, Observer: observer}
	p.report = func(what, detail string) {
		e := record.Process{Role: i.Role, Host: i.Host.Name, PID: i.PID(), What: what, Detail: detail}
		switch what {
		case "ready":
			e.Argv = w.evidence.secrets.argv(i.Argv)
		case "exited":
			e.Tail = w.evidence.secrets.lines(i.Tail(tailLines))
		}
		w.emit(record.Event{Kind: record.KindProcess, Process: &e})
	}
	p.report("ready", "")
	return p, nil
}

// tailLines of a process's output go into the record when it ends unasked.
const tailLines = 20

// weigh asks the process to give free memory back, if it can, and reads its
// memory into s. It comes after the counts: the finalizers that a collection runs
// would close lost sockets and hide them.
func (p *Process) weigh(ctx context.Context, s *record.Sample) error {
	m, err := p.Memory(ctx)
	if err != nil {
		return fmt.Errorf("weigh %s: %w", p.Role, err)
	}
	s.Memory = m
	return nil
}

// leave ends the process in good order, and its observation.
func (p *Process) leave(ctx context.Context) error {
	err := errors.Join(goodbye(ctx, p.Instance, p.Observer), p.Observer.Close())
	p.report("stopped", p.Status())
	return err
}
