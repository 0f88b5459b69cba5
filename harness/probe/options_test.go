package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness/record"
)

// setOptions is the child's order "set CONNECTION KEEPALIVE IDLE INTERVAL COUNT
// USER_TIMEOUT_MS RTO_MAX_MS"; a negative value leaves the option as it is.
func setOptions(held []net.Conn, argument string) error {
	var n int
	var values [6]int
	if _, err := fmt.Sscan(argument, &n, &values[0], &values[1], &values[2], &values[3], &values[4], &values[5]); err != nil {
		return err
	}
	raw, err := held[n].(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	options := [6]int{unix.SO_KEEPALIVE, unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL, unix.TCP_KEEPCNT, unix.TCP_USER_TIMEOUT, unix.TCP_RTO_MAX_MS}
	controlled := raw.Control(func(fd uintptr) {
		for i, value := range values {
			level := unix.IPPROTO_TCP
			if i == 0 {
				level = unix.SOL_SOCKET
			}
			if value >= 0 {
				err = errors.Join(err, unix.SetsockoptInt(int(fd), level, options[i], value))
			}
		}
	})
	return errors.Join(controlled, err)
}

// rtoMax is what a socket here has by default, in seconds; 0 on a kernel that does
// not tell.
func rtoMax(t *testing.T) float64 {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	ms, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_RTO_MAX_MS)
	if err != nil && !errors.Is(err, unix.ENOPROTOOPT) {
		t.Fatal(err)
	}
	return float64(ms) / 1000
}

func TestOptions(t *testing.T) {
	c := start(t)
	p := c.process("server")
	p.Pprof = "" // it does not answer while it is frozen
	o := observe(t, p)
	most := rtoMax(t)
	shorter, fast := -1, 0.0
	if most > 0 {
		shorter, fast = 2500, 2.5
	}
	type want struct {
		conn    net.Conn
		name    string
		options record.Options
	}
	var all []want
	add := func(name string, conn net.Conn, options record.Options, set string, args ...any) {
		t.Helper()
		c.order("accept 1")
		if set != "" {
			c.order("set %d "+set, append([]any{len(all)}, args...)...)
		}
		all = append(all, want{conn, name, options})
	}
	// The child is a Go program: 15 s, 15 s, 9 (package net, KeepAliveConfig).
	plain := record.Options{Protocol: 6, Keepalive: true, KeepaliveIdle: 15, KeepaliveInterval: 15, KeepaliveCount: 9, RTOMax: most}
	add("as Go sets it", dial(t, "tcp", c.Plain), plain, "")
	add("IPv6", dial(t, "tcp", c.V6), plain, "")
	add("all set", dial(t, "tcp", c.Dual), record.Options{
		Protocol: 6, Keepalive: true, KeepaliveIdle: 2, KeepaliveInterval: 1, KeepaliveCount: 3, UserTimeout: 5.3, RTOMax: max(fast, 0),
	}, "1 2 1 3 5300 %d", shorter)
	off := plain
	off.Keepalive = false
	add("keepalive off", dial(t, "tcp", c.Plain), off, "0 -1 -1 -1 -1 -1")
	timeout := off
	timeout.UserTimeout = 0.25
	add("user timeout alone", dial(t, "tcp", c.Plain), timeout, "0 -1 -1 -1 250 -1")
	left := dial(t, "tcp", c.Plain)
	add("half-closed by the peer", left, plain, "")
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		s := sample(t, o)
		if s.OptionsRefused != "" {
			t.Fatalf("%s: refused: %s", when, s.OptionsRefused)
		}
		for _, w := range all {
			if k := find(s.Sockets, w.conn); k == nil || k.Options == nil || !reflect.DeepEqual(*k.Options, w.options) {
				t.Errorf("%s: %s: socket %+v\nhas %+v\nwant %+v", when, w.name, k, optionsOf(k), w.options)
			}
		}
		for _, k := range slices.Concat(s.Sockets, s.Kernel) {
			if k.Options != nil && (k.State == "LISTEN" || k.FD < 0) {
				t.Errorf("%s: %s socket has options: %+v", when, k.State, k)
			}
		}
	}
	check("at work")
	c.freeze()
	check("frozen")
	c.signal(syscall.SIGCONT)
}

func optionsOf(k *record.Socket) any {
	if k == nil || k.Options == nil {
		return nil
	}
	return *k.Options
}

// A connection that is really MPTCP, which the child's listeners accept, has no user
// timeout: the observer must not make 0 s of that in silence.
func TestOptionsOfMPTCP(t *testing.T) {
	c := start(t)
	o := observe(t, c.process("server"))
	var d net.Dialer
	d.SetMultipathTCP(true)
	conn, err := d.Dial("tcp4", c.Plain)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if both, err := conn.(*net.TCPConn).MultipathTCP(); err != nil || !both {
		t.Skipf("this kernel makes no MPTCP connection (%v)", err)
	}
	c.order("accept 1")
	k := find(sample(t, o).Sockets, conn)
	if k == nil || k.Options == nil || k.Options.Protocol != unix.IPPROTO_MPTCP || !k.Options.Keepalive || k.Options.KeepaliveIdle != 15 {
		t.Fatalf("socket %+v has %+v", k, optionsOf(k))
	}
	if want := []string{"TCP_USER_TIMEOUT"}; !slices.Equal(k.Options.Untold, want) || k.Options.UserTimeout != 0 {
		t.Errorf("untold %v, want %v; %+v", k.Options.Untold, want, *k.Options)
	}
}

// The observer's duplicates are closed: none is left here, and a connection that
// the process closes after the sample ends for its peer.
func TestOptionsLeaveNoDescriptor(t *testing.T) {
	c := start(t)
	p := c.process("server")
	p.Pprof = ""
	o := observe(t, p)
	conns := make([]*net.TCPConn, 20)
	for i := range conns {
		conns[i] = dial(t, "tcp", c.Plain)
	}
	c.order("accept %d", len(conns))
	before := openFiles(t)
	for range 3 {
		if s := sample(t, o); s.Sockets[len(s.Sockets)-1].Options == nil && find(s.Sockets, conns[0]).Options == nil {
			t.Fatal("no options: the test sees nothing")
		}
	}
	if now := openFiles(t); now != before {
		t.Errorf("%d files, before %d", now, before)
	}
	c.order("close")
	for _, conn := range conns {
		expectEnd(t, conn)
	}
}

// expectEnd reads until the peer's FIN.
func expectEnd(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("read %d bytes and %v, want the end", n, err)
	}
}

// What borrow promises, for the processes that end a connection just then.
func TestEndWhileBorrowed(t *testing.T) {
	c := start(t)
	p := c.process("server")
	p.Pprof = ""
	o := observe(t, p)
	for _, order := range []string{"shutdown", "close"} {
		t.Run(order, func(t *testing.T) {
			conn := dial(t, "tcp", c.Plain)
			c.order("accept 1")
			k := find(sample(t, o).Sockets, conn)
			before := openFiles(t)
			if err := o.borrow(k, func(int) error {
				c.order("%s", order)
				if order == "shutdown" { // seen at once
					expectEnd(t, conn)
					return nil
				}
				// Later than any FIN on loopback: it waits for the duplicate.
				if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
					return err
				}
				if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("read: %v, want the deadline: the duplicate holds nothing, so the test sees nothing", err)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			expectEnd(t, conn)
			if now := openFiles(t); now != before {
				t.Errorf("%d files, before %d", now, before)
			}
			c.order("close")
		})
	}
}

// Between the list and the question a descriptor may be closed, and its number
// given to another file.
func TestOptionsOfClosed(t *testing.T) {
	c := start(t)
	o := observe(t, c.process("server"))
	conn, other := dial(t, "tcp", c.Plain), dial(t, "tcp", c.Plain)
	c.order("accept 2")
	all := sample(t, o).Sockets
	live, instead := *find(all, conn), *find(all, other)
	live.Options = nil
	before := openFiles(t)
	closed, reused, pipe := live, live, live
	closed.FD, reused.FD, pipe.FD = 1<<20, instead.FD, 0
	s := record.Sample{Sockets: []record.Socket{closed, reused, pipe, live}}
	if err := o.options(&s); err != nil || s.OptionsRefused != "" {
		t.Fatalf("options: %v, refused %q", err, s.OptionsRefused)
	}
	for i, name := range []string{"closed", "reused by another socket", "reused by a pipe"} {
		if s.Sockets[i].Options != nil {
			t.Errorf("%s: %+v", name, *s.Sockets[i].Options)
		}
	}
	if s.Sockets[3].Options == nil {
		t.Error("the one that lives has no options")
	}
	if now := openFiles(t); now != before {
		t.Errorf("%d files, before %d", now, before)
	}
}

// A process that exits under our eyes closes nothing by itself, and refuses nothing.
func TestOptionsOfGone(t *testing.T) {
	c := start(t)
	o := observe(t, c.process("server"))
	dial(t, "tcp", c.Plain)
	c.order("accept 1")
	s := sample(t, o)
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// It loses its memory before its files: a pidfd can be read when it has lost both.
	ended := []unix.PollFd{{Fd: int32(o.pidfd), Events: unix.POLLIN}}
	if !eventually(func() bool { n, err := unix.Poll(ended, 10); return n == 1 && err == nil }) {
		t.Fatal("a killed process lives")
	}
	check := func(when string) {
		t.Helper()
		again := record.Sample{Sockets: slices.Clone(s.Sockets)}
		if err := o.options(&again); !errors.Is(err, ErrGone) {
			t.Errorf("%s: %v, refused %q, want ErrGone", when, err, again.OptionsRefused)
		}
		// What other kernels say of one who exits.
		for _, errno := range []syscall.Errno{unix.EBADF, unix.EPERM} {
			again := record.Sample{Sockets: slices.Clone(s.Sockets)}
			if err := withoutGetfd(errno, func() error { return o.options(&again) }); !errors.Is(err, ErrGone) {
				t.Errorf("%s, %v: %v, refused %q, want ErrGone", when, errno, err, again.OptionsRefused)
			}
		}
	}
	check("zombie")
	_ = c.cmd.Wait() // says "killed"
	check("reaped")
}

// Whoever refuses, the sample is there without options and says so.
func TestOptionsRefused(t *testing.T) {
	for _, c := range []struct {
		errno syscall.Errno
		says  string
	}{
		{unix.EPERM, "yama"},     // another user's process, yama, a container's seccomp profile
		{unix.EACCES, "seccomp"}, // a security module
		{unix.ENOSYS, "Linux 5.6"},
	} {
		t.Run(c.errno.Error(), func(t *testing.T) {
			child := start(t)
			o := observe(t, child.process("server"))
			conn := dial(t, "tcp", child.Plain)
			child.order("accept 1")
			var s record.Sample
			if err := withoutGetfd(c.errno, func() (err error) {
				s, err = o.Sample(context.Background())
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(s.OptionsRefused, c.errno.Error()) || !strings.Contains(s.OptionsRefused, c.says) {
				t.Errorf("it says %q, want %q and %q", s.OptionsRefused, c.errno.Error(), c.says)
			}
			if k := find(s.Sockets, conn); k == nil || k.Options != nil || len(s.Goroutines) == 0 {
				t.Errorf("socket %+v, %d goroutines", k, len(s.Goroutines))
			}
			// The same observer, not refused.
			if again := sample(t, o); again.OptionsRefused != "" || find(again.Sockets, conn).Options == nil {
				t.Errorf("not refused: %q, %+v", again.OptionsRefused, find(again.Sockets, conn))
			}
		})
	}
}

// withoutGetfd runs fn on a thread whose pidfd_getfd fails with errno, by a seccomp
// filter that ends with the thread.
func withoutGetfd(errno syscall.Errno, fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		done <- func() error {
			if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
				return fmt.Errorf("set no_new_privs: %w", err)
			}
			filter := []unix.SockFilter{ // of struct seccomp_data: the first word is the number
				{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
				{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_PIDFD_GETFD, Jt: 0, Jf: 1},
				{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
				{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
			}
			program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
			if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program))); e != 0 {
				return fmt.Errorf("set seccomp filter: %w", e)
			}
			return fn()
		}()
	}()
	return <-done
}

func BenchmarkOptions(b *testing.B) {
	const n = 2000
	c := start(b)
	for range n {
		dial(b, "tcp", c.Plain)
	}
	c.order("accept %d", n)
	p := c.process("server")
	p.Pprof = ""
	o := observe(b, p)
	s, err := o.Sample(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Run("options", func(b *testing.B) {
		for b.Loop() {
			for i := range s.Sockets {
				s.Sockets[i].Options = nil
			}
			if err := o.options(&s); err != nil || s.OptionsRefused != "" || s.Sockets[n].Options == nil && s.Sockets[0].Options == nil {
				b.Fatalf("options: %v, refused %q", err, s.OptionsRefused)
			}
		}
	})
	b.Run("sample", func(b *testing.B) {
		for b.Loop() {
			if _, err := o.Sample(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
