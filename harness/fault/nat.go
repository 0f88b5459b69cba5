package fault

import (
	"context"
	"errors"
	"fmt"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

// ExpireNAT makes the router forget every TCP mapping, as a NAT does with a
// connection that was idle for too long. Silent: packets of a forgotten
// connection vanish, and neither end is told.
//
// To delete the entries is not enough for that. The kernel would form the mapping
// anew at the next packet from the inside (nf_conntrack_tcp_loose), and the
// router's own stack would answer a packet from the outside with RST. So the
// fault sets tcp_loose=0 and drops what conntrack calls INVALID, both to and
// through the router.
type ExpireNAT struct {
	Silent bool // must be set: the loud kind is another fault
}

// looseKey decides whether conntrack takes up a connection in its middle.
const looseKey = "net.netfilter.nf_conntrack_tcp_loose"

// invalid matches packets of no known connection.
var invalid = []string{"-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP"}

// Describe implements Fault.
func (ExpireNAT) Describe() record.Fault {
	return record.Fault{Name: "NAT expiry (silent)", Place: "router", Class: record.Silent}
}

// Inject implements Fault. The Heal takes the rules back; the mappings stay lost.
func (x ExpireNAT) Inject(_ context.Context, on *lab.Lab) (Heal, Witness, error) {
	if !x.Silent {
		return nil, nil, errors.New("expire NAT: set Silent: a loud expiry is not built yet")
	}
	nat := on.Router
	if nat == nil {
		return nil, nil, fmt.Errorf("expire NAT: lab %s has no router", on.Name)
	}
	var undo []func() error
	heal := func(context.Context) error {
		for len(undo) > 0 {
			last := len(undo) - 1
			if err := undo[last](); err != nil {
				return fmt.Errorf("heal NAT: %w", err)
			}
			undo = undo[:last]
		}
		return nil
	}
	fail := func(err error) (Heal, Witness, error) {
		return nil, nil, errors.Join(fmt.Errorf("expire NAT: %w", err), heal(context.Background()))
	}
	if err := nat.Sysctl(looseKey, "0"); err != nil {
		return fail(err)
	}
	undo = append(undo, func() error { return nat.Sysctl(looseKey, "1") })
	for _, chain := range []string{"INPUT", "FORWARD"} {
		if err := nat.Rule("-I", "filter", chain, invalid...); err != nil {
			return fail(err)
		}
		undo = append(undo, func() error { return nat.Rule("-D", "filter", chain, invalid...) })
	}
	before, err := nat.Mappings()
	if err != nil {
		return fail(err)
	}
	if _, err := nat.Forget(); err != nil {
		return fail(err)
	}
	lost := map[lab.Mapping]bool{}
	for _, m := range before {
		lost[m] = true
	}
	witness := func(context.Context) (string, bool, error) {
		now, err := nat.Mappings()
		if err != nil {
			return "", false, err
		}
		for _, m := range now {
			if lost[m] {
				return fmt.Sprintf("the mapping %s is there again", m), false, nil
			}
		}
		input, err := nat.Hits("INPUT", "DROP")
		if err != nil {
			return "", false, err
		}
		forward, err := nat.Hits("FORWARD", "DROP")
		if err != nil {
			return "", false, err
		}
		saw := fmt.Sprintf("%d mappings lost and not back; packets dropped: %d to the router, %d through it", len(lost), input, forward)
		return saw, len(lost) > 0, nil
	}
	return heal, witness, nil
}
