package tunnel

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"
)

// A peer that takes little at a time is slow, also while the kernel has no room; one that
// takes nothing is not waited for.
func TestFlushWaitsWhileAnythingIsAcknowledged(t *testing.T) {
	conn, peer := tcpPair(t)
	if err := errors.Join(conn.SetWriteBuffer(200<<10), peer.SetReadBuffer(16<<10)); err != nil {
		t.Fatal(err)
	}
	l, err := newLine(conn)
	if err != nil {
		t.Fatal(err)
	}
	const deadline = time.Second
	arm := func() bool { return conn.SetWriteDeadline(time.Now().Add(deadline/looks)) == nil }
	flush := func(n int) chan error {
		ended := make(chan error, 1)
		go func() { ended <- l.flush(make([]byte, n), arm) }()
		return ended
	}

	// Full, and taken from so slowly that a third of the buffer is free after seconds.
	const size, sip = 900 << 10, 8 << 10
	ended, taken := flush(size), 0
	for begin := time.Now(); time.Since(begin) < 3*deadline; taken += sip {
		select {
		case err := <-ended:
			t.Fatalf("ended after %v, %d bytes taken: %v", time.Since(begin), taken, err)
		case <-time.After(deadline / 8):
		}
		if _, err := io.ReadFull(peer, make([]byte, sip)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.ReadFull(peer, make([]byte, size-taken)); err != nil {
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
