package physics

import (
	"context"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
)

// ka is what most trials have: K = 5 s.
var ka = keepalive(2, 1, 3)

// Where the cable is cut makes no difference to an idle connection: a probe that cannot
// even be sent counts as one that is not answered.
var _ = ginkgo.Describe("B: silence, idle", func() {
	try(
		trial{row: "B", name: "own link down, just after a packet", here: ka, do: ownDown},
		trial{row: "B", name: "own link down, 1.7 s after", here: ka, do: after(1700*time.Millisecond, ownDown)},
		trial{row: "B", name: "carrier lost", here: ka, do: peerDown},
		trial{row: "B", name: "DROP on the router", lab: lab.BehindNAT, here: ka, do: drop},
		trial{row: "B", name: "DROP one way", lab: lab.BehindNAT, here: ka, do: oneWay},
		trial{row: "B", name: "host unreachable (ICMP)", lab: lab.BehindNAT, here: ka, do: refuse},
		trial{row: "B", name: "router's inner link down", lab: lab.BehindNAT, here: ka, do: pull(lab.AtRouterInner)},
		trial{row: "B", name: "NAT expiry, silent", lab: lab.BehindNAT, here: ka, do: expire},
		trial{row: "B", name: "own route deleted", here: ka, do: noRoute},
		trial{row: "B", name: "own address deleted", here: ka, do: noAddress},
		trial{row: "B", name: "own device deleted", here: ka, do: noDevice},
		trial{row: "B", name: "I/V/C 1/1/1", here: keepalive(1, 1, 1), do: peerDown},
		trial{row: "B", name: "I/V/C 3/2/4", here: keepalive(3, 2, 4), do: ownDown},
		trial{row: "B", name: "I/V/C 5/5/3", here: keepalive(5, 5, 3), do: peerDown},
		trial{row: "B", name: "I/V/C 17/1/2: a long timer is later", here: keepalive(17, 1, 2), do: peerDown},
		trial{row: "B", name: "U 1 < I", here: user(ka, 1), do: peerDown},
		trial{row: "B", name: "U 3.5, between two probes", here: user(ka, 3.5), do: peerDown},
		trial{row: "B", name: "U 5 = K", here: user(ka, 5), do: ownDown},
		trial{row: "B", name: "U 8.2 > K: the count is ignored", here: user(ka, 8.2), do: peerDown},
		trial{row: "B", name: "Go's defaults 15/15/9", here: keepalive(15, 15, 9), do: peerDown, slow: true},
		trial{row: "B", name: "30/15/1", here: keepalive(30, 15, 1), do: peerDown, slow: true},
	)
})

// crowd has many connections write to a neighbour whose cable is cut, more than its queue
// holds while it is asked for: what falls out is sent again, and the timer set anew.
func crowd(n int, set record.Settings, strike act) act {
	return func(ctx context.Context, p *pair) error {
		for range n {
			other, err := join(ctx, p.lab, trial{here: set})
			if err != nil {
				return err
			}
			p.beside = append(p.beside, other)
		}
		if err := strike(ctx, p); err != nil {
			return err
		}
		for _, one := range append(p.beside, p) {
			go func() {
				for range 20 { // less than a send buffer: it does not block
					one.write(4 << 10)
					time.Sleep(20 * time.Millisecond)
				}
			}()
		}
		return nil
	}
}

// With the first unacknowledged byte keepalive is off, and only U counts.
var _ = ginkgo.Describe("C: silence, and this side writes", func() {
	busy := leak.Exposure{Busy: true}
	once := func(p *pair) { p.write(1) }
	often := func(p *pair) {
		p.write(1)
		p.keepWriting(100 * time.Millisecond)
	}
	late := func(p *pair) { time.AfterFunc(4600*time.Millisecond, func() { p.write(1) }) }
	try(
		trial{row: "C", name: "U 5, a write each second", here: heartbeat(user(ka, 5), 1, 0), do: then(peerDown, func(p *pair) { p.keepWriting(time.Second) })},
		trial{row: "C", name: "U 5, one write at 4.6 s", here: user(ka, 5), x: leak.Exposure{Late: true}, do: then(peerDown, late)},
		trial{row: "C'", name: "U 4, DROP, one write", lab: lab.BehindNAT, here: user(ka, 4), x: busy, do: then(drop, once)},
		trial{row: "C'", name: "U 4, DROP, a write each 0.1 s", lab: lab.BehindNAT, here: user(ka, 4), x: busy, do: then(drop, often)},
		trial{row: "C'", name: "U 4, own link down", here: user(ka, 4), x: busy, do: then(ownDown, often)},
		trial{row: "C'", name: "U 4, carrier lost", here: user(ka, 4), x: busy, do: then(peerDown, often)},
		trial{row: "C'", name: "U 4, host unreachable (ICMP)", lab: lab.BehindNAT, here: user(ka, 4), x: busy, do: then(refuse, often)},
		trial{row: "C'", name: "U 5, 120 to one neighbour, its cable pulled", here: user(ka, 5), x: leak.Exposure{Busy: true, Edge: "server"}, do: crowd(119, user(ka, 5), peerDown)},
		trial{row: "C'", name: "U 15, I/V/C 15/5/6", here: user(keepalive(15, 5, 6), 15), x: busy, do: then(peerDown, once)},
		trial{row: "D", name: "n 3, DROP, one write", lab: lab.BehindNAT, sysctls: sysctl("tcp_retries2", 3), here: ka, x: busy, do: then(drop, once)},
		trial{row: "D", name: "n 3, DROP, a write each 0.1 s", lab: lab.BehindNAT, sysctls: sysctl("tcp_retries2", 3), here: ka, x: busy, do: then(drop, often)},
		trial{row: "D", name: "n 3, own link down", sysctls: sysctl("tcp_retries2", 3), here: ka, x: busy, do: then(ownDown, once)},
		trial{row: "D", name: "n 3, host unreachable (ICMP)", lab: lab.BehindNAT, sysctls: sysctl("tcp_retries2", 3), here: ka, x: busy, do: then(refuse, often)},
		trial{row: "D", name: "n 5, M 1 s", sysctls: sysctl("tcp_retries2", 5), here: capped(ka, 1), x: busy, do: then(peerDown, once)},
		trial{row: "D", name: "n 15, M 1 s, DROP", lab: lab.BehindNAT, here: capped(ka, 1), x: busy, do: then(drop, often)},
		trial{row: "D", name: "n 15, M 1 s, own link down", here: capped(ka, 1), x: busy, do: then(ownDown, often)},
		trial{row: "D", name: "n 3, one write at 4.6 s", sysctls: sysctl("tcp_retries2", 3), here: ka, x: leak.Exposure{Late: true}, do: then(peerDown, late)},
		trial{row: "D", name: "default: lives far beyond K", here: ka, x: busy, do: then(peerDown, once), watch: 16 * time.Second},
		trial{row: "D", name: "default: one write at 4.6 s saves it", here: ka, x: leak.Exposure{Late: true}, do: then(peerDown, late), watch: 16 * time.Second},
		trial{row: "D", name: "n 15, M 120 s", here: ka, x: busy, do: then(peerDown, once), slow: true},
	)
})
