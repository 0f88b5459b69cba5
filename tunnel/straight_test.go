package tunnel

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// narrow returns the two ends of a connection that takes less than a frame at once.
func narrow(t *testing.T) (near, far *net.UnixConn) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range pair {
		file := os.NewFile(uintptr(fd), "pair")
		conn, err := net.FileConn(file) // a copy
		file.Close()
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = conn.(*net.UnixConn)
		t.Cleanup(func() { conn.Close() })
		if err := errors.Join(ends[i].SetWriteBuffer(16<<10), conn.SetDeadline(time.Now().Add(patience))); err != nil {
			t.Fatal(err)
		}
	}
	return ends[0], ends[1]
}

// carried is a stream of a session without a peer, that writes to conn.
func carried(t *testing.T, conn interface {
	edge
	syscall.Conn
}, front *front) *stream {
	t.Helper()
	s := &session{role: roleServer, streams: map[uint32]*stream{}, wake: make(chan struct{}, 1), room: &seats{most: 1}, mostHeld: defaultQueued}
	s.mu.Lock()
	s.last = 1
	st := s.addLocked(1, wire.TCP, "visitor")
	s.mu.Unlock()
	st.front = front
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	st.begin(conn, raw, SockOpts{})
	return st
}

// straightInPart hands a frame to the session, and demands that its connection took a part of
// it and no more: the rest had to wait.
func (st *stream) straightInPart(t *testing.T, p []byte) {
	t.Helper()
	st.s.mu.Lock()
	before := st.written
	st.s.mu.Unlock()
	straight, err := func() (bool, error) {
		st.s.mu.Lock()
		defer st.s.mu.Unlock()
		return st.dataLocked(p)
	}()
	if err != nil || !straight {
		t.Fatalf("not written straight: %v", err)
	}
	// What writeStraight leaves is the drainer's at once: nobody reads yet, so it is
	// stuck with it.
	st.writeStraight(p)
	eventually(t, "the drainer has the rest in hand", func() bool {
		st.s.mu.Lock()
		defer st.s.mu.Unlock()
		return st.in.bytes == 0
	})
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	if held := int(before) + len(p) - int(st.written); st.s.heldIn != held {
		t.Errorf("the session knows of %d bytes that wait, not of %d", st.s.heldIn, held)
	}
	if n := st.written - before; n == 0 || n >= int64(len(p)) {
		t.Fatalf("the connection took %d of %d bytes: not a part", n, len(p))
	}
	if !st.draining {
		t.Error("nobody writes the rest")
	}
}

// A frame of which the connection takes a part: the rest follows, once, in order,
// and before what comes later.
func TestStraightRest(t *testing.T) {
	noLeak(t)
	near, far := narrow(t)
	st := carried(t, near, nil)
	text := make([]byte, wire.MaxData)
	random := rand.NewChaCha8([32]byte{3})
	_, _ = random.Read(text) // never fails
	st.straightInPart(t, text)
	if err := st.s.data(wire.Frame{Type: wire.Data, Stream: 1, Payload: []byte("later")}); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text)+len("later"))
	if n, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, append(text, "later"...)) {
		t.Errorf("got %d of %d bytes, %v; or others", n, len(got), err)
	}
	eventually(t, "nothing waits, nobody writes", func() bool {
		st.s.mu.Lock()
		defer st.s.mu.Unlock()
		return !st.draining && st.s.heldIn == 0 && st.written == int64(len(got))
	})
	st.release()
}

// The same with an answer: it is followed once, whatever part of it had to wait, and
// the next request may go when all of it was written, not before.
func TestStraightRestOfAnswer(t *testing.T) {
	noLeak(t)
	near, far := narrow(t)
	f := &front{asked: 1, open: true}
	st := carried(t, near, f)
	open := func() bool {
		st.s.mu.Lock()
		defer st.s.mu.Unlock()
		return f.open
	}
	const head = "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
	body := bytes.Repeat([]byte("0123456789"), 6000)
	answer := append(fmt.Appendf(nil, head, len(body)), body...)
	st.straightInPart(t, answer)
	if !open() {
		t.Error("the next request may go while the answer waits")
	}
	got := make([]byte, len(answer))
	if n, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, answer) {
		t.Errorf("got %d of %d bytes, %v; or others", n, len(got), err)
	}
	eventually(t, "the next request may go", func() bool { return !open() })
	if err := st.ending(); err != nil {
		t.Error(err)
	}
	st.release()
}
