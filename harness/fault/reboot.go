package fault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

// RebootRouter takes both of the router's cables out for a time, and has it come back
// with an empty table: it answers for connections that it does not know with RST, as a
// router does that has no port open.
type RebootRouter struct {
	For time.Duration
}

// Describe implements Fault.
func (r RebootRouter) Describe() record.Fault {
	return record.Fault{Name: fmt.Sprintf("router rebooted in %v", r.For), Place: "router", Class: record.Reset}
}

// Inject implements Fault. It returns when the first RST was sent.
func (r RebootRouter) Inject(ctx context.Context, on *lab.Lab) (Heal, Witness, error) {
	if on.Router == nil {
		return nil, nil, fmt.Errorf("reboot router: lab %s has no router", on.Name)
	}
	inner, err := pull(on.Router.Inner)
	if err != nil {
		return nil, nil, fmt.Errorf("reboot router: %w", err)
	}
	outer, err := pull(on.Router.Outer)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("reboot router: %w", err), inner.plugIn())
	}
	b, loose := newBarrier(on.Router.Host), func() error { return nil }
	heal := func(ctx context.Context) error {
		return errors.Join(outer.plugIn(), inner.plugIn(), loose(), b.remove(ctx))
	}
	fail := func(err error) (Heal, Witness, error) {
		return nil, nil, errors.Join(fmt.Errorf("reboot router: %w", err), heal(context.Background()))
	}
	for _, chain := range []string{"INPUT", "FORWARD"} {
		if err := b.add("filter", chain, unknown("REJECT", "--reject-with", "tcp-reset")...); err != nil {
			return fail(err)
		}
	}
	back, err := on.Router.SwapSysctl(looseKey, "0")
	if err != nil {
		return fail(err)
	}
	loose = back
	if err := wait(ctx, r.For); err != nil {
		return fail(err)
	}
	saw, out, err := inner.look()
	if err != nil {
		return fail(err)
	}
	if _, err := on.Router.Forget(); err != nil {
		return fail(err)
	}
	if err := errors.Join(outer.plugIn(), inner.plugIn()); err != nil {
		return fail(err)
	}
	if err := b.met(ctx, quiet, "nobody has sent a packet for "+quiet.String()); err != nil {
		return fail(err)
	}
	told := b.witness("answered with RST")
	witness := func(ctx context.Context) (string, bool, error) {
		more, bit, err := told(ctx)
		return saw + ", then up; " + more, bit && out, err
	}
	return heal, witness, nil
}
