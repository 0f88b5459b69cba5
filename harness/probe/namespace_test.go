package probe

import (
	"errors"
	"maps"
	"net"
	"os"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness/record"
)

// The trap: a netlink socket shows the namespace of the thread that made it.
func TestNamespace(t *testing.T) {
	ns := newApart(t)
	outside, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	if err := ns.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	}); err != nil {
		t.Skipf("set lo up: %v (CAP_NET_ADMIN is missing)", err)
	}
	// The sysctls are those of the process's host, not of the observer's.
	if err := ns.Do(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/tcp_retries2", []byte("4"), 0o644)
	}); err != nil {
		t.Fatal(err)
	}
	c := startIn(t, ns)
	p := c.process("server")
	p.Host = ns
	o := observe(t, p)
	inside, err := ns.DialContext(t.Context(), "tcp", c.Plain)
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	c.order("accept 1")
	s := sample(t, o)
	if want := map[string]int{"LISTEN": 4, "ESTABLISHED": 1}; !maps.Equal(count(s.Sockets), want) || !maps.Equal(s.States, want) {
		t.Fatalf("sock_diag %v, gopsutil %v, want %v", count(s.Sockets), s.States, want)
	}
	if n := s.Namespace; n == nil || n.Retries2 != 4 || n.FinTimeout <= 0 {
		t.Errorf("sysctls of the host: %+v, want tcp_retries2 4", n)
	}
	if len(s.Groups) == 0 || len(s.Goroutines) == 0 {
		t.Error("no goroutines")
	}
	// By inode, for two namespaces may use one port.
	holds := func(d *diag, inode uint64) bool {
		all, err := d.sockets(true, func(n uint64) bool { return n == inode })
		if err != nil {
			t.Fatal(err)
		}
		return len(all) == 1 && all[0].State == "LISTEN"
	}
	in, out := s.Sockets[slices.IndexFunc(s.Sockets, func(k record.Socket) bool { return k.Local == c.Plain })].Inode, listenerInode(t, outside)
	here, err := openDiag(here{})
	if err != nil {
		t.Fatal(err)
	}
	defer here.close()
	if holds(o.diag, out) || !holds(o.diag, in) {
		t.Error("inside, sock_diag shows the sockets outside")
	}
	if !holds(here, out) || holds(here, in) {
		t.Error("outside, sock_diag shows the sockets inside")
	}
}

func listenerInode(t *testing.T, l net.Listener) uint64 {
	t.Helper()
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var stat unix.Stat_t
	if err := errors.Join(raw.Control(func(fd uintptr) { err = unix.Fstat(int(fd), &stat) }), err); err != nil {
		t.Fatal(err)
	}
	return stat.Ino
}
