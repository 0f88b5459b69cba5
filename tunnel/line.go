package tunnel

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// line is the TCP connection below the TLS of a session:
//
//	frames --> tls.Conn --records--> line --one write a flush--> kernel
//	frames <-- tls.Conn <--records-- line <--one read of all---- kernel
//
// crypto/tls writes each record of 16 KB by itself and reads hardly more at
// once. A line gathers the records of a flush and writes them with one system
// call, and reads ahead as much as has come.
type line struct {
	*net.TCPConn
	raw syscall.RawConn

	ahead []byte // read and not yet taken by TLS: a part of buf
	buf   []byte

	mu     sync.Mutex // TLS may answer a key update while somebody flushes
	gather bool       // records wait for flush
	out    []byte     // those that wait
}

// readAhead is the most that is read at once: the records of a frame.
const readAhead = 4*(record+tlsOverhead) + 1<<10

// tlsOverhead is how much longer a TLS 1.3 record of ours is than its payload:
// header (5), content type (1), AEAD tag (16); RFC 8446, section 5.2.
const tlsOverhead = 22

func newLine(conn *net.TCPConn) (*line, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("open line: %w", err)
	}
	return &line{TCPConn: conn, raw: raw, buf: make([]byte, readAhead)}, nil
}

// Read gives what was read ahead, or reads.
func (l *line) Read(p []byte) (int, error) {
	if len(l.ahead) == 0 {
		if len(p) >= len(l.buf) {
			return l.TCPConn.Read(p)
		}
		n, err := l.TCPConn.Read(l.buf)
		if err != nil {
			return 0, err
		}
		l.ahead = l.buf[:n]
	}
	n := copy(p, l.ahead)
	l.ahead = l.ahead[n:]
	return n, nil
}

// Write writes at once during the handshake, and gathers afterwards.
func (l *line) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.gather {
		return l.TCPConn.Write(p)
	}
	l.out = append(l.out, p...)
	return len(p), nil
}

// gatherInto makes records wait in buf until the next call of gathered.
func (l *line) gatherInto(buf []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gather = true
	if l.out == nil {
		l.out = buf
	} else { // an answer to a key update came between two flushes
		l.out = append(buf, l.out...)
	}
}

// gathered takes the records that wait.
func (l *line) gathered() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.out
	l.out = nil
	return out
}

// tryWrite writes as much of p as the kernel takes without waiting.
func tryWrite(fd int, p []byte) (n int, err error) {
	for n < len(p) {
		m, err := unix.Write(fd, p[n:])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return n, nil
		case err != nil:
			return n, err
		}
		n += m
	}
	return n, nil
}

// flush writes p. Each wait for the kernel has its own deadline, so that a slow path is
// not taken for a dead one; see wait.
func (l *line) flush(p []byte, arm func() bool) error {
	var n int
	var failed error
	if err := l.raw.Control(func(fd uintptr) { n, failed = tryWrite(int(fd), p) }); err != nil {
		return err
	}
	for failed == nil && n < len(p) {
		going, err := l.wait(arm, func(fd uintptr) bool {
			var m int
			m, failed = tryWrite(int(fd), p[n:])
			n += m
			return m > 0 || failed != nil
		})
		if err != nil || !going {
			return err
		}
	}
	return failed
}

// looks is how often in the time of a write's deadline it is asked whether the peer has
// acknowledged anything: a peer that has stopped is noticed later by one look at most.
const looks = 16

// wait waits until the kernel has room and some is written. arm sets the deadline to the
// next look, and is false when the session has ended; then wait is. It gives up when the
// peer has acknowledged nothing in so many looks. That the kernel had no room says less:
// it has some when a third of its buffer is free (sk_stream_is_writeable in net/sock.h),
// and four sessions on 10 Mbit/s take seconds for that.
func (l *line) wait(arm func() bool, write func(fd uintptr) bool) (going bool, err error) {
	waiting := l.unacknowledged()
	for idle := 0; idle < looks; idle++ {
		if !arm() {
			return false, nil
		}
		if err = l.raw.Write(write); !errors.Is(err, os.ErrDeadlineExceeded) {
			return true, err
		}
		if now := l.unacknowledged(); now < waiting {
			waiting, idle = now, -1
		}
	}
	return false, err
}

// unacknowledged is how many bytes the peer has yet to acknowledge, sent or not: SIOCOUTQ,
// see tcp(7). Nobody writes meanwhile, so that it only falls.
func (l *line) unacknowledged() (n int) {
	_ = l.raw.Control(func(fd uintptr) { // closed: whoever writes hears of it
		n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	})
	return n
}
