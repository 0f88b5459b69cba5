package fault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

// ExpireNAT makes the router forget every TCP mapping, as a NAT does with a
// connection that was idle for too long. Silent: packets of a forgotten
// connection vanish, and neither end is told. Otherwise each is answered with RST:
// who sends next is told.
//
// To delete the entries is enough for neither. The kernel would form the mapping
// anew at the next packet from the inside (nf_conntrack_tcp_loose), and the
// router's own stack would answer a packet from the outside with RST. So the
// fault sets tcp_loose=0 and drops or rejects what conntrack calls INVALID, both
// to and through the router.
type ExpireNAT struct {
	Silent bool
}

// looseKey decides whether conntrack takes up a connection in its middle.
const looseKey = "net.netfilter.nf_conntrack_tcp_loose"

// unknown is a rule for packets of no known TCP connection, less its chain.
func unknown(verdict ...string) []string {
	return append([]string{"-p", "tcp", "-m", "conntrack", "--ctstate", "INVALID", "-j"}, verdict...)
}

// Describe implements Fault.
func (x ExpireNAT) Describe() record.Fault {
	if x.Silent {
		return record.Fault{Name: "NAT expiry (silent)", Place: "router", Class: record.Silent}
	}
	return record.Fault{Name: "NAT expiry (loud)", Place: "router", Class: record.Reset}
}

// rule is what happens to packets of a forgotten connection.
func (x ExpireNAT) rule() []string {
	if x.Silent {
		return unknown("DROP")
	}
	return unknown("REJECT", "--reject-with", "tcp-reset")
}

// Inject implements Fault. The loud kind returns when the first RST has been sent:
// until somebody sends there is nothing to be told. The Heal takes the rules back;
// the mappings stay lost.
func (x ExpireNAT) Inject(ctx context.Context, on *lab.Lab) (Heal, Witness, error) {
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
	loose, err := nat.SwapSysctl(looseKey, "0")
	if err != nil {
		return fail(err)
	}
	undo = append(undo, loose)
	for _, chain := range []string{"INPUT", "FORWARD"} {
		if err := nat.Rule("-I", "filter", chain, x.rule()...); err != nil {
			return fail(err)
		}
		undo = append(undo, func() error { return nat.Rule("-D", "filter", chain, x.rule()...) })
	}
	// A connection that both ends have closed loses nothing, and its ports may be another's soon.
	before, err := nat.Established()
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
	if !x.Silent && len(lost) > 0 {
		if err := x.told(ctx, nat); err != nil {
			return fail(err)
		}
	}
	witness := func(context.Context) (string, bool, error) { return x.look(nat, lost) }
	return heal, witness, nil
}

// look says whether the mappings are lost and, for the loud kind, whether anybody
// has been told.
func (x ExpireNAT) look(nat *lab.NAT, lost map[lab.Mapping]bool) (string, bool, error) {
	now, err := nat.Mappings()
	if err != nil {
		return "", false, err
	}
	for _, m := range now {
		if lost[m] {
			return fmt.Sprintf("the mapping %s is there again", m), false, nil
		}
	}
	input, forward, err := x.hits(nat)
	if err != nil {
		return "", false, err
	}
	what := "packets dropped"
	if !x.Silent {
		what = "packets answered with RST"
	}
	saw := fmt.Sprintf("%d mappings lost and not back; %s: %d to the router, %d through it", len(lost), what, input, forward)
	return saw, len(lost) > 0 && (x.Silent || input+forward > 0), nil
}

// hits are the packets of forgotten connections: to the router, from the outside,
// and through it, from the inside.
func (x ExpireNAT) hits(nat *lab.NAT) (input, forward uint64, err error) {
	target := "REJECT"
	if x.Silent {
		target = "DROP"
	}
	if input, err = nat.Hits("INPUT", target); err != nil {
		return 0, 0, err
	}
	forward, err = nat.Hits("FORWARD", target)
	return input, forward, err
}

// quiet is for how long a loud expiry waits for a packet: longer than the keepalive
// of a target in test has its connections idle.
const quiet = time.Minute

// told waits until the first RST has been sent.
func (x ExpireNAT) told(ctx context.Context, nat *lab.NAT) error {
	ctx, cancel := context.WithTimeoutCause(ctx, quiet, fmt.Errorf("nobody has sent a packet for %v, so nobody is told", quiet))
	defer cancel()
	for {
		input, forward, err := x.hits(nat)
		if err != nil || input+forward > 0 {
			return err
		}
		if err := wait(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}
