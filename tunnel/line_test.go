package tunnel

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A peer that takes little at a time is slow, also while the kernel has no room; one that
// takes nothing is not waited for.
func TestFlushWaitsWhileAnythingIsAcknowledged(t *testing.T) {
	// From its SYN on, the peer offers little: a segment is then at most half of that, and
	// goes as soon as so much is taken, not when the kernel next asks for room.
	conn, peer := pairBy(t, &net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 16<<10)
		})
		return errors.Join(err, failed)
	}})
	if err := conn.SetWriteBuffer(200 << 10); err != nil {
		t.Fatal(err)
	}
	l, err := newLine(conn)
	if err != nil {
		t.Fatal(err)
	}
	arm := func() bool { return conn.SetWriteDeadline(time.Now().Add(time.Second/looks)) == nil }

	// Full, and a little is taken at every second look: that counts, also if the kernel has
	// no room for long after as many looks as a peer that has stopped would get.
	const size, sip = 900 << 10, 8 << 10
	var sent, taken, asked int
	var failed error
	if err := l.raw.Control(func(fd uintptr) { sent, failed = tryWrite(int(fd), make([]byte, size)) }); err != nil || failed != nil || sent == size {
		t.Fatalf("the kernel took %d bytes: %v, %v", sent, err, failed)
	}
	going, err := l.wait(func() bool {
		if asked++; asked%2 == 0 {
			n, err := io.ReadFull(peer, make([]byte, sip))
			if taken += n; err != nil {
				t.Error(err)
			}
		}
		return arm()
	}, func(uintptr) bool { return asked == 3*looks })
	if !going || err != nil {
		t.Fatalf("ended after %d looks, %d bytes taken: %v", asked, taken, err)
	}

	// All of it is taken.
	flush := func(n int) chan error {
		ended := make(chan error, 1)
		go func() { ended <- l.flush(make([]byte, n), arm) }()
		return ended
	}
	ended := flush(size)
	if _, err := io.ReadFull(peer, make([]byte, sent-taken+size)); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}

	// Nothing is taken any more.
	if err := <-flush(4 << 20); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a peer that takes nothing: %v", err)
	}
	if err := <-flush(4 << 20); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("asked again: %v", err)
	}
}

// Nothing is written, and nothing waited for, once the session has ended.
func TestFlushOfAnEndedSession(t *testing.T) {
	conn, _ := tcpPair(t)
	l, err := newLine(conn)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.flush(make([]byte, 16<<20), func() bool { return false }); err != nil {
		t.Error(err)
	}
}
