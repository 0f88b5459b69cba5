package tunnel

import (
	"bytes"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// The rules of time, with a clock that runs as the test pleases: sockets are real,
// but who waits for one waits in the clock's bubble.

// bubbled is one end of a socket pair. Its bytes go through the kernel, which never
// lets anybody wait; its deadlines are those of a net.Pipe.
type bubbled struct {
	net.Conn // the pipe
	fd       int
	peer     int      // the other end of the pair
	ring     net.Conn // the other end of the pipe: a byte wakes who waits to read
}

func newBubbled(t *testing.T) *bubbled {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := &bubbled{fd: pair[0], peer: pair[1]}
	b.Conn, b.ring = net.Pipe()
	t.Cleanup(func() {
		_, _ = unix.Close(b.fd), unix.Close(b.peer) // -1 if it has died
	})
	return b
}

// Write is that of a connection whose peer takes everything.
func (b *bubbled) Write(p []byte) (int, error) { return unix.Write(b.fd, p) }

func (b *bubbled) CloseWrite() error { return unix.Shutdown(b.fd, unix.SHUT_WR) }

// say makes bytes come from the peer; none are its end.
func (b *bubbled) say(t *testing.T, text string) {
	t.Helper()
	var err error
	if text == "" {
		err = unix.Shutdown(b.peer, unix.SHUT_WR)
	} else {
		_, err = unix.Write(b.peer, []byte(text))
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.ring.Write([]byte{0}); err != nil {
		t.Fatal(err)
	}
}

// die closes the peer's end on top of a byte that it has not read: a reset.
func (b *bubbled) die(t *testing.T) {
	t.Helper()
	if _, err := b.Write([]byte{0}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Close(b.peer); err != nil {
		t.Fatal(err)
	}
	b.peer = -1
	if _, err := b.ring.Write([]byte{0}); err != nil {
		t.Fatal(err)
	}
}

// heard is what has come to the peer since the last call.
func (b *bubbled) heard(t *testing.T) []byte {
	t.Helper()
	var all []byte
	for buf := make([]byte, 64<<10); ; {
		n, err := unix.Read(b.peer, buf)
		if n <= 0 {
			if err != nil && err != unix.EAGAIN {
				t.Fatal(err)
			}
			return all
		}
		all = append(all, buf[:n]...)
	}
}

func (b *bubbled) SyscallConn() (syscall.RawConn, error) { return bubbledRaw{b}, nil }

// bubbledRaw is the syscall.RawConn of a bubbled.
type bubbledRaw struct{ *bubbled }

var _ syscall.RawConn = bubbledRaw{}

func (b bubbledRaw) Control(f func(fd uintptr)) error { f(uintptr(b.fd)); return nil }

func (b bubbledRaw) Read(f func(fd uintptr) bool) error {
	for !f(uintptr(b.fd)) {
		if _, err := b.Conn.Read(make([]byte, 1)); err != nil {
			return err
		}
	}
	return nil
}

func (b bubbledRaw) Write(f func(fd uintptr) bool) error {
	if !f(uintptr(b.fd)) {
		return syscall.ENOBUFS // more than a socket pair holds: the test is wrong
	}
	return nil
}

// bubbledSession is a session without TLS. Its peer sends frames to in and hears
// those of out.
func bubbledSession(t *testing.T, live Liveness) (s *session, in net.Conn, out *bubbled) {
	t.Helper()
	out = newBubbled(t)
	near, far := net.Pipe()
	below := &line{TCPConn: &net.TCPConn{}, raw: bubbledRaw{out}}
	return &session{
		role: roleServer, conn: below, line: below, raw: below.TCPConn, deadlines: near, frames: wire.NewReader(near),
		live: live, room: &seats{most: 10}, born: time.Now(),
		wake: make(chan struct{}, 1), ended: make(chan struct{}), streams: map[uint32]*stream{}, mostHeld: defaultQueued,
	}, far, out
}

// frames splits what was heard.
func frames(t *testing.T, raw []byte) (all []wire.Frame) {
	t.Helper()
	for r := wire.NewReader(bytes.NewReader(raw)); ; {
		f, err := r.Next()
		if err != nil {
			return all
		}
		f.Payload = bytes.Clone(f.Payload)
		all = append(all, f)
	}
}

// A PING every five seconds, and the end exactly fifteen seconds after the last
// frame: not one after a healthy hour, whatever kind of frame it was that came.
func TestHeartbeatClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		live := Liveness{Heartbeat: 5 * time.Second, HeartbeatDeadline: 15 * time.Second, Flush: Off}
		s, peer, out := bubbledSession(t, live)
		s.last = 1 // a stream that is over: its late frames count too
		ended := make(chan cause, 1)
		go func() {
			ended <- s.run(t.Context())
			peer.Close() // who writes to it is told
		}()
		pings := 0
		count := func() {
			for _, f := range frames(t, out.heard(t)) {
				if f.Type == wire.Ping {
					pings++
				}
			}
		}
		const beats = 240
		for i := range beats {
			time.Sleep(15*time.Second - time.Millisecond) // the last moment
			frame := wire.Append(nil, wire.Pong, 0, make([]byte, 8))
			if i%2 == 1 {
				frame = wire.Append(nil, wire.Fin, 1, nil)
			}
			if _, err := peer.Write(frame); err != nil {
				t.Fatalf("beat %d: the session has ended: %v", i, err)
			}
			count()
		}
		last := time.Now()
		why := <-ended
		if silent := time.Since(last); why.detector != byHeartbeat || silent != 15*time.Second {
			t.Errorf("ended by %s %v after the last frame", why.detector, silent)
		}
		count()
		// One at first. The last one is due in the moment of the end: either may be first.
		alive := beats*(15*time.Second-time.Millisecond) + 15*time.Second
		if want := 1 + int(alive/(5*time.Second)); pings != want && pings != want-1 {
			t.Errorf("%d PINGs in %v, want %d", pings, alive, want)
		}
	})
}

// Without heartbeats a session may be silent for a day.
func TestHeartbeatOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, peer, out := bubbledSession(t, Liveness{Heartbeat: Off, HeartbeatDeadline: Off, Flush: Off})
		ended := make(chan cause, 1)
		go func() { ended <- s.run(t.Context()) }()
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if all := frames(t, out.heard(t)); len(all) != 1 || all[0].Type != wire.Ping {
			t.Errorf("sent %d frames, want the first PING", len(all))
		}
		peer.Close()
		if why := <-ended; why.detector != byPeer {
			t.Errorf("ended by %s", why.detector)
		}
	})
}

// After one direction has ended the other may be silent for sixty seconds, counted
// from its last byte; one that is whole may be silent for a day.
func TestHalfCloseClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, out := bubbledSession(t, Liveness{HalfClose: 60 * time.Second, Flush: Off})
		s.mu.Lock()
		s.last = 1
		st := s.addLocked(1, wire.TCP, "visitor")
		s.mu.Unlock()
		visitor := newBubbled(t)
		st.begin(visitor, bubbledRaw{visitor}, SockOpts{})
		done := make(chan error, 1)
		go func() { done <- st.pump() }()
		data := func(text string) {
			t.Helper()
			if err := s.data(wire.Frame{Type: wire.Data, Stream: 1, Payload: []byte(text)}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(24 * time.Hour)
		visitor.say(t, "bye")
		visitor.say(t, "")
		synctest.Wait()
		for range 100 {
			time.Sleep(59 * time.Second)
			data("x")
		}
		last := time.Now()
		synctest.Wait()
		if err := st.ending(); err != nil {
			t.Fatalf("ended while bytes moved: %v", err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if silent := time.Since(last); silent != 60*time.Second {
			t.Errorf("reset after %v of silence", silent)
		}
		if got := visitor.heard(t); len(got) != 100 {
			t.Errorf("the visitor got %d bytes, want 100", len(got))
		}
		s.flushNow()
		var said []wire.Type
		for _, f := range frames(t, out.heard(t)) {
			said = append(said, f.Type)
			if f.Type == wire.Reset {
				if code, _ := wire.ParseReason(f.Payload); code != wire.Silent {
					t.Errorf("reset with %v", code)
				}
			}
		}
		if len(said) != 3 || said[0] != wire.Data || said[1] != wire.Fin || said[2] != wire.Reset {
			t.Errorf("the session heard %v", said)
		}
		st.release()
	})
}
