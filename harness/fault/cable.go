package fault

import (
	"context"
	"fmt"

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
	if err := end.Down(); err != nil {
		return nil, nil, fmt.Errorf("unplug %s: %w", end, err)
	}
	_, before, err := end.Peer.State()
	if err != nil {
		return nil, nil, fmt.Errorf("unplug %s: %w", end, err)
	}
	healed := false
	heal := func(context.Context) error {
		if healed {
			return nil
		}
		if err := end.Up(); err != nil {
			return fmt.Errorf("plug in %s: %w", end, err)
		}
		healed = true
		return nil
	}
	witness := func(context.Context) (string, bool, error) {
		up, _, err := end.State()
		if err != nil {
			return "", false, err
		}
		_, now, err := end.Peer.State()
		if err != nil {
			return "", false, err
		}
		state := "down"
		if up {
			state = "up"
		}
		return fmt.Sprintf("%s is %s; %s got %d packets since", end, state, end.Peer, now-before), !up && now == before, nil
	}
	return heal, witness, nil
}
