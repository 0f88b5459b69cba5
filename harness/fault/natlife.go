package fault

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

// NATLife has the router forget a connection that was silent for longer than Life, and
// drop what comes for it afterwards without a word. Connections that keep silent for
// less, by heartbeat or keepalive probes, survive; others die like those of ExpireNAT.
type NATLife struct {
	Life time.Duration // whole seconds, as the kernel counts
	// Outlived says that connections are silent for longer than Life, and so lost.
	Outlived bool
}

// lifeKey is how long conntrack keeps an established connection without a packet.
const lifeKey = "net.netfilter.nf_conntrack_tcp_timeout_established"

// Describe implements Fault.
func (n NATLife) Describe() record.Fault {
	d := record.Fault{Name: fmt.Sprintf("NAT life of %v", n.Life), Place: "router", Class: record.Spared}
	if n.Outlived {
		d.Class = record.Silent
	}
	return d
}

// Inject implements Fault. If connections are to be lost, it returns when the first
// mapping has gone; else when the life has passed twice, for a mapping has its old life
// until its next packet: what is lost by then is noticed in the window that follows. The
// Heal gives the router its patience back.
func (n NATLife) Inject(ctx context.Context, on *lab.Lab) (Heal, Witness, error) {
	if n.Life < time.Second || n.Life%time.Second != 0 {
		return nil, nil, fmt.Errorf("NAT life: %v: set Life to whole seconds", n.Life)
	}
	var old []func() error // sysctls, the last first
	set := func(key, value string) error {
		back, err := on.Router.SwapSysctl(key, value)
		if err == nil {
			old = append([]func() error{back}, old...)
		}
		return err
	}
	var rules *barrier
	heal, _, err := onRouter(on, "NAT life", func(_ *lab.NAT, b *barrier) (Witness, error) {
		rules = b
		for _, chain := range []string{"INPUT", "FORWARD"} {
			if err := b.add("filter", chain, unknown("DROP")...); err != nil {
				return nil, err
			}
		}
		return nil, errors.Join(set(looseKey, "0"), set(lifeKey, strconv.Itoa(int(n.Life.Seconds()))))
	})
	whole := func(ctx context.Context) error {
		var errs []error
		for _, back := range old {
			errs = append(errs, back())
		}
		if heal != nil {
			errs = append(errs, heal(ctx))
		}
		return errors.Join(errs...)
	}
	if err != nil {
		return nil, nil, errors.Join(err, whole(ctx))
	}
	nat := on.Router
	known, err := nat.Established()
	if err != nil {
		return nil, nil, errors.Join(err, whole(ctx))
	}
	began := time.Now()
	witness := func(context.Context) (string, bool, error) {
		now, err := nat.Mappings()
		if err != nil {
			return "", false, err
		}
		kept := 0
		for _, m := range now {
			for _, o := range known {
				if m == o {
					kept++
				}
			}
		}
		saw := fmt.Sprintf("%d of %d mappings are there %v after the life was set to %v", kept, len(known), time.Since(began).Round(time.Millisecond), n.Life)
		if n.Outlived {
			return saw, kept < len(known), nil
		}
		// Whether they are kept is up to the target: one that is silent for too long loses them.
		_, whole, err := rules.hits()
		if err == nil && !whole {
			saw += "; the router does not drop what it has forgotten"
		}
		return saw, whole && len(known) > 0, err
	}
	if n.Outlived {
		if err := until(ctx, witness, n.Life+quiet, "no mapping has expired"); err != nil {
			return nil, nil, errors.Join(fmt.Errorf("NAT life: %w", err), whole(ctx))
		}
	} else if err := wait(ctx, 2*n.Life); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("NAT life: %w", err), whole(ctx))
	}
	return whole, witness, nil
}
