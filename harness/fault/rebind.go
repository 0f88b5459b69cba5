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
	var counts []*barrier // of their own, to count apart
	uncount := func(ctx context.Context) error {
		var errs []error
		for _, c := range counts {
			errs = append(errs, c.remove(ctx))
		}
		return errors.Join(errs...)
	}
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
		// A connection comes here with its first packet; one that comes with another was mapped before.
		moved := newBarrier(nat.Host)
		counts = append(counts, moved)
		if err := moved.add("nat", "POSTROUTING", "-p", "tcp", "!", "--syn", "-o", nat.Outer.Name, "-j", "MASQUERADE", "--to-ports", rebound); err != nil {
			return nil, err
		}
		// These are answered by the router's own stack.
		strangers := newBarrier(nat.Host)
		counts = append(counts, strangers)
		if err := strangers.add("filter", "OUTPUT", "-p", "tcp", "--tcp-flags", "RST", "RST", "-o", nat.Outer.Name, "-j", "ACCEPT"); err != nil {
			return nil, err
		}
		if _, err := nat.Forget(); err != nil {
			return nil, err
		}
		w = func(context.Context) (string, bool, error) { return reboundBy(nat, old, moved, strangers) }
		return w, until(ctx, w, quiet, "nobody has sent a packet for "+quiet.String())
	})
	if err != nil {
		return nil, nil, errors.Join(err, uncount(context.Background()))
	}
	return func(ctx context.Context) error { return errors.Join(uncount(ctx), heal(ctx)) }, witness, nil
}

// reboundBy says whether a connection that was mapped to one port has come by another,
// or the router has answered for one that it does not know. Rules count both: the kernel
// forgets a new mapping at once if the server answers with RST, so a list has it seldom.
func reboundBy(nat *lab.NAT, old []lab.Mapping, moved, strangers *barrier) (string, bool, error) {
	now, err := nat.Mappings()
	if err != nil {
		return "", false, err
	}
	for _, m := range now {
		for _, was := range old {
			if was.Inside == m.Inside && was.Remote == m.Remote && was.Outside == m.Outside {
				return fmt.Sprintf("%s is as before", m), false, nil
			}
		}
	}
	by, counted, err := moved.hits()
	if err != nil {
		return "", false, err
	}
	answered, whole, err := strangers.hits()
	if err != nil {
		return "", false, err
	}
	saw := fmt.Sprintf("of %d mappings none is as before; connections came by another port %d times; the router answered %d packets to an old one with RST", len(old), by, answered)
	return saw, counted && whole && by+answered > 0, nil
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
