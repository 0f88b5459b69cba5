package tunnel

import (
	"errors"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// tcpPair returns the two ends of a TCP connection.
func tcpPair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled, err := net.Dial("tcp", ln.Addr().String())
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
// heard all the same.
func TestLastWords(t *testing.T) {
	for name, flushes := range map[string]bool{"flusher makes room": true, "session is stuck": false} {
		t.Run(name, func(t *testing.T) {
			const said = maxOut + 30_000 // the kernel takes what the stream does not
			near, far := tcpPair(t)
			st := carried(t, near, nil)
			st.s.flushing = true // the test is the flusher
			ended := make(chan error, 1)
			go func() { ended <- st.pump() }()
			if _, err := far.Write(make([]byte, said)); err != nil {
				t.Fatal(err)
			}
			look := func(ok func() bool) func() bool {
				return func() bool { st.s.mu.Lock(); defer st.s.mu.Unlock(); return ok() }
			}
			eventually(t, "the pump has no room left", look(func() bool { return st.blocked && st.out.bytes == maxOut }))
			raw, err := far.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "all has arrived", func() bool { return !unsent(raw) })
			abort(far)
			far.Close()
			passed := 0
			eventually(t, "the stream is over", look(func() bool {
				if flushes && st.over == nil && st.out.bytes > 0 {
					plain, frame := st.sendLocked(nil)
					passed += max(0, len(plain)-wire.HeaderLen)
					if frame != nil {
						passed += len(frame.rest()) - wire.HeaderLen
						frame.free()
					}
				}
				return st.over != nil
			}))
			if err := <-ended; err != nil {
				t.Fatal(err)
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
			if !flushes && passed > maxOut {
				t.Errorf("passed on %d bytes without the flusher", passed)
			}
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
