package fault

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

// The faults of this file are on the router: both ends keep their carrier, their
// addresses and routes, and their neighbour answers. Only packets go missing.

// Way is a direction through the router.
type Way string

// The ways. The zero value is both.
const (
	BothWays   Way = ""
	ToServer   Way = "to the server"
	FromServer Way = "from the server"
)

// Blackhole has the router drop every packet between client and server, or those of
// one direction: a provider's outage, a firewall that was reloaded with a mistake in
// it, a route that is right on the way there and wrong on the way back.
type Blackhole struct {
	Way Way
}

// Describe implements Fault.
func (h Blackhole) Describe() record.Fault {
	if h.Way != BothWays {
		return record.Fault{Name: "black hole " + string(h.Way), Place: "router", Class: record.OneWay}
	}
	return record.Fault{Name: "black hole", Place: "router", Class: record.Silent}
}

// Inject implements Fault.
func (h Blackhole) Inject(ctx context.Context, on *lab.Lab) (Heal, Witness, error) {
	if h.Way != BothWays && h.Way != ToServer && h.Way != FromServer {
		return nil, nil, fmt.Errorf("black hole: no such way: %q", h.Way)
	}
	return onRouter(on, "black hole", func(nat *lab.NAT, b *barrier) (Witness, error) {
		for way, from := range map[Way]*lab.End{ToServer: nat.Inner, FromServer: nat.Outer} {
			if h.Way != BothWays && h.Way != way {
				continue
			}
			if err := b.add("filter", "FORWARD", "-i", from.Name, "-j", "DROP"); err != nil {
				return nil, err
			}
		}
		return b.witness("dropped"), ask(ctx, on, b)
	})
}

// MTUBlackhole has the router drop large packets without a word to who sent them: a
// tunnel on the path with a smaller MTU, and a firewall that swallows ICMP
// "fragmentation needed" (RFC 2923). Small packets pass, so a connection logs in and
// dies of its first full segment. It bites with data in flight only.
type MTUBlackhole struct{}

// Describe implements Fault.
func (MTUBlackhole) Describe() record.Fault {
	return record.Fault{Name: "MTU black hole", Place: "router", Class: record.Silent}
}

// Inject implements Fault. It returns when the first packet was dropped and noted. From its
// second look on the Witness asks of each connection that was there: one that has sent nothing
// large since did not meet the fault, and lives rightly.
func (MTUBlackhole) Inject(ctx context.Context, on *lab.Lab) (Heal, Witness, error) {
	return onRouter(on, "MTU black hole", func(router *lab.NAT, b *barrier) (Witness, error) {
		there, err := router.Established()
		if err != nil {
			return nil, err
		}
		small := on.SmallestMTU()
		large := []string{"-m", "length", "--length", strconv.Itoa(small+1) + ":65535", "-j"}
		// What is dropped before it is noted comes again; the other way round it would get by.
		if err := b.add("filter", "FORWARD", append(slices.Clone(large), "DROP")...); err != nil {
			return nil, err
		}
		if err := b.note("mangle", "FORWARD", append(large, "CONNMARK", "--set-mark", strconv.FormatInt(b.number, 10))...); err != nil {
			return nil, err
		}
		looks, dropped := 0, b.witness(fmt.Sprintf("of more than %d bytes dropped", small))
		witness := func(ctx context.Context) (string, bool, error) {
			saw, bit, err := dropped(ctx)
			if looks++; err != nil || !bit || looks == 1 {
				return saw, bit, err
			}
			now, err := router.Established()
			if err != nil {
				return saw, false, err
			}
			unmet := 0
			for _, m := range now {
				before := func(was lab.Mapping) bool { return was.Inside == m.Inside && was.Outside == m.Outside }
				if int64(m.Mark) != b.number && slices.ContainsFunc(there, before) {
					unmet++
				}
			}
			if unmet > 0 {
				saw += fmt.Sprintf("; of the %d connections that were there %d live and have sent nothing large", len(there), unmet)
			}
			return saw, unmet == 0, nil
		}
		// One that is noted is dropped, but not the other way round: a connection that is full
		// of what was dropped first sends no more for a while, and its mark would be missing.
		noted := func(context.Context) (string, bool, error) {
			_, hits, err := router.Marked("mangle", "FORWARD", b.mark)
			return "", hits > 0, err
		}
		return witness, until(ctx, noted, 5*time.Second, "nobody has sent a large packet for 5 s: it needs data in flight")
	})
}

// InjectRST has the router answer every TCP packet between client and server with
// RST: a firewall that ends what it does not like, a censor.
type InjectRST struct{}

// Describe implements Fault.
func (InjectRST) Describe() record.Fault {
	return record.Fault{Name: "RST injected", Place: "router", Class: record.Reset}
}

// Inject implements Fault. It returns when the first RST was sent: until somebody
// sends a packet nobody is told.
func (InjectRST) Inject(ctx context.Context, on *lab.Lab) (Heal, Witness, error) {
	return onRouter(on, "inject RST", func(_ *lab.NAT, b *barrier) (Witness, error) {
		if err := b.add("filter", "FORWARD", "-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset"); err != nil {
			return nil, err
		}
		return b.witness("answered with RST"),
			b.met(ctx, quiet, fmt.Sprintf("nobody has sent a packet for %v, so nobody is told", quiet))
	})
}

// onRouter builds a fault of rules on the router; what was set is taken back if put
// fails.
func onRouter(on *lab.Lab, name string, put func(*lab.NAT, *barrier) (Witness, error)) (Heal, Witness, error) {
	if on.Router == nil {
		return nil, nil, fmt.Errorf("%s: lab %s has no router", name, on.Name)
	}
	b := newBarrier(on.Router.Host)
	witness, err := put(on.Router, b)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", name, err), b.remove(context.Background()))
	}
	return b.remove, witness, nil
}

// ask sends a packet each way between client and server, for a barrier to meet: SYN,
// and the RST of a port that nobody listens on. That it gets no answer is the point. On a
// busy machine a dial may be over before it has sent anything, so there are a few; whether
// a packet was met is for the Witness to say.
func ask(ctx context.Context, on *lab.Lab, b *barrier) error {
	dial := func() error {
		once, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		conn, err := on.Client.DialContext(once, "tcp", netip.AddrPortFrom(on.ClientSide, discard).String())
		if err == nil {
			return conn.Close()
		}
		return ctx.Err() // ours, not the dialler's
	}
	for range tries {
		if err := dial(); err != nil {
			return err
		}
		if hits, _, err := b.hits(); err != nil || hits > 0 {
			return err
		}
	}
	return nil
}
