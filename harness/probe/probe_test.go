package probe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

func observe(t testing.TB, p Process) *Observer {
	t.Helper()
	o, err := Open(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

func sample(t *testing.T, o *Observer) record.Sample {
	t.Helper()
	s, err := o.Sample(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func dial(t testing.TB, network, address string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() }) // the test may have closed it
	return c.(*net.TCPConn)
}

// find is the target's end of a connection.
func find(sockets []record.Socket, c net.Conn) *record.Socket {
	for i := range sockets {
		if sockets[i].Local == c.RemoteAddr().String() && sockets[i].Remote == c.LocalAddr().String() {
			return &sockets[i]
		}
	}
	return nil
}

func TestSampleSockets(t *testing.T) {
	c := start(t)
	o := observe(t, c.process("server"))
	idle := c.FDs
	quiet, wrote, left, reset := dial(t, "tcp", c.Plain), dial(t, "tcp", c.Dual), dial(t, "tcp", c.Plain), dial(t, "tcp", c.Plain)
	v6 := dial(t, "tcp", c.V6)
	c.order("accept 5")
	if _, err := wrote.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(reset.SetLinger(0), reset.Close()); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"LISTEN": 4, "ESTABLISHED": 3, "CLOSE_WAIT": 1}
	var p record.Point
	if !eventually(func() bool {
		var err error
		if p, err = o.Point(t.Context()); err != nil {
			t.Fatal(err)
		}
		return maps.Equal(p.Sockets, want)
	}) {
		t.Errorf("sockets %v, want %v", p.Sockets, want)
	}
	if p.FDs != idle+5 {
		t.Errorf("%d fds, want the child's own count %d and 5 connections", p.FDs, idle)
	}
	if p.Role != "server" || p.PID != c.cmd.Process.Pid || p.RssAnon < 100<<10 {
		t.Errorf("point %+v", p)
	}
	for range 2 { // the second time with the observer's connection open
		s := sample(t, o)
		if got := count(s.Sockets); !maps.Equal(got, want) || !maps.Equal(s.States, want) {
			t.Errorf("sock_diag %v, gopsutil %v, want %v", got, s.States, want)
		}
		if len(s.FDs) != idle+5 {
			t.Errorf("%d fds, want %d: %v", len(s.FDs), idle+5, s.FDs)
		}
		if s.Threads < 2 || s.Memory.RSS <= s.Memory.RssAnon || s.Memory.RssAnon < 100<<10 || s.Memory.Freed {
			t.Errorf("threads %d, memory %+v", s.Threads, s.Memory)
		}
		targets := make(map[int]record.FD)
		for _, fd := range s.FDs {
			targets[fd.Number] = fd
		}
		for _, k := range s.Sockets {
			if fd := targets[k.FD]; fd.Inode != k.Inode || fd.Target != fmt.Sprintf("socket:[%d]", k.Inode) {
				t.Errorf("socket %+v is joined with %+v", k, fd)
			}
		}
		if k := find(s.Sockets, quiet); k == nil || k.State != "ESTABLISHED" || k.Local != c.Plain || k.RecvQ != 0 ||
			k.Timer != "keepalive" || k.Expires <= 0 || k.Expires > 17 || k.Silence > 30 {
			t.Errorf("quiet connection: %+v", k)
		}
		if k := find(s.Sockets, wrote); k == nil || k.RecvQ != 5 || k.Local != c.Dual {
			t.Errorf("connection with unread bytes: %+v", k)
		}
		if k := find(s.Sockets, left); k == nil || k.State != "CLOSE_WAIT" {
			t.Errorf("half-closed connection: %+v", k)
		}
		if k := find(s.Sockets, v6); k == nil || k.Local != c.V6 {
			t.Errorf("IPv6 connection: %+v", k)
		}
		// The kernel has forgotten the reset one; its descriptor has not.
		if k := find(slices.Concat(s.Sockets, s.Kernel), reset); k != nil {
			t.Errorf("reset connection: %+v", k)
		}
		orphans := 0
		for _, fd := range s.FDs {
			if strings.HasPrefix(fd.Target, "socket:") && !slices.ContainsFunc(s.Sockets, func(k record.Socket) bool { return k.Inode == fd.Inode }) {
				orphans++
			}
		}
		if orphans != 1 {
			t.Errorf("%d fds without a socket, want the one of the reset connection", orphans)
		}
		// Sockets of this test process are neither the child's nor the kernel's.
		for _, k := range slices.Concat(s.Sockets, s.Kernel) {
			if k.Local == quiet.LocalAddr().String() && k.Remote == c.Plain {
				t.Errorf("a socket of another process: %+v", k)
			}
		}
		if k := find(s.Kernel, quiet); k != nil {
			t.Errorf("held socket among the kernel's: %+v", k)
		}
	}
	// Who closes first leaves a TIME_WAIT, or a FIN_WAIT, that nobody holds.
	c.order("close")
	var s record.Sample
	if !eventually(func() bool {
		s = sample(t, o)
		k := find(s.Kernel, quiet)
		return k != nil && k.State == "FIN_WAIT_2" && k.Inode == 0 && k.FD == -1
	}) {
		t.Errorf("closed connection: %+v", find(s.Kernel, quiet))
	}
	if len(s.FDs) != idle {
		t.Errorf("%d fds after closing, want %d", len(s.FDs), idle)
	}
	if err := quiet.Close(); err != nil {
		t.Fatal(err)
	}
	if !eventually(func() bool {
		s = sample(t, o)
		k := find(s.Kernel, quiet)
		return k != nil && k.State == "TIME_WAIT" && k.Timer == "timewait" && k.Expires > 50
	}) {
		t.Errorf("no TIME_WAIT among %+v", s.Kernel)
	}
}

func TestObserverIsNotInTheSample(t *testing.T) {
	c := start(t)
	o := observe(t, c.process("server"))
	first := sample(t, o)
	old := make(map[string]bool) // of another child that had this port
	for _, k := range first.Kernel {
		old[k.Local+k.Remote] = true
	}
	// A connection of the observer that the target has closed leaves a TIME_WAIT
	// at the target, and the observer makes another.
	for range 3 {
		c.order("restart")
		s := sample(t, o)
		if len(s.FDs) != len(first.FDs) || len(s.FDs) != c.FDs {
			t.Errorf("%d fds, at first %d, by the child's own count %d", len(s.FDs), len(first.FDs), c.FDs)
		}
		if !maps.Equal(s.States, map[string]int{"LISTEN": 4}) || !maps.Equal(count(s.Sockets), s.States) {
			t.Errorf("gopsutil %v, sock_diag %v: only listeners were expected", s.States, count(s.Sockets))
		}
		for _, k := range slices.Concat(s.Sockets, s.Kernel) {
			if k.State != "LISTEN" && (k.Local == c.Pprof || k.Remote == c.Pprof) && !old[k.Local+k.Remote] {
				t.Errorf("the observer's own: %+v", k)
			}
		}
	}
	if n := len(o.pprof.pairs); n != 4 {
		t.Errorf("the observer had %d connections, want one and one for each restart", n)
	}
	for _, g := range sample(t, o).Goroutines {
		if within(g.Frames, profiler) || within(g.Frames, reader) {
			t.Errorf("the observer's own: %+v", g)
		}
	}
}

// Somebody else's connection to pprof is not the observer's.
func TestOthersAtPprofStay(t *testing.T) {
	c := start(t)
	o := observe(t, c.process("server"))
	before := sample(t, o)
	other := dial(t, "tcp", c.Pprof)
	var s record.Sample
	if !eventually(func() bool {
		s = sample(t, o)
		return find(s.Sockets, other) != nil && len(s.Goroutines) == len(before.Goroutines)+1
	}) {
		t.Errorf("another connection to pprof: sockets %+v, %d goroutines before, %d now", s.Sockets, len(before.Goroutines), len(s.Goroutines))
	}
	if s.States["ESTABLISHED"] != 1 || len(s.FDs) != len(before.FDs)+1 {
		t.Errorf("gopsutil %v, %d fds before, %d now", s.States, len(before.FDs), len(s.FDs))
	}
}

func TestHolds(t *testing.T) {
	c := start(t)
	o := observe(t, c.process("server"))
	s := sample(t, o)
	inodes := map[uint64]bool{1: true} // nobody's
	for _, x := range s.Sockets {
		inodes[x.Inode] = true
	}
	if n, err := o.Holds(inodes); err != nil || n != len(s.Sockets) || n == 0 {
		t.Errorf("holds %d (%v), want %d", n, err, len(s.Sockets))
	}
	if n, err := o.Holds(map[uint64]bool{1: true}); err != nil || n != 0 {
		t.Errorf("holds %d of nobody's sockets (%v)", n, err)
	}
}

func TestSampleGoroutines(t *testing.T) {
	c := start(t)
	o := observe(t, c.process("server"))
	before := sample(t, o)
	c.order("park 9")
	s := sample(t, o)
	const path = "github.com/halfopen/halfopen/harness/probe."
	for signature, want := range map[string]int{path + "parked < " + path + "parkFrom": 6, path + "parked < " + path + "startElsewhere": 3} {
		i := slices.IndexFunc(s.Groups, func(g record.Group) bool { return g.Signature == signature })
		if i < 0 || s.Groups[i].Count != want {
			t.Errorf("group %q is not there %d times: %+v", signature, want, s.Groups)
		}
	}
	if len(s.Goroutines) != len(before.Goroutines)+9 {
		t.Errorf("%d goroutines, before %d", len(s.Goroutines), len(before.Goroutines))
	}
	peers := make(map[string]bool)
	for _, g := range s.Goroutines {
		if g.Frames[0].Func != path+"parked" {
			continue
		}
		peers[g.Labels["peer"]] = true
		if g.Labels["role"] != "session" || g.Labels["odd"] != "a \"b\", {c}]: \\ é\n" || g.State != "chan receive" || g.ID <= 0 || g.Parent <= 0 ||
			!strings.HasSuffix(g.Frames[0].File, "child_test.go") || g.Frames[0].Line <= 0 || !strings.HasPrefix(g.Creator.Func, path) || g.Creator.Line <= 0 {
			t.Errorf("parked goroutine: %+v", g)
		}
	}
	if len(peers) != 9 {
		t.Errorf("%d peers among the labels, want 9: %v", len(peers), peers)
	}
	// Between the two its main may come back from having written its answer.
	if !eventually(func() bool { return agree(s) == "" || agree(sample(t, o)) == "" }) {
		t.Error(agree(s))
	}
}

// agree is where the two forms differ, goroutine by goroutine.
func agree(s record.Sample) string {
	fromStacks, fromProfile := make(map[string]int), make(map[string]int)
	for _, g := range s.Goroutines {
		fromStacks[record.Signature(g.Frames, g.Creator.Func)]++
	}
	for _, g := range s.Groups {
		fromProfile[g.Signature] += g.Count
	}
	if !maps.Equal(fromStacks, fromProfile) {
		return fmt.Sprintf("the forms differ:\nprofile %v\nstacks  %v", fromProfile, fromStacks)
	}
	return ""
}

func BenchmarkPoint(b *testing.B) {
	const n = 2000
	c := start(b)
	for range n {
		dial(b, "tcp", c.Plain)
	}
	c.order("accept %d", n)
	o := observe(b, c.process("server"))
	for b.Loop() {
		p, err := o.Point(b.Context())
		if err != nil || p.Sockets["ESTABLISHED"] != n {
			b.Fatalf("point %+v: %v", p, err)
		}
	}
}
