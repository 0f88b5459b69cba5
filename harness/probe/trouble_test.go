package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestGone(t *testing.T) {
	c := start(t)
	o := observe(t, c.process("server"))
	sample(t, o)
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		_, point := o.Point(t.Context())
		_, whole := o.Sample(t.Context())
		_, holds := o.Holds(nil)
		_, memory := o.Memory(t.Context())
		for _, err := range []error{point, whole, holds, memory, o.Free(t.Context())} {
			if !errors.Is(err, ErrGone) || !strings.Contains(err.Error(), "server") {
				t.Errorf("%s: %v, want ErrGone", when, err)
			}
		}
	}
	if !eventually(func() bool { _, err := o.Point(t.Context()); return err != nil }) {
		t.Fatal("a killed process still has descriptors")
	}
	check("zombie")
	if _, err := Open(t.Context(), c.process("server")); !errors.Is(err, ErrGone) {
		t.Errorf("Open of a zombie: %v, want ErrGone", err)
	}
	_ = c.cmd.Wait() // says "killed"
	check("reaped")
	if _, err := Open(t.Context(), c.process("server")); !errors.Is(err, ErrGone) {
		t.Errorf("Open of nobody: %v, want ErrGone", err)
	}
}

func TestFrozen(t *testing.T) {
	c := start(t)
	o := observe(t, c.process("server"))
	sample(t, o)
	c.freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	s, err := o.Sample(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrGone) {
		t.Errorf("Sample of a frozen process: %v, want the deadline", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if len(s.FDs) != c.FDs || count(s.Sockets)["LISTEN"] != 4 || s.Memory.RSS == 0 {
		t.Errorf("what needs no help is missing: fds %v, sockets %v, memory %v", s.FDs, s.Sockets, s.Memory)
	}
	// The connection that was given up lies in CLOSE_WAIT there: the observer's too.
	if p, err := o.Point(t.Context()); err != nil || p.FDs != c.FDs || p.Sockets["CLOSE_WAIT"] != 0 {
		t.Errorf("point %+v (%v)", p, err)
	}
	c.signal(syscall.SIGCONT)
	// The request that was given up is still answered: it opens /proc/self/maps.
	if !eventually(func() bool { s = sample(t, o); return len(s.Groups) > 0 && len(s.FDs) == c.FDs }) {
		t.Errorf("after it went on: %d groups, fds %v, before %d", len(s.Groups), s.FDs, c.FDs)
	}
}

// The kernel forgets a connection of the observer that was reset; the fd in the
// target stays until the target looks. It is the observer's all the same.
func TestObserversDescriptorOutlivesItsSocket(t *testing.T) {
	c := start(t)
	o := observe(t, c.process("server"))
	sample(t, o)
	if _, err := o.Point(t.Context()); err != nil { // sees the connection
		t.Fatal(err)
	}
	c.freeze()
	defer c.signal(syscall.SIGCONT)
	if err := o.pprof.conn.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	o.pprof.drop()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.cmd.Process.Pid))
	if err != nil || len(all) != c.FDs+1 {
		t.Fatalf("the frozen child has %d fds, want %d and the observer's (%v)", len(all), c.FDs, err)
	}
	for range 2 {
		if p, err := o.Point(t.Context()); err != nil || p.FDs != c.FDs {
			t.Errorf("%d fds, want %d (%v)", p.FDs, c.FDs, err)
		}
	}
}

// A context may end without a deadline.
func TestCancelled(t *testing.T) {
	c := start(t)
	o := observe(t, c.process("server"))
	sample(t, o)
	c.freeze()
	defer c.signal(syscall.SIGCONT)
	ctx, cancel := context.WithCancel(t.Context())
	defer time.AfterFunc(50*time.Millisecond, cancel).Stop()
	began := time.Now()
	if _, err := o.Sample(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Sample of a frozen process: %v, want the cancellation", err)
	}
	if took := time.Since(began); took > deadline/2 {
		t.Errorf("it took %v", took)
	}
}

func TestFree(t *testing.T) {
	c := start(t)
	p := c.process("server")
	m, err := observe(t, p).Memory(t.Context())
	if err != nil || !m.Freed || m.RssAnon == 0 || m.RSS < m.RssAnon {
		t.Errorf("memory %+v (%v)", m, err)
	}
	if m.HeapAlloc < 50<<10 || m.HeapAlloc > m.RssAnon || m.HeapObjects < 100 {
		t.Errorf("heap of %d bytes in %d objects", m.HeapAlloc, m.HeapObjects)
	}
	if c.order("count"); c.Freed != 1 {
		t.Errorf("freed %d times, want once", c.Freed)
	}
	p.Free = "/debug/freeget" // takes GET only
	if err := observe(t, p).Free(t.Context()); err != nil {
		t.Error(err)
	}
	if c.order("count"); c.Freed != 2 {
		t.Errorf("freed %d times, want twice", c.Freed)
	}
	p.Free = "/debug/freetells"
	o := observe(t, p)
	for range 2 {
		if m, err := o.Memory(t.Context()); err != nil || !m.Freed || m.HeapAlloc != 1234 || m.HeapObjects != 5 {
			t.Errorf("memory of a target that tells its heap: %+v (%v)", m, err)
		}
	}
	p.Free = ""
	o = observe(t, p)
	if err := o.Free(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Free() without a way = %v", err)
	}
	if m, err := o.Memory(t.Context()); err != nil || m.Freed || m.RssAnon == 0 {
		t.Errorf("memory %+v (%v)", m, err)
	}
	p.Free = "/nowhere"
	if _, err := observe(t, p).Memory(t.Context()); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("Memory() by a wrong path = %v", err)
	}
}

func TestParseHeap(t *testing.T) {
	const text = "heap profile: 1: 2 [3: 4] @ heap/1048576\n1: 2 [1: 2] @ 0x1\n\n# runtime.MemStats\n# Alloc = 7\n# HeapAlloc = 204800\n# HeapObjects = 99\n# Stack = 1\n"
	if h, err := parseHeap([]byte(text)); err != nil || h != (freed{204800, 99}) {
		t.Errorf("%+v (%v)", h, err)
	}
	for _, bad := range []string{"", "# HeapAlloc = 3\n", "\n# HeapAlloc = x\n", "\n# HeapAlloc = 3\n"} {
		if h, err := parseHeap([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, h)
		}
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	c := start(t)
	before, goroutines := openFiles(t), runtime.NumGoroutine()
	o, err := Open(t.Context(), c.process("server"))
	if err != nil {
		t.Fatal(err)
	}
	sample(t, o)
	if openFiles(t) <= before {
		t.Error("an open observer holds nothing: the test sees nothing")
	}
	if err := errors.Join(o.Close(), o.Close()); err != nil {
		t.Error(err)
	}
	if now := openFiles(t); now != before {
		t.Errorf("%d files, before %d", now, before)
	}
	if !eventually(func() bool { return runtime.NumGoroutine() <= goroutines }) {
		t.Errorf("%d goroutines, before %d", runtime.NumGoroutine(), goroutines)
	}
	if _, err := o.Point(t.Context()); err == nil {
		t.Error("a closed observer observes")
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
