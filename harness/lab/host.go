package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// ErrClosed says that the host has been taken down.
var ErrClosed = errors.New("host is closed")

// Host is one network namespace, held by a goroutine on an OS thread of its own
// that lives as long as the host. The namespace has no name: the kernel takes it
// away when the thread, the processes and the sockets in it are gone.
type Host struct {
	Name string

	family *family
	ns     netns.NsHandle
	links  *netlink.Handle // rtnetlink inside the host
	work   chan func()
	closed chan struct{}
	once   sync.Once
	// routes are put back when a link comes up again: the kernel drops a
	// route with its link.
	routes []netlink.Route
}

// newHost makes a host with nothing but a loopback.
func newHost(name string, speaks *family) (*Host, error) {
	h := &Host{Name: name, family: speaks, work: make(chan func()), closed: make(chan struct{})}
	ready := make(chan error, 1)
	go h.run(ready)
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("make host %s: %w", name, err)
	}
	if err := h.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("make host %s: %w", name, err), h.Close())
	}
	return h, nil
}

// run is the executor. It never unlocks its thread, so the thread ends with it,
// and takes the processes that were started from it along (Pdeathsig).
func (h *Host) run(ready chan<- error) {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		ready <- refused("new network namespace", err)
		return
	}
	ns, err := netns.Get()
	if err != nil {
		ready <- fmt.Errorf("open network namespace: %w", err)
		return
	}
	h.ns = ns
	ready <- nil
	for {
		select {
		case fn := <-h.work:
			fn()
		case <-h.closed:
			return
		}
	}
}

// start brings the loopback up and prepares the host for its family of addresses.
func (h *Host) start() error {
	links, err := h.netlink(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	h.links = links
	lo, err := links.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find loopback: %w", err)
	}
	if err := links.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set loopback up: %w", err)
	}
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		if h.family == &overIPv6 {
			return &Refusal{What: "IPv6", Err: errors.ErrUnsupported, Help: "this kernel has none, or was started with ipv6.disable=1"}
		}
		return nil
	}
	for i := 0; i+1 < len(h.family.sysctls); i += 2 {
		if err := h.Sysctl(h.family.sysctls[i], h.family.sysctls[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// Do runs fn on the host's own thread. Children that fn starts live in the host,
// and die with it. Do not block in fn: the host has one such thread.
func (h *Host) Do(fn func() error) error {
	done := make(chan error, 1)
	select {
	case h.work <- func() { done <- fn() }:
		return <-done
	case <-h.closed:
		return fmt.Errorf("use host %s: %w", h.Name, ErrClosed)
	}
}

// netlink opens a netlink handle inside the host. It is opened on the host's own
// thread: the library's NewHandleAt enters the namespace on the caller's and then
// cannot go back, for the namespace we came from belongs to somebody else.
func (h *Host) netlink(family int) (*netlink.Handle, error) {
	var handle *netlink.Handle
	err := h.Do(func() (err error) {
		handle, err = netlink.NewHandle(family)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open netlink on host %s: %w", h.Name, err)
	}
	return handle, nil
}

// visit runs fn on a thread that is inside the host for that long; fn may block.
// Sockets that fn makes stay in the host.
func (h *Host) visit(fn func() error) error {
	select {
	case <-h.closed:
		return fmt.Errorf("use host %s: %w", h.Name, ErrClosed)
	default:
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := netns.Set(h.ns); err != nil {
			done <- fmt.Errorf("enter host %s: %w", h.Name, err)
			return
		}
		// The thread stays locked, and ends with this goroutine: there is no way
		// back into a namespace that belongs to another user namespace.
		done <- fn()
	}()
	return <-done
}

// DialContext dials from the host. address is a literal IP address with a port:
// a name would be looked up on another thread, in another namespace.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return nil, fmt.Errorf("dial from host %s: %w", h.Name, err)
	}
	var conn net.Conn
	err := h.visit(func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen listens for TCP on the host at a literal IP address with a port.
func (h *Host) Listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	// Plain TCP: options set on an MPTCP listener are not inherited.
	lc.SetMultipathTCP(false)
	var ln net.Listener
	err := h.visit(func() (err error) {
		ln, err = lc.Listen(ctx, "tcp", address)
		return err
	})
	return ln, err
}

// Sysctl sets a sysctl of the host's network namespace: "net.ipv4.ip_forward".
func (h *Host) Sysctl(key, value string) error {
	return h.sysctl(key, func(path string) error { return os.WriteFile(path, []byte(value), 0o644) })
}

// SwapSysctl is Sysctl that returns how to put back what was there before; that may be
// done more than once.
func (h *Host) SwapSysctl(key, value string) (back func() error, err error) {
	var old []byte
	err = h.sysctl(key, func(path string) (err error) {
		if old, err = os.ReadFile(path); err != nil {
			return err
		}
		return os.WriteFile(path, []byte(value), 0o644)
	})
	if err != nil {
		return nil, err
	}
	return func() error { return h.Sysctl(key, strings.TrimSpace(string(old))) }, nil
}

// sysctl calls fn in the host with the file of a sysctl.
func (h *Host) sysctl(key string, fn func(path string) error) error {
	if !strings.HasPrefix(key, "net.") {
		return fmt.Errorf("set %s on host %s: only net.* belongs to a host", key, h.Name)
	}
	path := filepath.Join("/proc/sys", strings.ReplaceAll(key, ".", "/"))
	if err := h.Do(func() error { return fn(path) }); err != nil {
		return fmt.Errorf("set %s on host %s: %w", key, h.Name, err)
	}
	return nil
}

// addRoute adds a route that is put back whenever its link comes up again. A
// zero dst is the default route; of two, that with the lower metric is taken.
func (h *Host) addRoute(dst netip.Prefix, via netip.Addr, end *End, metric int) error {
	route := netlink.Route{LinkIndex: end.index, Gw: via.AsSlice(), Dst: ipNet(dst), Priority: metric}
	if err := h.links.RouteAdd(&route); err != nil {
		return fmt.Errorf("add route to %s on host %s: %w", dst, h.Name, err)
	}
	h.routes = append(h.routes, route)
	return nil
}

// Close ends the host's thread, and with it every process that was started from
// it. It may be called twice.
func (h *Host) Close() error {
	var err error
	h.once.Do(func() {
		close(h.closed)
		if h.links != nil {
			h.links.Close()
		}
		err = h.ns.Close()
	})
	if err != nil {
		return fmt.Errorf("close host %s: %w", h.Name, err)
	}
	return nil
}

// ipNet is the netlink library's form of a prefix.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
