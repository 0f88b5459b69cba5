package lab

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Place is where in a lab something happens: at the end of the cable by which a
// host is reached, on that host's side.
type Place string

// The places of every topology. At the server it is the cable towards the
// clients; visitors come by another.
const (
	AtVisitor Place = "visitor"
	AtServer  Place = "server"
	AtClient  Place = "client"
	AtOrigin  Place = "origin"
)

// The router's own two ends, where there is a router: towards the client, and
// towards the server. When its outer cable is pulled, the router forgets its
// mappings, as Linux does with those of an interface that goes down.
const (
	AtRouterInner Place = "router-inner"
	AtRouterOuter Place = "router-outer"
)

// Lab is the hosts, links and routers of one spec. Close takes all of it down.
type Lab struct {
	Name    string
	Drawing string // ASCII

	Visitor, Server, Client, Origin *Host
	Router                          *NAT // nil where there is none

	// Neighbours are more clients of the same server, and Guest is where their visitors
	// come from; nil where the client is alone.
	Neighbours []Neighbour
	Guest      *Host

	// ServerIP is where visitors and clients reach the server; they come by
	// different cables, and so by different addresses.
	VisitorSide, ClientSide netip.Addr
	// OriginIP is where the client reaches the origin.
	OriginIP netip.Addr

	Processes map[string]*Process // by role, the ones that run or ran last

	family *family // of its addresses; nil while it is built: IPv4
	ends   map[Place]*End
	// guestEnd is the guest's end of its cable.
	guestEnd *End
	hosts    []*Host
	links    []*Link
}

// Topology builds a lab.
type Topology func() (*Lab, error)

const directDrawing = `visitor ---- server ---- client ---- origin`

// Direct is the shortest lab: no router between the server and the client.
//
//	visitor ---- server ---- client ---- origin
func Direct() (*Lab, error) {
	return direct(&Lab{Name: "Direct", Drawing: directDrawing})
}

// Direct6 is Direct over IPv6: a client with an address of the internet's own.
//
//	visitor ---- server ---- client ---- origin
func Direct6() (*Lab, error) {
	return direct(&Lab{Name: "Direct6", Drawing: directDrawing, family: &overIPv6})
}

func direct(l *Lab) (*Lab, error) {
	return l.build(func() error {
		if err := l.edges(); err != nil {
			return err
		}
		tunnel, err := l.connect(l.Server, l.Client, 2)
		if err != nil {
			return err
		}
		l.ClientSide = tunnel.A.IP()
		l.ends[AtServer], l.ends[AtClient] = tunnel.A, tunnel.B
		return nil
	})
}

const behindNATDrawing = `visitor ---- server ---- router ---- client ---- origin
                          NAT`

// BehindNAT has a client behind a router that masquerades.
//
//	visitor ---- server ---- router ---- client ---- origin
//	                          NAT
func BehindNAT() (*Lab, error) {
	l := &Lab{Name: "BehindNAT", Drawing: behindNATDrawing}
	return l.build(func() error { return l.behind([]string{"router"}) })
}

// BehindNAT6 is BehindNAT over IPv6: the router translates addresses there too (NAT66),
// as carriers do that give a customer one address.
//
//	visitor ---- server ---- router ---- client ---- origin
//	                         NAT66
func BehindNAT6() (*Lab, error) {
	l := &Lab{Name: "BehindNAT6", Drawing: strings.Replace(behindNATDrawing, "NAT", "NAT66", 1), family: &overIPv6}
	return l.build(func() error { return l.behind([]string{"router"}) })
}

const hardNATDrawing = `visitor ---- server ---- router ---- client ---- origin
                     NAT, random ports`

// HardNAT is BehindNAT with a router that gives every connection a port at random, as
// a symmetric NAT does: none keeps the client's own, none is given twice in a row.
//
//	visitor ---- server ---- router ---- client ---- origin
//	                     NAT, random ports
func HardNAT() (*Lab, error) {
	l := &Lab{Name: "HardNAT", Drawing: hardNATDrawing}
	return l.build(func() error { return l.behind([]string{"router"}, "--random-fully") })
}

const doubleNATDrawing = `visitor ---- server ---- carrier ---- home ---- client ---- origin
                          NAT         NAT`

// DoubleNAT has a client behind its home's router, which is behind its carrier's. The
// lab's Router is the carrier's: what is done to the NAT is done there, and the home's
// goes on knowing every connection. AtRouterOuter is the carrier's end towards the
// server, AtRouterInner the home's towards the client.
//
//	visitor ---- server ---- carrier ---- home ---- client ---- origin
//	                          NAT         NAT
func DoubleNAT() (*Lab, error) {
	l := &Lab{Name: "DoubleNAT", Drawing: doubleNATDrawing}
	return l.build(func() error { return l.behind([]string{"carrier", "home"}) })
}

const roamingDrawing = `                     +-- wifi ----+
visitor ---- server -+    NAT     +- client ---- origin
                     +-- mobile --+
                          NAT`

// Roaming has a client with two ways out, each behind a NAT of its own. It takes the
// wifi as long as that is there. With the cable at the client pulled it goes by the
// mobile network, with another address. Sockets of the old one are told nothing: Linux
// sends nothing from an address whose cable is pulled.
// Router, and the places, are those of the wifi.
//
//	                     +-- wifi ----+
//	visitor ---- server -+    NAT     +- client ---- origin
//	                     +-- mobile --+
//	                          NAT
func Roaming() (*Lab, error) {
	l := &Lab{Name: "Roaming", Drawing: roamingDrawing}
	return l.build(func() error {
		if err := l.behind([]string{"wifi"}); err != nil {
			return err
		}
		mobile, err := l.host("mobile")
		if err != nil {
			return err
		}
		outer, err := l.connect(l.Server, mobile, 6)
		if err != nil {
			return err
		}
		inner, err := l.connect(mobile, l.Client, 8)
		if err != nil {
			return err
		}
		if err := mobile.addRoute(l.anywhere(), outer.A.IP(), outer.B, 0); err != nil {
			return err
		}
		if err := l.Client.addRoute(l.anywhere(), inner.A.IP(), inner.B, 100); err != nil {
			return err
		}
		_, err = masquerade(mobile, outer.B, inner.A)
		return err
	})
}

// anywhere is the destination of a default route.
func (l *Lab) anywhere() netip.Prefix { return netip.PrefixFrom(l.family.any(), 0) }

// AnyIP is the address of a socket that is bound to none: that of the lab's family.
func (l *Lab) AnyIP() netip.Addr { return l.family.any() }

// SmallestMTU is what every path of the lab's family must let pass.
func (l *Lab) SmallestMTU() int { return l.family.smallest }

// Speaks6 says whether the lab's hosts speak IPv6, and nothing else.
func (l *Lab) Speaks6() bool { return l.family == &overIPv6 }

// behind puts the client behind a chain of routers, of which the first is next to the
// server. Each masquerades, with flags if there are any, and nobody outside has a route
// to a network inside: what leaves a router untranslated gets no answer, as on the
// internet.
func (l *Lab) behind(routers []string, flags ...string) error {
	if err := l.edges(); err != nil {
		return err
	}
	var first, last *Link // of those from the server inwards so far
	outer := l.Server
	for i, name := range append(slices.Clone(routers), l.Client.Name) {
		inner := l.Client
		if i < len(routers) {
			var err error
			if inner, err = l.host(name); err != nil {
				return err
			}
		}
		cable, err := l.connect(outer, inner, byte(2*i+2))
		if err != nil {
			return err
		}
		if i == 0 {
			first = cable
		} else if err := l.translate(outer, inner, last.B, cable, flags); err != nil {
			return err
		}
		outer, last = inner, cable
	}
	l.ClientSide = first.A.IP()
	l.ends[AtServer], l.ends[AtClient] = first.A, last.B
	l.ends[AtRouterOuter], l.ends[AtRouterInner] = first.B, last.A
	return nil
}

// translate makes router the way out for the host inside, and a NAT for it.
func (l *Lab) translate(router, inside *Host, outer *End, cable *Link, flags []string) error {
	if err := inside.addRoute(l.anywhere(), cable.A.IP(), cable.B, 0); err != nil {
		return err
	}
	nat, err := masquerade(router, outer, cable.A, flags...)
	if err != nil {
		return err
	}
	if l.Router == nil {
		l.Router = nat
	}
	return nil
}

// build runs fn, and takes down what there is if it fails.
func (l *Lab) build(fn func() error) (*Lab, error) {
	l.ends, l.Processes = map[Place]*End{}, map[string]*Process{}
	if l.family == nil {
		l.family = &overIPv4
	}
	if err := fn(); err != nil {
		return nil, errors.Join(fmt.Errorf("build lab %s: %w", l.Name, err), l.Close())
	}
	return l, nil
}

// edges makes the four hosts that every topology has, the visitor's cable to the
// server, and the client's to the origin.
func (l *Lab) edges() error {
	for _, h := range []struct {
		name string
		at   **Host
	}{{"visitor", &l.Visitor}, {"server", &l.Server}, {"client", &l.Client}, {"origin", &l.Origin}} {
		host, err := l.host(h.name)
		if err != nil {
			return err
		}
		*h.at = host
	}
	front, err := l.connect(l.Visitor, l.Server, 1)
	if err != nil {
		return err
	}
	back, err := l.connect(l.Client, l.Origin, 3)
	if err != nil {
		return err
	}
	l.VisitorSide, l.OriginIP = front.B.IP(), back.B.IP()
	l.ends[AtVisitor], l.ends[AtOrigin] = front.A, back.B
	return nil
}

func (l *Lab) host(name string) (*Host, error) {
	h, err := newHost(name, l.family)
	if err != nil {
		return nil, err
	}
	l.hosts = append(l.hosts, h)
	return h, nil
}

// connect lays a cable with the n-th network of the lab's family.
func (l *Lab) connect(a, b *Host, n byte) (*Link, error) {
	link, err := connect(a, b, n)
	if err != nil {
		return nil, err
	}
	l.links = append(l.links, link)
	return link, nil
}

// End is the end of the cable at a place.
func (l *Lab) End(at Place) (*End, error) {
	e, ok := l.ends[at]
	if !ok {
		return nil, fmt.Errorf("find place %q: lab %s has %s", at, l.Name, l.places())
	}
	return e, nil
}

// places lists the lab's places by name.
func (l *Lab) places() string {
	var names []string
	for _, at := range slices.Sorted(maps.Keys(l.ends)) {
		names = append(names, string(at))
	}
	return strings.Join(names, ", ")
}

// Cables are the ends of all cables of host h, on h's side.
func (l *Lab) Cables(h *Host) []*End {
	var found []*End
	for _, l := range l.links {
		for _, e := range []*End{l.A, l.B} {
			if e.Host == h {
				found = append(found, e)
			}
		}
	}
	return found
}

// Close kills every process of the lab and takes its hosts down. The cables go with
// the namespaces, which the kernel takes away a moment after their last user is gone.
// To take the cables out one by one would wait for a grace period of RCU each, some
// 25 ms, and keep what the dead processes still want to send from reaching a peer that
// answers with RST: such an orphan holds its namespace for minutes.
func (l *Lab) Close() error {
	var errs []error
	for _, p := range l.Processes {
		errs = append(errs, p.Kill())
	}
	if len(l.Processes) > 0 {
		errs = append(errs, l.killStrays())
	}
	for _, link := range l.links {
		errs = append(errs, link.A.close(), link.B.close())
	}
	for _, h := range l.hosts {
		errs = append(errs, h.Close())
	}
	return errors.Join(errs...)
}
