package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

// PowerLoss takes the power from the host on which a process runs: no peer hears
// of it again, neither of the process's connections nor of those of the others on
// that host. The processes stay dead, as with Kill.
//
// Cables out, kill, cables in would not be silent: the kernel survives in our lab,
// and sends the FIN of the dead process again and again until it gets through. So
// the host never again sends a packet of a connection that it has now, also not
// after the Heal. A machine that really came back would answer a late packet with
// RST; this one does not, so that nothing but the peer's own detectors can free what
// it holds.
type PowerLoss struct {
	Role string // of a process on the host: "client"
}

// Describe implements Fault.
func (p PowerLoss) Describe() record.Fault {
	return record.Fault{Name: "power loss", Place: p.Role, Class: record.Silent, Ends: p.Role}
}

// Inject implements Fault: first the cables are pulled, then the processes are
// killed. The Heal plugs the cables in.
func (p PowerLoss) Inject(ctx context.Context, on *lab.Lab) (Heal, Witness, error) {
	process, err := running(on, p.Role)
	if err != nil {
		return nil, nil, fmt.Errorf("power loss of %w", err)
	}
	host := process.Host
	var cables []*cable
	heal := func(context.Context) error {
		var errs []error
		for _, c := range cables {
			errs = append(errs, c.plugIn())
		}
		return errors.Join(errs...)
	}
	fail := func(err error) (Heal, Witness, error) {
		return nil, nil, errors.Join(fmt.Errorf("power loss of host %s: %w", host.Name, err), heal(ctx), host.Sysctl(looseKey, "1"))
	}
	// The rule takes a while to set, and bites no connection before Forget.
	if err := muteStrangers(host); err != nil {
		return fail(err)
	}
	for _, end := range on.Cables(host) {
		c, err := pull(end)
		if err != nil {
			return fail(err)
		}
		cables = append(cables, c)
	}
	if err := host.Sysctl(looseKey, "0"); err != nil {
		return fail(err)
	}
	if _, err := host.Forget(); err != nil {
		return fail(err)
	}
	var dead []*lab.Process
	for _, other := range on.Processes {
		if other.Host != host || !other.Running() {
			continue
		}
		if err := other.Kill(); err != nil {
			return fail(err)
		}
		dead = append(dead, other)
	}
	witness := func(context.Context) (string, bool, error) {
		var all []string
		bit := len(dead) > 0 && len(cables) > 0
		for _, d := range dead {
			saw, killed := corpse(d)
			all, bit = append(all, saw), bit && killed
		}
		for _, c := range cables {
			saw, out, err := c.look()
			if err != nil {
				return "", false, err
			}
			all, bit = append(all, saw), bit && out
		}
		return strings.Join(all, "; "), bit, nil
	}
	return heal, witness, nil
}

// muteStrangers makes a host drop what it would send on TCP connections that are not
// in its table: the FIN of a process that died, the RST that answers a late packet.
// There are no such connections while nf_conntrack_tcp_loose takes them up in their
// middle.
func muteStrangers(h *lab.Host) error {
	rule := append([]string{"!", "-o", "lo"}, unknown("DROP")...)
	has, err := h.HasRule("filter", "OUTPUT", rule...)
	if err != nil {
		return err
	}
	if !has { // else the power was lost before
		if err := h.Rule("-I", "filter", "OUTPUT", rule...); err != nil {
			return err
		}
	}
	// The key is there once a rule has asked for the host's connection table. A packet
	// of a connection that is known is no stranger, whatever its numbers.
	return h.Sysctl("net.netfilter.nf_conntrack_tcp_be_liberal", "1")
}
