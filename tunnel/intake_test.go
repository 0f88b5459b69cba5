package tunnel

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// tcpPair returns the two ends of a TCP connection.
func tcpPair(t *testing.T) (near, far *net.TCPConn) { t.Helper(); return pairBy(t, new(net.Dialer)) }

// pairBy is tcpPair, whose far end is dialled as d says.
func pairBy(t *testing.T, d *net.Dialer) (near, far *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled, err := d.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close() })
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { accepted.Close() })
	return accepted.(*net.TCPConn), dialled.(*net.TCPConn)
}

// An origin says more than may wait for the flusher, and dies. If the flusher
// makes room, all of it is passed on; if the session takes nothing, the death is
// heard all the same, and no later than it may.
func TestLastWords(t *testing.T) {
	for name, flushes := range map[string]bool{"flusher makes room": true, "session is stuck": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const said = maxOut + 30_000 // the kernel takes what the stream does not
				near := newBubbled(t)
				st := carried(t, near, nil)
				st.s.flushing = true // the test is the flusher
				if n, err := unix.Write(near.peer, make([]byte, said)); n != said || err != nil {
					t.Fatalf("the kernel takes %d bytes, %v", n, err)
				}
				ended := make(chan error, 1)
				go func() { ended <- st.pump() }()
				synctest.Wait()
				waiting := func() int { st.s.mu.Lock(); defer st.s.mu.Unlock(); return st.out.bytes }
				if n := waiting(); n != maxOut {
					t.Errorf("the pump has room: %d bytes wait", n)
				}
				died := time.Now()
				near.die(t)
				synctest.Wait()
				if err := st.ending(); err != nil {
					t.Errorf("the rest was not waited for: %v", err)
				}
				passed := 0
				for flushes && waiting() > 0 { // nothing does in a stream that is over
					st.s.mu.Lock()
					plain, frame := st.sendLocked(nil)
					st.s.mu.Unlock()
					passed += max(0, len(plain)-wire.HeaderLen)
					if frame != nil {
						passed += len(frame.rest()) - wire.HeaderLen
						frame.free()
					}
					synctest.Wait()
				}
				if err := <-ended; err != nil {
					t.Error(err)
				}
				var gone *resetError
				if err := st.ending(); !errors.As(err, &gone) || gone.code != wire.Gone {
					t.Errorf("the stream ended with %v", err)
				}
				for _, f := range frames(t, st.s.control) { // what went ahead of the RESET
					if f.Type == wire.Data {
						passed += len(f.Payload)
					}
				}
				if flushes && passed != said {
					t.Errorf("passed on %d of %d bytes", passed, said)
				}
				if took := time.Since(died); !flushes && (passed > maxOut || took != lastWords) {
					t.Errorf("passed on %d bytes without the flusher, ended after %v", passed, took)
				}
			})
		})
	}
}

// The far end has reset a stream whose visitor reads slowly: what the kernel has
// not sent yet must not go with the RST.
func TestUnsentBeforeReset(t *testing.T) {
	near, far := tcpPair(t)
	st := carried(t, near, nil)
	answer := make([]byte, 1<<20) // more than the visitor's kernel takes
	if err := near.SetWriteBuffer(2 << 20); err != nil {
		t.Fatal(err)
	}
	if _, err := near.Write(answer); err != nil {
		t.Fatal(err)
	}
	if !unsent(st.raw) {
		t.Fatal("all is sent already")
	}
	st.s.mu.Lock()
	st.over = &resetError{code: wire.Gone, text: "the origin died", far: true}
	st.s.mu.Unlock()
	go func() {
		_ = st.finish(near, patience)
		abort(near)
		near.Close()
	}()
	got := 0
	for p := make([]byte, 32<<10); ; {
		n, err := far.Read(p)
		got += n
		if err != nil {
			break // ECONNRESET
		}
	}
	if got != len(answer) {
		t.Errorf("the visitor got %d of %d bytes", got, len(answer))
	}
}

// A service answers before it has read the whole request, and closes on top of the
// rest. Whoever is told first, who reads or who writes: the answer is passed on.
func TestAnswerBeforeFailedWrite(t *testing.T) {
	const answer = "HTTP/1.1 413 Content Too Large\r\n\r\n"
	near, far := tcpPair(t)
	st := carried(t, near, nil)
	if _, err := far.Write([]byte(answer)); err != nil {
		t.Fatal(err)
	}
	abort(far)
	far.Close()
	eventually(t, "the connection is dead", func() bool {
		hup := false
		err := st.raw.Control(func(fd uintptr) {
			poll := []unix.PollFd{{Fd: int32(fd)}} // does not take the error
			_, _ = unix.Poll(poll, 0)
			hup = poll[0].Revents&unix.POLLHUP != 0
		})
		return err == nil && hup
	})
	for range 2 { // the first takes ECONNRESET, the second would be EPIPE
		if err := st.s.data(wire.Frame{Type: wire.Data, Stream: 1, Payload: []byte("more of the request")}); err != nil {
			t.Fatal(err)
		}
	}
	st.s.mu.Lock()
	st.s.flushing = true // the test is the flusher
	st.s.mu.Unlock()
	if err := st.pump(); err != nil {
		t.Fatal(err)
	}
	var gone *resetError
	if err := st.ending(); !errors.As(err, &gone) || gone.code != wire.Gone {
		t.Errorf("the stream ended with %v", err)
	}
	passed := ""
	for _, f := range frames(t, st.s.control) { // what went ahead of the RESET
		if f.Type == wire.Data {
			passed += string(f.Payload)
		}
	}
	if passed != answer {
		t.Errorf("passed on %q", passed)
	}
	if st.s.heldIn != 0 {
		t.Errorf("%d bytes still wait for the dead connection", st.s.heldIn)
	}
}
