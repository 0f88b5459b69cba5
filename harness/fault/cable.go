package fault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

// Unplug pulls a cable: netlink link-down at one end. From then on no packet
// passes; nobody is told.
type Unplug struct {
	At lab.Place
}

// Describe implements Fault.
func (u Unplug) Describe() record.Fault {
	return record.Fault{Name: "cable pulled", Place: string(u.At), Class: record.Silent}
}

// Inject implements Fault. The Heal puts the cable back, with the routes that the
// kernel dropped with it.
func (u Unplug) Inject(_ context.Context, on *lab.Lab) (Heal, Witness, error) {
	end, err := on.End(u.At)
	if err != nil {
		return nil, nil, fmt.Errorf("unplug: %w", err)
	}
	c, err := pull(end)
	if err != nil {
		return nil, nil, fmt.Errorf("unplug %s: %w", end, err)
	}
	heal := func(context.Context) error { return c.plugIn() }
	witness := func(context.Context) (string, bool, error) { return c.look() }
	return heal, witness, nil
}

// cable is one that was pulled.
type cable struct {
	end     *lab.End // where
	since   time.Time
	before  uint64 // packets that the other end had received by then
	plugged bool   // in again
}

// pull pulls a cable at one end.
func pull(end *lab.End) (*cable, error) {
	if err := end.Down(); err != nil {
		return nil, err
	}
	c := &cable{end: end, since: time.Now()}
	_, before, err := end.Peer.State()
	if err != nil {
		return nil, errors.Join(err, c.plugIn())
	}
	c.before = before
	return c, nil
}

// plugIn puts the cable back; again, it does nothing.
func (c *cable) plugIn() error {
	if c.plugged {
		return nil
	}
	if err := c.end.Up(); err != nil {
		return fmt.Errorf("plug in %s: %w", c.end, err)
	}
	c.plugged = true
	return nil
}

// packets are those that the other end has received since the cable was pulled.
func (c *cable) packets() (up bool, n uint64, err error) {
	up, _, err = c.end.State()
	if err != nil {
		return false, 0, err
	}
	_, now, err := c.end.Peer.State()
	if err != nil {
		return false, 0, err
	}
	return up, now - c.before, nil
}

// look says whether the cable is out, and no packet has passed.
func (c *cable) look() (saw string, out bool, err error) {
	up, n, err := c.packets()
	if err != nil {
		return "", false, err
	}
	state := "down"
	if up {
		state = "up"
	}
	return fmt.Sprintf("%s is %s; %s got %d packets since", c.end, state, c.end.Peer, n), !up && n == 0, nil
}
