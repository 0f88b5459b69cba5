package fault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

// RebindNAT has the router forget its mappings and give every connection another port
// from then on: a carrier's NAT that was moved to another machine, a pool that was
// renumbered. The server meets a stranger in the middle of a conversation and answers
// with RST; what it sends to the old port is answered with RST by the router.
type RebindNAT struct{}

// rebound is the range of ports that the router maps to then: above those that Linux
// gives by itself (32768 to 60999).
const rebound = "61000-65000"

// Describe implements Fault.
func (RebindNAT) Describe() record.Fault {
	return record.Fault{Name: "NAT rebound", Place: "router", Class: record.Reset}
}

// Inject implements Fault. It returns when the first connection that was mapped has
// come by another port, or the server's first packet to an old one was answered: until
// somebody sends, nobody is told. The Heal lets the router choose ports as before.
func (RebindNAT) Inject(ctx context.Context, on *lab.Lab) (Heal, Witness, error) {
	var old []lab.Mapping
	strangers := newBarrier(nil)
	heal, witness, err := onRouter(on, "rebind NAT", func(nat *lab.NAT, b *barrier) (w Witness, err error) {
		if old, err = nat.Established(); err != nil {
			return nil, err
		}
		if len(old) == 0 {
			return nil, errors.New("there is no mapping to be rebound")
		}
		if err := b.add("nat", "POSTROUTING", "-p", "tcp", "-o", nat.Outer.Name, "-j", "MASQUERADE", "--to-ports", rebound); err != nil {
			return nil, err
		}
		// Only to count them: they are answered by the router's own stack.
		strangers.host = nat.Host
		if err := strangers.add("filter", "OUTPUT", "-p", "tcp", "--tcp-flags", "RST", "RST", "-o", nat.Outer.Name, "-j", "ACCEPT"); err != nil {
			return nil, err
		}
		if _, err := nat.Forget(); err != nil {
			return nil, errors.Join(err, strangers.remove(ctx))
		}
		w = func(context.Context) (string, bool, error) { return reboundBy(nat, old, strangers) }
		if err := until(ctx, w, quiet, "nobody has sent a packet for "+quiet.String()); err != nil {
			return nil, errors.Join(err, strangers.remove(ctx))
		}
		return w, nil
	})
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context) error { return errors.Join(strangers.remove(ctx), heal(ctx)) }, witness, nil
}

// reboundBy says whether a connection that was mapped to one port has come by another,
// or the router has answered for one that it does not know.
func reboundBy(nat *lab.NAT, old []lab.Mapping, strangers *barrier) (string, bool, error) {
	now, err := nat.Mappings()
	if err != nil {
		return "", false, err
	}
	was := map[string]lab.Mapping{}
	for _, m := range old {
		was[m.Inside.String()+m.Remote.String()] = m
	}
	answered, whole, err := strangers.hits()
	if err != nil {
		return "", false, err
	}
	moved := 0
	for _, m := range now {
		before, known := was[m.Inside.String()+m.Remote.String()]
		switch {
		case known && before.Outside == m.Outside:
			return fmt.Sprintf("%s is as before", m), false, nil
		case known:
			moved++
		}
	}
	saw := fmt.Sprintf("of %d mappings %d are on another port now; the router answered %d packets to an old one with RST", len(old), moved, answered)
	return saw, whole && (moved > 0 || answered > 0), nil
}

// until waits for a witness to say yes.
func until(ctx context.Context, w Witness, within time.Duration, none string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, errors.New(none))
	defer cancel()
	for {
		_, yes, err := w(ctx)
		if err != nil || yes {
			return err
		}
		if err := wait(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}
