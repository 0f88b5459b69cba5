package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
)

// Link is a cable between two hosts: a veth pair.
type Link struct {
	A, B *End
}

// End is one end of a link: an interface of a host.
type End struct {
	Host *Host
	Name string       // of the interface: the name of the host at the other end
	Addr netip.Prefix // with the length of the link's network
	Peer *End
	Link *Link

	index int
	shaping
}

// IP is the end's address.
func (e *End) IP() netip.Addr { return e.Addr.Addr() }

// connect puts a lab's n-th cable between a and b, gives the ends the first two addresses
// of its network, and brings both up.
func connect(a, b *Host, n byte) (*Link, error) {
	network := a.family.network(n)
	first := network.Addr().Next()
	l := &Link{
		A: &End{Host: a, Name: b.Name, Addr: netip.PrefixFrom(first, network.Bits())},
		B: &End{Host: b, Name: a.Name, Addr: netip.PrefixFrom(first.Next(), network.Bits())},
	}
	l.A.Peer, l.B.Peer, l.A.Link, l.B.Link = l.B, l.A, l, l
	if err := l.lay(1000 + int(n)); err != nil {
		return nil, fmt.Errorf("connect %s and %s: %w", a.Name, b.Name, err)
	}
	return l, nil
}

// lay makes the pair, with a number for the first end: the other takes a low one by itself.
// A kernel that sees one number at both ends takes the interface for a plain one, and may
// tell IPv6 a second late that it has a carrier (net/core/link_watch.c,
// linkwatch_urgent_event).
func (l *Link) lay(index int) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = l.A.Name
	attrs.Index = index
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: l.B.Name, PeerNamespace: netlink.NsFd(l.B.Host.ns)}
	if err := l.A.Host.links.LinkAdd(veth); err != nil {
		return refused("new veth pair", err)
	}
	for _, e := range []*End{l.A, l.B} {
		link, err := e.Host.links.LinkByName(e.Name)
		if err != nil {
			return fmt.Errorf("find interface: %w", err)
		}
		e.index = link.Attrs().Index
		for i := 0; i+1 < len(e.Host.family.cables); i += 2 {
			err := e.Host.Sysctl(fmt.Sprintf(e.Host.family.cables[i], e.Name), e.Host.family.cables[i+1])
			if err != nil && !errors.Is(err, os.ErrNotExist) { // some kernels hide them from a user namespace
				return err
			}
		}
		if err := e.Host.links.AddrAdd(link, e.Host.family.address(e.Addr)); err != nil {
			return fmt.Errorf("add address %s: %w", e.Addr, err)
		}
		if err := e.Host.links.LinkSetUp(link); err != nil {
			return fmt.Errorf("set link up: %w", err)
		}
	}
	return nil
}

// Down pulls the cable at this end: netlink link-down.
func (e *End) Down() error {
	link, err := e.link()
	if err != nil {
		return err
	}
	if err := e.Host.links.LinkSetDown(link); err != nil {
		return fmt.Errorf("set link down: %w", err)
	}
	return nil
}

// Up puts the cable back, with the routes that went with it.
func (e *End) Up() error {
	link, err := e.link()
	if err != nil {
		return err
	}
	if err := e.Host.links.LinkSetUp(link); err != nil {
		return fmt.Errorf("set link up: %w", err)
	}
	return e.routesBack()
}

// routesBack puts back the routes that the kernel has dropped with the link or with
// its address.
func (e *End) routesBack() error {
	for _, r := range e.Host.routes {
		if r.LinkIndex != e.index {
			continue
		}
		if err := e.Host.links.RouteReplace(&r); err != nil {
			return fmt.Errorf("put route back: %w", err)
		}
	}
	return nil
}

// State is what the kernel says of the interface: whether it is up, and how many
// packets it has received.
func (e *End) State() (up bool, received uint64, err error) {
	link, err := e.link()
	if err != nil {
		return false, 0, err
	}
	a := link.Attrs()
	if a.Statistics == nil {
		return false, 0, errors.New("read link state: no statistics")
	}
	return a.Flags&net.FlagUp != 0, a.Statistics.RxPackets, nil
}

func (e *End) link() (netlink.Link, error) {
	link, err := e.Host.links.LinkByIndex(e.index)
	if err != nil {
		return nil, fmt.Errorf("find interface %s of host %s: %w", e.Name, e.Host.Name, err)
	}
	return link, nil
}

func (e *End) String() string { return e.Host.Name + ":" + e.Name }
