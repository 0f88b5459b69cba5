package fault

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

// Flap pulls a cable and puts it back after a time: a loose contact, a switch that
// starts again. Connections must survive one that is shorter than their detectors.
//
// Not at the router's outer end: the router forgets its mappings there.
type Flap struct {
	At  lab.Place
	For time.Duration
}

// Describe implements Fault.
func (f Flap) Describe() record.Fault {
	return record.Fault{Name: fmt.Sprintf("cable out for %v", f.For), Place: string(f.At), Class: record.Flap}
}

// backTime bounds how long a cable that is plugged in again may take to carry
// packets: neighbours are asked for their addresses anew, a second apart.
const backTime = 10 * time.Second

// Inject implements Fault. It returns when packets pass again, so that the Heal
// has nothing to do. The cable is also put back when ctx ends before its time.
func (f Flap) Inject(ctx context.Context, on *lab.Lab) (Heal, Witness, error) {
	if f.For <= 0 {
		return nil, nil, errors.New("flap: set For: how long the cable is out")
	}
	end, err := on.End(f.At)
	if err != nil {
		return nil, nil, fmt.Errorf("flap: %w", err)
	}
	c, err := pull(end)
	if err != nil {
		return nil, nil, fmt.Errorf("flap %s: %w", end, err)
	}
	fail := func(err error) (Heal, Witness, error) {
		return nil, nil, errors.Join(fmt.Errorf("flap %s: %w", end, err), c.plugIn())
	}
	if err := wait(ctx, f.For); err != nil {
		return fail(err)
	}
	saw, out, err := c.look()
	if err != nil {
		return fail(err)
	}
	was := time.Since(c.since)
	if err := c.plugIn(); err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, backTime, fmt.Errorf("no packet passes %v after the cable was plugged in", backTime))
	defer cancel()
	if err := knock(ctx, end); err != nil {
		return fail(err)
	}
	witness := func(context.Context) (string, bool, error) {
		up, n, err := c.packets()
		if err != nil {
			return "", false, err
		}
		now := "down"
		if up {
			now = "up"
		}
		text := fmt.Sprintf("%s after %v; it is %s now, and %s got %d packets", saw, was.Round(time.Millisecond), now, end.Peer, n)
		return text, out && was >= f.For && up && n > 0, nil
	}
	return nothing, witness, nil
}

// wait waits for d, or fails when ctx is over.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// discard is a port that nobody listens on: to be refused there, packets must have
// passed both ways.
const discard = 9

// knock asks until packets pass the cable both ways.
func knock(ctx context.Context, end *lab.End) error {
	address := netip.AddrPortFrom(end.Peer.IP(), discard).String()
	for {
		conn, err := end.Host.DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w (%w)", context.Cause(ctx), err)
		}
		if err := wait(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}
