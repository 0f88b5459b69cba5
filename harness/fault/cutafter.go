package fault

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

// CutAfter lets the first packets of every connection between client and server pass,
// and has the router drop all that follow: the path dies at one exact point of a
// connection's life, in the middle of a handshake or of an upgrade. The connections that
// are there were not counted from their first packet on, so they are destroyed, and those
// that the client makes instead go through the fault. As soon as one of them is cut the
// path is dead for all of them, that way, and for those who come later: no SYN passes.
//
//	client ---- router ---- server
//	 SYN    1 ---->
//	        <---- 2   SYN ACK
//	 ACK    3 ---->
//	        4 --x         Packets: 3
//
// The router counts with xt_connbytes, which needs nf_conntrack_acct, and remembers that it
// has cut with xt_recent. A packet is one as on a wire until the heal.
// https://man7.org/linux/man-pages/man8/iptables-extensions.8.html (connbytes, recent)
type CutAfter struct {
	Packets int // that pass, of both directions together; at least 1
	Way     Way // that is cut; the zero value is both
}

// Describe implements Fault.
func (c CutAfter) Describe() record.Fault {
	name, class := fmt.Sprintf("cut after packet %d", c.Packets), record.Silent
	if c.Way != BothWays {
		name, class = name+" "+string(c.Way), record.OneWay
	}
	return record.Fault{Name: name, Place: "router", Class: class, Brings: true}
}

// Inject implements Fault. It returns when the first packet was dropped: until a
// connection is old enough nothing is. From then on the others are cut too, however old.
func (c CutAfter) Inject(ctx context.Context, on *lab.Lab) (Heal, Witness, error) {
	if c.Packets < 1 {
		return nil, nil, fmt.Errorf("cut after packet %d: the first packet is number 1", c.Packets)
	}
	if c.Way != BothWays && c.Way != ToServer && c.Way != FromServer {
		return nil, nil, fmt.Errorf("cut after packet %d: no such way: %q", c.Packets, c.Way)
	}
	whole := func() error { return nil } // packets, no more
	unaccount := func() error { return nil }
	heal, witness, err := onRouter(on, fmt.Sprintf("cut after packet %d", c.Packets), func(nat *lab.NAT, b *barrier) (Witness, error) {
		uncount, err := nat.SwapSysctl(accountKey, "1")
		if err != nil {
			return nil, err
		}
		unaccount = uncount
		undo, err := on.Packetize() // a socket asks its cable once, when it connects
		if err != nil {
			return nil, err
		}
		whole = undo
		// The list has the client's address from the first packet on that was dropped.
		list := strings.ReplaceAll(b.mark, " ", "-")
		for _, d := range []struct {
			way  Way
			from *lab.End
			of   string // where the packet has the client's address
		}{{ToServer, nat.Inner, "--rsource"}, {FromServer, nat.Outer, "--rdest"}} {
			if c.Way != BothWays && c.Way != d.way {
				continue
			}
			if err := b.add("filter", "FORWARD", "-i", d.from.Name, "-p", "tcp",
				"-m", "connbytes", "--connbytes", strconv.Itoa(c.Packets+1), "--connbytes-dir", "both", "--connbytes-mode", "packets",
				"-m", "recent", "--name", list, "--set", d.of, "-j", "DROP"); err != nil {
				return nil, err
			}
			if err := b.add("filter", "FORWARD", "-i", d.from.Name, "-p", "tcp",
				"-m", "recent", "--name", list, "--rcheck", d.of, "-j", "DROP"); err != nil {
				return nil, err
			}
		}
		if err := b.add("filter", "FORWARD", "-i", nat.Inner.Name, "-p", "tcp", "--syn",
			"-m", "recent", "--name", list, "--rcheck", "--rsource", "-j", "DROP"); err != nil {
			return nil, err
		}
		if _, err := on.Client.DestroySockets(on.ClientSide); err != nil {
			return nil, err
		}
		return b.witness("dropped"), c.cut(ctx, nat.Host, list)
	})
	if err != nil {
		return nil, nil, errors.Join(err, whole(), unaccount())
	}
	return func(ctx context.Context) error { return errors.Join(heal(ctx), whole(), unaccount()) }, witness, nil
}

// cut waits until a packet was dropped: until there is somebody on the list. The rules'
// counters would say so too, but take a program to read: where the machine is busy that is
// late by as much as tells an early death from a timely one.
func (c CutAfter) cut(ctx context.Context, router *lab.Host, list string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, agingTime, fmt.Errorf("no new connection has come to packet %d within %v", c.Packets+1, agingTime))
	defer cancel()
	for {
		seen, err := router.Recent(list)
		if err != nil || len(seen) > 0 {
			return err
		}
		if err := wait(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

// accountKey has the kernel count the packets of each connection that begins from then on.
const accountKey = "net.netfilter.nf_conntrack_acct"

// agingTime is how long a connection may take to reach the packet after which it is cut:
// an idle one has a heartbeat's few packets a second.
const agingTime = 30 * time.Second
