package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Carrier says whether the interface is up, and whether it has a carrier: whether
// the cable's other end is up too.
func (e *End) Carrier() (up, carrier bool, err error) {
	link, err := e.link()
	if err != nil {
		return false, false, err
	}
	return link.Attrs().Flags&net.FlagUp != 0, link.Attrs().RawFlags&unix.IFF_LOWER_UP != 0, nil
}

// Unroute deletes every route that goes out by this end, the one to the cable's own
// network too, and returns how to put them back.
func (e *End) Unroute() (back func() error, err error) {
	link, err := e.link()
	if err != nil {
		return nil, err
	}
	routes, err := e.Host.links.RouteList(link, e.Host.family.netlink)
	if err != nil {
		return nil, fmt.Errorf("list routes by %s: %w", e, err)
	}
	// The first ones are needed by those behind them: a gateway is reached by the
	// network's own route. So they go last, and come back first.
	sortConnectedFirst(routes)
	deleted := len(routes)
	back = func() error {
		for ; deleted < len(routes); deleted++ {
			if err := e.Host.links.RouteReplace(&routes[deleted]); err != nil {
				return fmt.Errorf("put route to %v back: %w", routes[deleted].Dst, err)
			}
		}
		return nil
	}
	for deleted > 0 {
		if err := e.Host.links.RouteDel(&routes[deleted-1]); err != nil {
			return nil, errors.Join(fmt.Errorf("delete route to %v: %w", routes[deleted-1].Dst, err), back())
		}
		deleted--
	}
	return back, nil
}

// sortConnectedFirst puts the routes without a gateway first.
func sortConnectedFirst(routes []netlink.Route) {
	n := 0
	for i := range routes {
		if routes[i].Gw == nil {
			routes[n], routes[i] = routes[i], routes[n]
			n++
		}
	}
}

// Reaches says whether the host knows a route to ip.
func (h *Host) Reaches(ip netip.Addr) (bool, error) {
	_, err := h.links.RouteGet(ip.AsSlice())
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH):
		return false, nil
	}
	return false, fmt.Errorf("look up the route from host %s to %s: %w", h.Name, ip, err)
}

// Has says whether the host has this address.
func (h *Host) Has(ip netip.Addr) (bool, error) {
	all, err := h.links.AddrList(nil, h.family.netlink)
	if err != nil {
		return false, fmt.Errorf("list addresses of host %s: %w", h.Name, err)
	}
	for _, a := range all {
		if a.IP.Equal(ip.AsSlice()) {
			return true, nil
		}
	}
	return false, nil
}

// Readdress takes the end's addresses away, and gives it others of the same network, or
// none. The routes by the end are put back, for the kernel drops them with the address.
func (e *End) Readdress(ips ...netip.Addr) error {
	link, err := e.link()
	if err != nil {
		return err
	}
	old, err := e.Host.links.AddrList(link, e.Host.family.netlink)
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", e, err)
	}
	for _, a := range slices.Backward(old) { // the kernel drops the others with the first
		if err := e.Host.links.AddrDel(link, &a); err != nil {
			return fmt.Errorf("delete address %s: %w", a.IPNet, err)
		}
	}
	if len(ips) == 0 {
		return nil
	}
	for _, ip := range ips {
		network := netip.PrefixFrom(ip, e.Addr.Bits())
		if err := e.Host.links.AddrAdd(link, e.Host.family.address(network)); err != nil {
			return fmt.Errorf("add address %s: %w", network, err)
		}
	}
	return e.routesBack()
}

// Neighbour is the address of the end's network that ends in n.
func (e *End) Neighbour(n byte) netip.Addr {
	bytes := e.IP().AsSlice()
	bytes[len(bytes)-1] = n
	ip, _ := netip.AddrFromSlice(bytes) // as long as it was
	return ip
}
