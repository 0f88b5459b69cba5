package lab

import (
	"fmt"
	"net/netip"
	"slices"
)

// Neighbour is one more client beside the lab's. Its visitors come from the lab's Guest,
// and it reaches the origin by a cable of its own: nothing of it goes through what is done
// at the client, at its visitor or at its origin.
type Neighbour struct {
	*Host
	OriginIP netip.Addr // where it reaches the origin
	out      *End       // towards the server
	nat      netip.Addr // of its router, as the server sees it
}

// Role is that of its process.
func (n Neighbour) Role() string { return n.Name }

const twoClientsDrawing = `visitor --+            +-- router -------- client -------+
          +-- server --+    NAT                          +-- origin
guest ----+            +-- next-door ---- neighbour-1 ---+
                            NAT`

// TwoClients has two clients, each behind a router of its own. Router and the places are
// those of the first one; the other has only its server in common with it.
//
//	visitor --+            +-- router -------- client -------+
//	          +-- server --+    NAT                          +-- origin
//	guest ----+            +-- next-door ---- neighbour-1 ---+
//	                            NAT
func TwoClients() (*Lab, error) {
	l := &Lab{Name: "TwoClients", Drawing: twoClientsDrawing}
	return l.build(func() error {
		if err := l.behind([]string{"router"}); err != nil {
			return err
		}
		router, err := l.host("next-door")
		if err != nil {
			return err
		}
		outer, err := l.connect(l.Server, router, 10)
		if err != nil {
			return err
		}
		if err := router.addRoute(l.anywhere(), outer.A.IP(), outer.B, 0); err != nil {
			return err
		}
		if _, err := masquerade(router, outer.B, nil); err != nil {
			return err
		}
		if err := l.guest(); err != nil {
			return err
		}
		return l.neighbour(router, outer.B.IP())
	})
}

// crowd is how many clients a crowded NAT has.
const crowd = 8

const crowdedNATDrawing = `visitor --+                          +-- client --------+
          +-- server ---- router ----+-- neighbour-1 ---+-- origin
guest ----+                NAT       :                  :
                                     +-- neighbour-7 ---+`

// CrowdedNAT has eight clients behind one router, as an office has: what happens to the
// router happens to all of them, and to the server they have one address.
//
//	visitor --+                          +-- client --------+
//	          +-- server ---- router ----+-- neighbour-1 ---+-- origin
//	guest ----+                NAT       :                  :
//	                                     +-- neighbour-7 ---+
func CrowdedNAT() (*Lab, error) {
	l := &Lab{Name: "CrowdedNAT", Drawing: crowdedNATDrawing}
	return l.build(func() error {
		if err := l.behind([]string{"router"}); err != nil {
			return err
		}
		if err := l.guest(); err != nil {
			return err
		}
		for range crowd - 1 {
			if err := l.neighbour(l.Router.Host, l.Router.Outer.IP()); err != nil {
				return err
			}
		}
		return nil
	})
}

// guest makes the host that visitors of neighbours come from.
func (l *Lab) guest() (err error) {
	if l.Guest, err = l.host("guest"); err != nil {
		return err
	}
	front, err := l.connect(l.Guest, l.Server, 5)
	if err != nil {
		return err
	}
	l.guestEnd = front.A
	return l.Guest.addRoute(l.anywhere(), front.B.IP(), front.A, 0)
}

// neighbour puts one more client behind a router that the server sees as nat.
func (l *Lab) neighbour(router *Host, nat netip.Addr) error {
	n := len(l.Neighbours) + 1
	host, err := l.host(fmt.Sprintf("neighbour-%d", n))
	if err != nil {
		return err
	}
	inner, err := l.connect(router, host, byte(30+n))
	if err != nil {
		return err
	}
	back, err := l.connect(host, l.Origin, byte(50+n))
	if err != nil {
		return err
	}
	if err := host.addRoute(l.anywhere(), inner.A.IP(), inner.B, 0); err != nil {
		return err
	}
	l.Neighbours = append(l.Neighbours, Neighbour{Host: host, OriginIP: back.B.IP(), out: inner.B, nat: nat})
	return nil
}

// Spared are the other ends ("ip", or "ip:port") of those of the server's connections that
// a fault at this place leaves alone: the neighbours' sessions and visitors. There are none
// where it strikes the neighbours too.
func (l *Lab) Spared(at Place) ([]string, error) {
	if len(l.Neighbours) == 0 {
		return nil, nil
	}
	spared := []string{l.guestEnd.IP().String()}
	shared := map[netip.Addr]bool{} // neighbours behind the client's own router
	for _, n := range l.Neighbours {
		if n.nat != l.Router.Outer.IP() {
			spared = append(spared, n.nat.String())
			continue
		}
		shared[n.out.IP()] = true
	}
	switch {
	case len(shared) == 0:
		return spared, nil
	case !slices.Contains([]Place{AtVisitor, AtClient, AtOrigin}, at):
		return nil, nil
	}
	mappings, err := l.Router.Established()
	if err != nil {
		return nil, fmt.Errorf("find the neighbours' connections: %w", err)
	}
	for _, m := range mappings {
		if shared[m.Inside.Addr()] {
			spared = append(spared, m.Outside.String())
		}
	}
	return spared, nil
}
