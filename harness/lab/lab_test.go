package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if err := Sandbox(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

func build(t testing.TB, topology Topology) *Lab {
	t.Helper()
	l, err := topology()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// serve accepts on host at ip:port and says to each caller from where it came.
func serve(t *testing.T, h *Host, ip netip.Addr) string {
	t.Helper()
	ln, err := h.Listen(t.Context(), netip.AddrPortFrom(ip, 7000).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, c.RemoteAddr())
			t.Cleanup(func() { c.Close() })
		}
	}()
	return ln.Addr().String()
}

// dial connects and returns the connection and what the server sees as its peer.
func dial(t *testing.T, h *Host, address string) (net.Conn, netip.AddrPort) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	c, err := h.DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var seen string
	if _, err := fmt.Fscanln(c, &seen); err != nil {
		t.Fatal(err)
	}
	return c, netip.MustParseAddrPort(seen)
}

func TestDirectReachesTheServerFromBothSides(t *testing.T) {
	l := build(t, Direct)
	_, seen := dial(t, l.Visitor, serve(t, l.Server, l.VisitorSide))
	if seen.Addr() != l.ends[AtVisitor].IP() {
		t.Errorf("server sees the visitor as %s, want %s", seen.Addr(), l.ends[AtVisitor].IP())
	}
	_, seen = dial(t, l.Client, serve(t, l.Server, l.ClientSide))
	if seen.Addr() != l.ends[AtClient].IP() {
		t.Errorf("server sees the client as %s, want %s", seen.Addr(), l.ends[AtClient].IP())
	}
}

func TestNATTranslatesAndForgets(t *testing.T) {
	l := build(t, BehindNAT)
	conn, seen := dial(t, l.Client, serve(t, l.Server, l.ClientSide))
	if seen.Addr() != l.Router.Outer.IP() {
		t.Errorf("server sees the client as %s, want the router's %s", seen.Addr(), l.Router.Outer.IP())
	}
	mappings, err := l.Router.Mappings()
	if err != nil {
		t.Fatal(err)
	}
	if len(mappings) != 1 || mappings[0].Inside.String() != conn.LocalAddr().String() || mappings[0].Outside != seen {
		t.Fatalf("mappings are %v, want one of %s as %s", mappings, conn.LocalAddr(), seen)
	}
	n, err := l.Router.Forget()
	if err != nil || n != 1 {
		t.Fatalf("forgot %d mappings (%v), want 1", n, err)
	}
	if mappings, err = l.Router.Mappings(); err != nil || len(mappings) != 0 {
		t.Fatalf("mappings after forgetting are %v (%v)", mappings, err)
	}
}

func TestDoubleNATTranslatesTwice(t *testing.T) {
	l := build(t, DoubleNAT)
	conn, seen := dial(t, l.Client, serve(t, l.Server, l.ClientSide))
	if seen.Addr() != l.Router.Outer.IP() {
		t.Errorf("server sees the client as %s, want the carrier's %s", seen.Addr(), l.Router.Outer.IP())
	}
	mappings, err := l.Router.Mappings()
	if err != nil {
		t.Fatal(err)
	}
	client := netip.MustParseAddrPort(conn.LocalAddr().String())
	home := l.Router.Inner.Peer.IP()
	if len(mappings) != 1 || mappings[0].Inside.Addr() != home || mappings[0].Outside != seen || home == client.Addr() {
		t.Errorf("the carrier's mappings are %v, want one of the home's %s as %s, and nothing of the client's %s", mappings, home, seen, client)
	}
}

func TestRoamingChangesTheAddress(t *testing.T) {
	l := build(t, Roaming)
	address := serve(t, l.Server, l.ClientSide)
	old, seen := dial(t, l.Client, address)
	if seen.Addr() != l.Router.Outer.IP() {
		t.Errorf("server sees the client as %s, want the wifi's %s", seen.Addr(), l.Router.Outer.IP())
	}
	end, err := l.End(AtClient)
	if err != nil {
		t.Fatal(err)
	}
	if err := end.Down(); err != nil {
		t.Fatal(err)
	}
	_, seen = dial(t, l.Client, address)
	if want := l.Cables(l.Server)[2].Peer.IP(); seen.Addr() != want {
		t.Errorf("server sees the client that has moved as %s, want the mobile network's %s", seen.Addr(), want)
	}
	if _, err := old.Write([]byte("anybody?")); err != nil {
		t.Fatal(err)
	}
	if err := old.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := old.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the old connection ends with %v, want silence", err)
	}
	if err := end.Up(); err != nil {
		t.Fatal(err)
	}
	if _, seen = dial(t, l.Client, address); seen.Addr() != l.Router.Outer.IP() {
		t.Errorf("server sees the client that is back as %s, want the wifi's %s", seen.Addr(), l.Router.Outer.IP())
	}
}

func TestHardNATGivesPortsAtRandom(t *testing.T) {
	const dials = 8
	for _, c := range []struct {
		topology Topology
		least    int // connections that keep their own port
		most     int
	}{{BehindNAT, dials, dials}, {HardNAT, 0, 1}} { // one of 64512 ports is one's own
		l := build(t, c.topology)
		address := serve(t, l.Server, l.ClientSide)
		kept := 0
		for range dials {
			conn, seen := dial(t, l.Client, address)
			if netip.MustParseAddrPort(conn.LocalAddr().String()).Port() == seen.Port() {
				kept++
			}
		}
		if kept < c.least || kept > c.most {
			t.Errorf("%s: %d of %d connections keep their port, want %d to %d", l.Name, kept, dials, c.least, c.most)
		}
	}
}

func TestPulledCablePutsItsRouteBack(t *testing.T) {
	l := build(t, BehindNAT)
	address := serve(t, l.Server, l.ClientSide)
	dial(t, l.Client, address)
	end, err := l.End(AtClient)
	if err != nil {
		t.Fatal(err)
	}
	if err := end.Down(); err != nil {
		t.Fatal(err)
	}
	if up, _, err := end.State(); err != nil || up {
		t.Fatalf("state after Down: up=%v, %v", up, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if c, err := l.Client.DialContext(ctx, "tcp", address); err == nil {
		c.Close()
		t.Fatal("dialled over a pulled cable")
	}
	if err := end.Up(); err != nil {
		t.Fatal(err)
	}
	dial(t, l.Client, address) // the default route is back
}

// namespaces are the network namespaces of this program's threads.
func namespaces(t *testing.T) map[string]int {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, task := range tasks {
		if ns, err := os.Readlink(task); err == nil { // else the thread has ended
			found[ns]++
		}
	}
	return found
}

// A thread that stayed in a host's namespace would run other goroutines there.
func TestOnlyExecutorsLiveInHosts(t *testing.T) {
	l := build(t, BehindNAT)
	address := serve(t, l.Server, l.VisitorSide)
	for range 20 {
		dial(t, l.Visitor, address)
		if _, err := l.Router.Mappings(); err != nil {
			t.Fatal(err)
		}
	}
	// A thread that dialled ends a moment after its goroutine.
	deadline := time.Now().Add(5 * time.Second)
	for {
		found := namespaces(t)
		away := 0
		for _, n := range found {
			if n == 1 {
				away++
			}
		}
		if len(found) == 1+len(l.hosts) && away >= len(l.hosts) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("threads by network namespace: %v; want home and one for each of %d hosts", found, len(l.hosts))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestHostsDoNotTouchTheMachine(t *testing.T) {
	interfaces := func() []string {
		list, err := net.Interfaces()
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, i := range list {
			names = append(names, i.Name)
		}
		return names
	}
	before := interfaces()
	l := build(t, BehindNAT)
	if after := interfaces(); !slices.Equal(before, after) {
		t.Errorf("interfaces of the machine were %v and are %v", before, after)
	}
	if err := l.Server.Sysctl("kernel.panic", "1"); err == nil {
		t.Error("a host may set a sysctl of the machine")
	}
}

// open counts the entries of a folder.
func open(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// beyond is how many descriptors more than before this process has, and keeps: it opens
// some itself now and then, for a moment.
func beyond(t *testing.T, before int) (left int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if left = open(t, "/proc/self/fd") - before; left <= 0 || time.Now().After(end) {
			return left
		}
	}
}

func TestLabLeavesNothing(t *testing.T) {
	once := func() {
		l, err := BehindNAT()
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	once()
	fds := open(t, "/proc/self/fd")
	for range 10 {
		once()
	}
	if left := beyond(t, fds); left > 0 {
		t.Errorf("10 labs leave %d file descriptors", left)
	}
	// Threads end a moment after their hosts.
	deadline := time.Now().Add(10 * time.Second)
	for open(t, "/proc/self/task") > 25 {
		if time.Now().After(deadline) {
			t.Fatalf("%d threads are left", open(t, "/proc/self/task"))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestProcessRunsOnItsHostAndDiesWithIt(t *testing.T) {
	l := build(t, Direct)
	log := filepath.Join(t.TempDir(), "log")
	p, err := l.Start(l.Server, Command{Role: "server", Argv: []string{"sh", "-c", "cat /proc/net/dev; echo end; exec sleep 1000"}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for tail := p.Tail(1); len(tail) == 0 || tail[0] != "end"; tail = p.Tail(1) {
		if time.Now().After(deadline) {
			t.Fatal("no output")
		}
		time.Sleep(5 * time.Millisecond)
	}
	if text := strings.Join(p.Tail(10), "\n"); !strings.Contains(text, "client:") || !strings.Contains(text, "visitor:") {
		t.Errorf("process sees other interfaces than its host's:\n%s", text)
	}
	if !p.Running() {
		t.Fatalf("process ended: %s", p.Status())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if p.Running() || p.Status() != "signal: killed" {
		t.Errorf("after Close the process is %s", p.Status())
	}
}

func TestStartNamesWhatIsMissing(t *testing.T) {
	l := build(t, Direct)
	_, err := l.Start(l.Server, Command{Role: "server", Argv: []string{"/nowhere/tunnel"}, Log: filepath.Join(t.TempDir(), "log")})
	if err == nil || !strings.Contains(err.Error(), "/nowhere/tunnel") {
		t.Errorf("error is %v", err)
	}
	if _, err := l.End("moon"); err == nil || !strings.Contains(err.Error(), "moon") {
		t.Errorf("error is %v", err)
	}
	if _, err := l.Client.DialContext(t.Context(), "tcp", "localhost:1"); err == nil || !strings.Contains(err.Error(), "localhost") {
		t.Errorf("a name was dialled: %v", err)
	}
}

// What a process of the lab has started does not outlive the lab, in whatever session.
func TestStraysDieWithTheLab(t *testing.T) {
	l := build(t, Direct)
	log := filepath.Join(t.TempDir(), "log")
	p, err := l.Start(l.Server, Command{Role: "server", Argv: []string{"sh", "-c", "setsid sleep 1000 & echo $!; wait"}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	running := func(pid string) bool {
		name, err := os.ReadFile("/proc/" + pid + "/comm")
		return err == nil && strings.TrimSpace(string(name)) == "sleep"
	}
	pid := ""
	for !running(pid) {
		if time.Now().After(deadline) {
			t.Fatalf("the stray did not start: it printed %q", p.Tail(3))
		}
		time.Sleep(5 * time.Millisecond)
		pid = strings.Join(p.Tail(1), "")
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if !running(pid) {
		t.Fatal("the stray died with its parent: this tests nothing")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); running(pid); time.Sleep(5 * time.Millisecond) {
		if state, err := os.ReadFile("/proc/" + pid + "/stat"); err == nil && strings.Contains(string(state), ") Z ") {
			break // dead, and to be reaped
		}
		if time.Now().After(deadline) {
			t.Fatalf("the stray %s outlives the lab", pid)
		}
	}
}

// Who was told to end, and did, has ended as it was told; who had ended by itself has not.
func TestAsTold(t *testing.T) {
	l := build(t, Direct)
	by := func(p *Process, sig unix.Signal) {
		if err := unix.Kill(p.PID(), sig); err != nil {
			t.Error(err)
		}
		<-p.Exited()
	}
	for _, c := range []struct {
		name string
		end  func(*Process)
		want bool
	}{
		{"killed", func(p *Process) { _ = p.Kill() }, true},
		{"terminated", func(p *Process) { _ = p.Signal(unix.SIGTERM); <-p.Exited() }, true},
		{"terminated, and then killed", func(p *Process) { _ = p.Signal(unix.SIGTERM); _ = p.Kill() }, true},
		{"by itself", func(p *Process) { by(p, unix.SIGUSR1) }, false},
		{"killed by somebody else", func(p *Process) { by(p, unix.SIGKILL) }, false},
		{"by itself, and then killed", func(p *Process) { by(p, unix.SIGUSR1); _ = p.Kill() }, false},
		{"by itself, and killed before that was known", func(p *Process) { p.told.Store(int32(unix.SIGKILL)); by(p, unix.SIGUSR1) }, false},
		{"frozen and let go on", func(p *Process) { _ = p.Signal(unix.SIGSTOP); _ = p.Signal(unix.SIGCONT); by(p, unix.SIGUSR1) }, false},
	} {
		p, err := l.Start(l.Server, Command{Role: "server", Argv: []string{"sleep", "1000"}, Log: filepath.Join(t.TempDir(), "log")})
		if err != nil {
			t.Fatal(err)
		}
		if p.AsTold() {
			t.Errorf("%s: it still runs", c.name)
		}
		if c.end(p); p.AsTold() != c.want {
			t.Errorf("%s: as told %v, want %v (%s)", c.name, p.AsTold(), c.want, p.Status())
		}
	}
}
