package fault

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

// The faults of this file leave the interface at a place up, and take away what it
// needs: the carrier, the routes, the address. An error on this host neither shortens
// nor lengthens the kernel's timers: a probe that cannot leave counts as unanswered.

// LoseCarrier takes the other end of a cable down, so that the one at the place is up
// and has no carrier: a switch without power.
type LoseCarrier struct {
	At lab.Place
}

// Describe implements Fault.
func (c LoseCarrier) Describe() record.Fault {
	return record.Fault{Name: "carrier lost", Place: string(c.At), Class: record.Silent}
}

// Inject implements Fault.
func (c LoseCarrier) Inject(_ context.Context, on *lab.Lab) (Heal, Witness, error) {
	end, err := on.End(c.At)
	if err != nil {
		return nil, nil, fmt.Errorf("lose carrier: %w", err)
	}
	far, err := pull(end.Peer)
	if err != nil {
		return nil, nil, fmt.Errorf("lose carrier of %s: %w", end, err)
	}
	witness := func(context.Context) (string, bool, error) {
		up, carrier, err := end.Carrier()
		if err != nil {
			return "", false, err
		}
		saw, out, err := far.look()
		return fmt.Sprintf("%s: up %v, carrier %v; %s", end, up, carrier, saw), up && !carrier && out, err
	}
	return func(context.Context) error { return far.plugIn() }, witness, nil
}

// LoseRoute deletes every route by the cable at a place: a DHCP client that gave up, a
// VPN that took the default route away. Packets still come in; no answer goes out.
type LoseRoute struct {
	At lab.Place
}

// Describe implements Fault.
func (r LoseRoute) Describe() record.Fault {
	return record.Fault{Name: "route gone", Place: string(r.At), Class: record.OneWay}
}

// Inject implements Fault.
func (r LoseRoute) Inject(_ context.Context, on *lab.Lab) (Heal, Witness, error) {
	end, err := on.End(r.At)
	if err != nil {
		return nil, nil, fmt.Errorf("lose route: %w", err)
	}
	back, err := end.Unroute()
	if err != nil {
		return nil, nil, fmt.Errorf("lose route at %s: %w", end, err)
	}
	witness := func(context.Context) (string, bool, error) {
		reaches, err := end.Host.Reaches(end.Peer.IP())
		if reaches {
			return fmt.Sprintf("host %s has a route to %s", end.Host.Name, end.Peer.IP()), false, err
		}
		return fmt.Sprintf("host %s has no route to %s", end.Host.Name, end.Peer.IP()), true, err
	}
	return func(context.Context) error { return back() }, witness, nil
}

// LoseAddress takes the address away from the end of a cable: packets to it find
// nobody, those from it cannot leave. With Moves the host gets another one of the
// same network at once, as a laptop does that was carried to the next room: it can
// connect anew, but its connections are lost, and nobody is told. The Heal gives the
// address back; what has been connected from the other one by then goes on.
type LoseAddress struct {
	At    lab.Place
	Moves bool // to another address
}

// Describe implements Fault.
func (a LoseAddress) Describe() record.Fault {
	name := "address gone"
	if a.Moves {
		name = "address changed"
	}
	return record.Fault{Name: name, Place: string(a.At), Class: record.Silent}
}

// moved is the last byte of the address that a host moves to; the lab gives 1 and 2.
const moved = 77

// Inject implements Fault.
func (a LoseAddress) Inject(_ context.Context, on *lab.Lab) (Heal, Witness, error) {
	end, err := on.End(a.At)
	if err != nil {
		return nil, nil, fmt.Errorf("lose address: %w", err)
	}
	if on.Speaks6() {
		return nil, nil, fmt.Errorf("lose address of %s: a host goes on sending from an IPv6 address that it has lost, so its peers hear it: %w", end, errors.ErrUnsupported)
	}
	var next []netip.Addr // none
	if a.Moves {
		next = []netip.Addr{end.Neighbour(moved)}
	}
	heal := func(context.Context) error {
		has, err := end.Host.Has(end.IP())
		if err != nil || has {
			return err
		}
		return end.Readdress(append([]netip.Addr{end.IP()}, next...)...)
	}
	if err := end.Readdress(next...); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("lose address of %s: %w", end, err), heal(context.Background()))
	}
	witness := func(context.Context) (string, bool, error) {
		has, err := end.Host.Has(end.IP())
		if err != nil || has {
			return fmt.Sprintf("host %s has the address %s", end.Host.Name, end.IP()), false, err
		}
		saw := fmt.Sprintf("host %s has not the address %s", end.Host.Name, end.IP())
		if a.Moves {
			if has, err = end.Host.Has(next[0]); err != nil || !has {
				return saw + fmt.Sprintf(", nor %s", next[0]), false, err
			}
			saw += fmt.Sprintf(", but %s", next[0])
		}
		return saw, true, nil
	}
	return heal, witness, nil
}
