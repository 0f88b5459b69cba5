package tunnel

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// relay passes connections on to an address until it is cut: then it swallows
// everything, and both sides see only silence.
type relay struct {
	address string
	mu      sync.Mutex
	cut     bool
	conns   map[net.Conn]bool
}

func newRelay(t *testing.T, to string) *relay {
	r := &relay{conns: map[net.Conn]bool{}}
	r.address = origin(t, func(in *net.TCPConn) {
		out, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer out.Close()
		r.mu.Lock()
		r.conns[in], r.conns[out] = true, true
		r.mu.Unlock()
		var wg sync.WaitGroup
		for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
			wg.Go(func() {
				buf := make([]byte, 32<<10)
				for {
					n, err := way[0].Read(buf)
					if err == nil && !r.isCut() {
						_, err = way[1].Write(buf[:n])
					}
					if err != nil && !r.isCut() {
						in.Close() // as a path does: both or none
						out.Close()
					}
					if err != nil {
						return
					}
				}
			})
		}
		wg.Wait()
	})
	t.Cleanup(func() { r.silence(false) }) // of a test that failed while it was cut
	return r
}

func (r *relay) isCut() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cut
}

// silence cuts or heals the path. Connections from before stay dead.
func (r *relay) silence(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = on
	if !on {
		for conn := range r.conns {
			conn.Close()
			delete(r.conns, conn)
		}
	}
}

// crash ends all connections at once.
func (r *relay) crash() { r.silence(true); r.silence(false) }

// visitAll opens visitors of all kinds, half of them with a request under way.
func (w *world) visitAll(n int) []*net.TCPConn {
	w.t.Helper()
	var all []*net.TCPConn
	for range n {
		conn := w.visitTCP()
		say(w.t, conn, "x")
		all = append(all, conn)
		conn = dial(w.t, w.server.HTTPAddr())
		say(w.t, conn, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		all = append(all, conn)
	}
	return all
}

// wantAllEnded demands that every visitor's connection ends, with an error or
// without.
func wantAllEnded(t *testing.T, visitors []*net.TCPConn) {
	t.Helper()
	for _, conn := range visitors {
		lasting(t, conn)
	}
	for i, conn := range visitors {
		_, err := io.Copy(io.Discard, conn)
		if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
			t.Errorf("visitor %d is still connected", i)
		}
	}
}

func TestSessionDeathEndsEverything(t *testing.T) {
	w := newWorld(t, nil)
	h := newHolder(t)
	r := newRelay(t, w.server.Addr())
	c := w.client(h.address, func(c *ClientConfig) { c.Server = r.address })
	visitors := w.visitAll(5)
	for range visitors {
		take(t, h.in)
	}
	old := c.session(0)
	r.crash()
	wantAllEnded(t, visitors)
	for range visitors {
		take(t, h.out)
	}
	eventually(t, "client back", func() bool { s := c.session(0); return s != nil && s != old })
	visitors = w.visitAll(1)
	for range visitors {
		take(t, h.in)
	}
}

// Silence on the path: both ends notice by themselves. When exactly, and that a
// healthy session goes on, TestHeartbeatClock knows.
func TestHeartbeat(t *testing.T) {
	w := newWorld(t, func(c *ServerConfig) {
		c.Heartbeat, c.HeartbeatDeadline = 100*time.Millisecond, 5*time.Second // longer than a busy machine stands still
	})
	h := newHolder(t)
	r := newRelay(t, w.server.Addr())
	c := w.client(h.address, func(c *ClientConfig) { c.Server = r.address })
	visitors := w.visitAll(2)
	for range visitors {
		take(t, h.in)
	}
	r.silence(true)
	wantAllEnded(t, visitors)
	for range visitors {
		take(t, h.out)
	}
	eventually(t, "logged as the heartbeat's find, at both ends", func() bool {
		return w.log.has("detector=heartbeat") && c.log.has("detector=heartbeat")
	})
	r.silence(false)
	eventually(t, "client back", c.healthy)
}

// A peer that takes nothing more: its kernel keeps the connection alive, and
// its own frames still come. Only the deadline of the flush notices.
func TestFlushDeadline(t *testing.T) {
	w := newWorld(t, func(c *ServerConfig) {
		c.Flush, c.SessionUserTimeout = 300*time.Millisecond, Off
	})
	c := w.rawLogin(wire.Login{Name: "a.test", Port: uint16(w.port), Token: secret})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)
	// PINGs whose answers nobody reads; many, to fill the buffers.
	pings := strings.Repeat(string(wire.Append(nil, wire.Ping, 0, make([]byte, 8))), 64)
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := io.WriteString(c.conn, pings); err != nil {
					return
				}
			}
		}
	})
	// Streams whose OPEN and data nobody reads.
	for !w.log.has("detector=flush") {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", w.port))
		if err != nil {
			break // the port is closed: the session has ended
		}
		_ = conn.SetDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = conn.Write(make([]byte, wire.Window))
		t.Cleanup(func() { conn.Close() })
	}
	eventually(t, "logged as the flush deadline's find", func() bool { return w.log.has("detector=flush") })
}

// Two directions must not be held for ever when one has ended. What moves the bound,
// TestHalfCloseClock knows.
func TestHalfCloseBound(t *testing.T) {
	const bound = time.Second
	w := newWorld(t, func(c *ServerConfig) { c.HalfClose = bound })
	h := newHolder(t)
	w.client(h.address, nil)
	visitor := w.visitTCP()
	say(t, visitor, "x")
	conn := take(t, h.in)
	silent := time.Now()
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := take(t, h.out); err == nil {
		t.Error("the origin saw an orderly end")
	}
	if took := time.Since(silent); took < bound {
		t.Errorf("reset after %v of silence, want %v", took, bound)
	}
	wantAllEnded(t, []*net.TCPConn{visitor})
	eventually(t, "no stream is left", func() bool { return w.streams() == 0 })
}

func TestSlowReaderHoldsNobody(t *testing.T) {
	w := newWorld(t, nil)
	w.client(origin(t, func(conn *net.TCPConn) {
		first := make([]byte, 1)
		if _, err := io.ReadFull(conn, first); err != nil {
			return
		}
		if first[0] == 'f' { // flood
			for {
				if _, err := conn.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}
		echo(conn)
	}), nil)
	for range 3 {
		say(t, w.visitTCP(), "f") // and reads nothing
	}
	// Those who are stuck are known by name.
	eventually(t, "the floods stand still, each with a drainer that has its labels", func() bool {
		var dump strings.Builder
		if err := pprof.Lookup("goroutine").WriteTo(&dump, 1); err != nil {
			t.Fatal(err)
		}
		stuck := 0
		for holder := range strings.SplitSeq(dump.String(), "\n\n") {
			if strings.Contains(holder, "(*stream).drain+") && strings.Contains(holder, `"kind":"visitor"`) && strings.Contains(holder, `"session":"1.0"`) {
				stuck++
			}
		}
		return stuck == 3 && w.dry() == 3
	})
	quick := w.visitTCP()
	say(t, quick, "q")
	for i := range 50 {
		say(t, quick, fmt.Sprintf("ping %2d", i))
		hear(t, quick, fmt.Sprintf("ping %2d", i))
	}
}

// dry is how many streams of the server have taken all that their peer may send.
func (w *world) dry() (n int) {
	for _, l := range w.server.registry.all() {
		for _, s := range l.sessions() {
			s.mu.Lock()
			for _, st := range s.streams {
				if st.window == 0 {
					n++
				}
			}
			s.mu.Unlock()
		}
	}
	return n
}

// Control frames go first, then the streams in turn.
func TestTurns(t *testing.T) {
	s := &session{streams: map[uint32]*stream{}, wake: make(chan struct{}, 1), room: &seats{}}
	one, two := s.addLocked(1, wire.TCP, ""), s.addLocked(2, wire.TCP, "")
	one.pushLocked(chunkOf(make([]byte, wire.MaxData)))
	one.pushLocked(chunkOf(make([]byte, wire.MaxData)))
	one.eof = true
	two.pushLocked(chunkOf([]byte("hello")))
	two.eof = true
	s.control = wire.AppendCredit(nil, 1, 1)
	var sent []byte
	room := &flushRoom{}
	for s.fill(room) {
		plain := room.plain
		for _, p := range room.pieces {
			if p.frame != nil {
				sent = append(sent, p.frame.rest()...)
			} else {
				sent, plain = append(sent, plain[:p.plain]...), plain[p.plain:]
			}
		}
		room.pieces = nil
	}
	frames := wire.NewReader(bytes.NewReader(sent))
	var got []string
	for {
		f, err := frames.Next()
		if err != nil {
			break
		}
		got = append(got, fmt.Sprint(f.Type, " ", f.Stream))
	}
	if want := "CREDIT 1,DATA 1,DATA 2,FIN 2,DATA 1,FIN 1"; strings.Join(got, ",") != want {
		t.Errorf("sent %v, want %s", got, want)
	}
}

// An MPTCP listener would refuse TCP_USER_TIMEOUT on some of its connections.
func TestListenersAreTCP(t *testing.T) {
	noLeak(t)
	ln, err := listen("127.0.0.1:0", "")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	raw, err := ln.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if p, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL); p != unix.IPPROTO_TCP || err != nil {
			t.Errorf("the listener's protocol is %d, %v", p, err)
		}
	}); err != nil {
		t.Fatal(err)
	}
}
