package lab

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What a lab over IPv6 must have in common with one over IPv4: a client that is seen by its
// router's address, ways that come back with the cable, a table that forgets.
func TestBehindNAT6(t *testing.T) {
	l := build(t, BehindNAT6)
	for _, h := range l.hosts { // to make sure that nobody else has one takes a second (RFC 4862, section 5.4)
		for _, a := range addresses(t, h) {
			if a.Flags&unix.IFA_F_TENTATIVE != 0 {
				t.Errorf("%s waits for %s", h.Name, a)
			}
		}
	}
	if !l.ClientSide.Is6() || !l.OriginIP.Is6() || !l.AnyIP().Is6() {
		t.Errorf("server at %s, origin at %s, any %s", l.ClientSide, l.OriginIP, l.AnyIP())
	}
	address := serve(t, l.Server, l.AnyIP())
	address = netip.AddrPortFrom(l.ClientSide, netip.MustParseAddrPort(address).Port()).String()
	conn, seen := dial(t, l.Client, address)
	if seen.Addr() != l.Router.Outer.IP() {
		t.Errorf("the server sees %s, want the router's %s", seen, l.Router.Outer.IP())
	}
	maps, err := l.Router.Established()
	if err != nil || len(maps) != 1 || maps[0].Inside.String() != conn.LocalAddr().String() || maps[0].Outside != seen {
		t.Errorf("mappings are %v (%v), want one from %s as %s", maps, err, conn.LocalAddr(), seen)
	}
	if n, err := l.Router.Forget(); n != 1 || err != nil {
		t.Errorf("forgot %d mappings (%v), want 1", n, err)
	}
	for at, e := range l.ends {
		if err := e.Down(); err != nil {
			t.Fatal(err)
		}
		if err := e.Up(); err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		const limit = 10 * time.Second
		heard := answers(t, l.Client, address, limit)
		// With the outer cable the kernel forgets what was masqueraded, on its own time
		// (net/netfilter/nf_nat_masquerade.c): a new connection may be forgotten too.
		if !heard && at == AtRouterOuter {
			heard = answers(t, l.Client, address, limit)
		}
		if !heard {
			t.Errorf("after the cable at %s was pulled, the server is not heard", at)
		}
	}
	if gone, err := l.Client.DestroySockets(l.ClientSide); len(gone) != 1+len(l.ends) || err != nil {
		t.Errorf("destroyed %v (%v), want %d", gone, err, 1+len(l.ends))
	}
	if got, err := l.ends[AtClient].Ping(t.Context(), 3, time.Millisecond); err != nil || len(got.Times) != 3 {
		t.Errorf("pings are %+v (%v)", got, err)
	}
}

// A cable that is laid as two interfaces of one number is a second late at times: of three
// labs one is not.
func TestCablesOverIPv6AreThereAtOnce(t *testing.T) {
	var took []time.Duration
	for range 3 {
		l := build(t, BehindNAT6)
		began := time.Now()
		address := netip.MustParseAddrPort(serve(t, l.Server, l.AnyIP()))
		dial(t, l.Client, netip.AddrPortFrom(l.ClientSide, address.Port()).String())
		took = append(took, time.Since(began))
		if took[len(took)-1] < 900*time.Millisecond {
			return
		}
	}
	t.Errorf("the first connections took %v", took)
}

// addresses are those of all interfaces of a host.
func addresses(t *testing.T, h *Host) []netlink.Addr {
	t.Helper()
	found, err := h.links.AddrList(nil, h.family.netlink)
	if err != nil || len(found) == 0 {
		t.Fatalf("addresses of %s: %v, %v", h.Name, found, err)
	}
	return found
}

// answers says whether a new connection hears from the server in time, and keeps it to the
// end of the test if so.
func answers(t *testing.T, h *Host, address string, within time.Duration) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	c, err := h.DialContext(ctx, "tcp", address)
	if err != nil {
		t.Log(err)
		return false
	}
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Log(err)
		if err := errors.Join(c.(*net.TCPConn).SetLinger(0), c.Close()); err != nil { // not a socket of it remains
			t.Fatal(err)
		}
		return false
	}
	t.Cleanup(func() { c.Close() })
	return true
}

// No host speaks the other family, and each lab's networks are its own.
func TestFamilies(t *testing.T) {
	for want, f := range map[string]*family{"10.4.0.0/24": &overIPv4, "fd00:4::/64": &overIPv6} {
		if got := f.network(4).String(); got != want {
			t.Errorf("the fourth network is %s, want %s", got, want)
		}
	}
	four, six := build(t, Direct), build(t, Direct6)
	for l, other := range map[*Lab]netip.Addr{four: six.OriginIP, six: four.OriginIP} {
		if reaches, err := l.Client.Reaches(other); reaches || err != nil {
			t.Errorf("lab %s: a client reaches %s (%v)", l.Name, other, err)
		}
	}
}
