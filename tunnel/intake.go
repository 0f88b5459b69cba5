package tunnel

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// intake reads from the connection for the pump: a chunk is taken only when
// there is something to read.
type intake struct {
	st   *stream
	c    *chunk
	err  error
	try  func(fd uintptr) bool // in.read, made once
	dead error                 // the connection's death: the kernel tells it once
	last time.Time             // how long its last words may wait for room
}

// receive waits until the connection is readable and there is room, and reads a
// chunk; nil at the connection's end. It fails when the connection is dead, and
// with os.ErrDeadlineExceeded when the pump should look again.
func (in *intake) receive() (*chunk, error) {
	waitErr := in.st.raw.Read(in.try)
	c, err := in.c, in.err
	in.c, in.err = nil, nil
	if c == nil && err == nil {
		err = waitErr
	}
	return c, err
}

// read is false when the pump has to wait for the connection.
func (in *intake) read(fd uintptr) bool {
	room, flushing := in.st.room()
	if room == 0 {
		if in.dead == nil {
			in.dead = broken(int(fd))
		}
		if in.dead != nil && !(flushing && in.lastWords(int(fd))) {
			in.err = in.dead
		}
		return in.err != nil
	}
	in.last = time.Time{} // it begins anew: the flusher makes room
	in.c, in.err = readChunk(int(fd), room)
	if in.err == errEnd {
		in.err = in.dead // whose error has been taken; the kernel now says that it ended
		return true
	}
	if in.c == nil && in.err == nil {
		in.err = in.dead
	}
	return in.c != nil || in.err != nil
}

// lastWords says whether a dead connection is still to be read, once the flusher
// has made room: often what waits in it is the rest of an answer, and the death
// only its tail. A flusher that makes none within lastWords is not waited for:
// the death of a connection may not hang on the state of the session.
func (in *intake) lastWords(fd int) bool {
	if n, err := unix.IoctlGetInt(fd, unix.SIOCINQ); err != nil || n == 0 {
		return false
	}
	if in.last.IsZero() {
		in.last = time.Now().Add(lastWords)
		in.err = os.ErrDeadlineExceeded // for the pump to set this one
	}
	return time.Now().Before(in.last)
}

// errEnd is the orderly end of a connection.
var errEnd = errors.New("the visitor closed the connection")

// readChunk reads what there is, at most room bytes; nil when there is nothing
// yet, errEnd at the end.
func readChunk(fd, room int) (*chunk, error) {
	c := getChunk(min(room, wire.MaxData))
	for {
		n, err := unix.Read(fd, c.room(room))
		switch {
		case n > 0:
			c.data = c.data[:len(c.data)+n]
			return c.fit(), nil
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			err = nil
		case err == nil:
			err = errEnd
		}
		c.free()
		return nil, err
	}
}

// room is how much the pump may read: 0 when it may only watch. flushing says
// that it is not for want of credit: as soon as something is flushed, the pump is
// poked.
func (st *stream) room() (n int, flushing bool) {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	if st.eof || st.over != nil {
		return 0, false
	}
	n = max(0, st.roomLocked())
	flushing = n == 0 && st.credit > 0
	if st.front != nil && n > 0 {
		if n = st.front.room(n); n == 0 {
			return 0, false // whether what it holds waits for room, ask has noted
		}
	}
	st.blocked = n == 0
	return n, flushing
}

// broken returns the error of a dead connection, without reading from it.
func broken(fd int) error {
	poll := []unix.PollFd{{Fd: int32(fd)}} // no events: errors are always reported
	if _, err := unix.Poll(poll, 0); err != nil || poll[0].Revents&unix.POLLERR == 0 {
		return nil // EINTR cannot happen without a wait; a living connection
	}
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	if err == nil {
		err = unix.ECONNRESET // its one-shot error went to a write
	}
	return err
}

// unsent says that the kernel still holds bytes for the far end, which it has
// not acknowledged.
func unsent(raw syscall.RawConn) bool {
	n := 0
	err := raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }) // 0 if it fails
	return err == nil && n > 0
}
