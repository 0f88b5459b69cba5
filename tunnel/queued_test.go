package tunnel

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// Visitors that take nothing, more of them than a session may hold for: the bound
// holds, by smaller windows or by resets, and who does read is served.
func TestQueuedIn(t *testing.T) {
	const most = 1 << 20
	w := newWorld(t, func(c *ServerConfig) { c.MaxQueued = 1 })
	w.client(origin(t, func(conn *net.TCPConn) {
		first := make([]byte, 1)
		if _, err := io.ReadFull(conn, first); err != nil {
			return
		}
		for first[0] == 'f' { // flood
			if _, err := conn.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
		echo(conn)
	}), func(c *ClientConfig) { c.MaxQueued = 1 })
	highest := 0
	look := func() { highest = max(highest, w.server.held().QueuedIn) }
	honest := w.visitTCP()
	say(t, honest, "e")
	var stalled []*net.TCPConn
	for range 16 { // 4 MiB of credit
		stalled = append(stalled, w.visitTCP())
	}
	// Else the kernel's buffers, which grow, may take all that their credit allows.
	eventually(t, "all are carried", func() bool { return w.narrowVisitors() == 1+len(stalled) })
	for _, conn := range stalled {
		say(t, conn, "f")
		look()
	}
	eventually(t, "much waits", func() bool { look(); return highest >= most/2 })
	for i := range 100 {
		text := fmt.Sprint("served ", i)
		say(t, honest, text)
		hear(t, honest, text)
		look()
	}
	if highest > most || highest < most/2 {
		t.Errorf("up to %d bytes waited, want at most %d, and nearly so", highest, most)
	}
	metric(t, w.server.AdminAddr(), `tunnel_limit{of="queued_in_bytes"} 1.048576e+06`)
}

// narrowVisitors gives the server's kernel little room for what it sends to visitors, and
// says how many there are.
func (w *world) narrowVisitors() (n int) {
	w.t.Helper()
	for _, l := range w.server.registry.all() {
		for _, s := range l.sessions() {
			s.mu.Lock()
			for _, st := range s.streams {
				if st.raw == nil {
					continue
				}
				n++
				var failed error
				err := st.raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 16<<10) })
				if err := errors.Join(err, failed); err != nil {
					w.t.Error(err)
				}
			}
			s.mu.Unlock()
		}
	}
	return n
}

// Where smaller windows come too late, the stream that holds most goes.
func TestQueuedInResets(t *testing.T) {
	near, _ := narrow(t)
	greedy := carried(t, near, nil)
	s := greedy.s
	s.mu.Lock()
	defer s.mu.Unlock()
	greedy.draining = true // and never writes
	s.mostHeld = 75 << 10
	s.last = 2
	modest := s.addLocked(2, wire.TCP, "visitor")
	for _, d := range []struct {
		st *stream
		n  int
	}{{greedy, 50 << 10}, {modest, 20 << 10}, {modest, 10 << 10}} {
		if greedy.over != nil {
			t.Fatalf("reset with %d bytes held of %d", s.heldIn, s.mostHeld)
		}
		if straight, err := d.st.dataLocked(make([]byte, d.n)); straight || err != nil {
			t.Fatal(straight, err)
		}
	}
	if greedy.over == nil || greedy.over.code != wire.Limit || modest.over != nil || s.heldIn != 30<<10 {
		t.Errorf("greedy ended with %v, modest with %v, %d bytes held", greedy.over, modest.over, s.heldIn)
	}
}

// Visitors that send to a client that takes nothing: no more waits than may, and all of it
// arrives when the client goes on.
func TestQueuedOut(t *testing.T) {
	const most, visitors, each = 1 << 20, 60, wire.Window
	w := newWorld(t, func(c *ServerConfig) { c.MaxQueued = 1 })
	c := w.rawLogin(wire.Login{Name: "a.test", Port: uint16(w.port), Token: secret})
	_ = c.tcp.SetReadBuffer(256 << 10)
	lasting(t, c.tcp)
	for range visitors {
		conn := w.visitTCP()
		lasting(t, conn)
		go func() { _, _ = conn.Write(make([]byte, each)) }() // ends with the test's connections
	}
	highest, last, still := 0, 0, time.Now()
	eventually(t, "as much waits as may, and no more comes", func() bool {
		now := w.server.held().QueueOut
		if now != last {
			last, still = now, time.Now()
		}
		highest = max(highest, now)
		return highest > most/2 && time.Since(still) > 200*time.Millisecond
	})
	// Those that had read when the others filled it up come on top: each has one frame.
	if beside := visitors * wire.MaxData; highest > most+beside {
		t.Errorf("up to %d bytes waited, want at most %d", highest, most+beside)
	}
	got := 0
	for got < visitors*each {
		got += len(c.want(wire.Data).Payload)
	}
	eventually(t, "nothing waits", func() bool { return w.server.held().QueueOut == 0 })
}
