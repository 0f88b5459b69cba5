package tunnel

import (
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// stream is one visitor's way through a session. Its owner connects it with a
// connection by carry and calls release at the end.
//
//	out: conn --pump--> queue --flush--> session                  until eof, then FIN
//	in:  session --reader--------------------> conn               until FIN, then shut
//	                    +--> queue --drainer-->     what conn does not take at once
type stream struct {
	s       *session
	id      uint32
	kind    wire.Kind
	visitor string
	born    time.Time
	drainer sync.WaitGroup // who writes to conn: the drainer, or for a moment the reader
	front   *front         // of an HTTP visitor; nil for all others. Set by open.

	// The rest is guarded by s.mu.
	conn     edge // nil before carry
	raw      syscall.RawConn
	opts     SockOpts    // of conn
	carrying bool        // carry has begun and not ended: conn may be poked
	cancel   func()      // ends a dial under way
	over     *resetError // the stream was reset, by either end
	last     time.Time   // when a byte last moved, or a direction ended
	armed    bool        // conn has a read deadline
	poked    bool        // that deadline is in the past, for the pump to look again

	out     queue
	credit  int  // bytes the peer will still take
	blocked bool // the pump waits for credit or for room in out
	waiting bool // in s.ready, before behind
	behind  *stream
	eof     bool // conn has ended; a FIN follows the last byte of out
	finSent bool

	in       queue
	hand     int // bytes that the drainer has taken out of in and not written
	window   int // bytes the peer may still send
	size     int // the most that window is granted: see tuneLocked
	eaten    int // bytes written to conn, not yet granted again
	moved    int // bytes written to conn since tuned
	tuned    time.Time
	draining bool // somebody writes to conn
	finIn    bool // the peer has ended; conn's write side is shut after the last byte of in
	shut     bool
	dead     error // of a write: nothing more is written, the pump reads to the end
	written  int64 // bytes written to conn
}

// edge is a connection to a visitor or an origin: a *net.TCPConn.
type edge interface {
	net.Conn
	CloseWrite() error
}

const (
	// maxOut is how much of a stream may wait to be flushed.
	maxOut = wire.MaxData
	// lastWords is how long a connection may take the last bytes of a stream
	// that the far end has reset, and the flusher to make room for those of a
	// dead connection.
	lastWords = 250 * time.Millisecond
)

// doneLocked says that both directions have ended in order.
func (st *stream) doneLocked() bool { return st.finSent && st.shut }

// resetLocked ends the stream at once in both directions, unless it is over
// already; tell sends RESET to the peer.
func (st *stream) resetLocked(e *resetError, tell bool) {
	if st.over != nil || st.doneLocked() {
		return
	}
	st.over = e
	st.s.metrics.reset(e.code)
	tell = tell && st.s.cause == nil
	if tell && e.code == wire.Gone {
		st.sendRestLocked()
	}
	st.out.clear()
	st.s.easeLocked()
	if !e.far {
		st.dropLocked() // else carry writes what it can of it
	}
	if st.cancel != nil {
		st.cancel()
	}
	if st.carrying {
		_ = st.conn.SetDeadline(past) // fails only on a closed connection, on which nobody blocks
	}
	if tell {
		st.s.control = wire.AppendReason(st.s.control, wire.Reset, st.id, e.code, e.text)
		st.s.wakeLocked()
	}
}

// dropLocked forgets what waits for the connection.
func (st *stream) dropLocked() {
	st.in.clear()
	st.s.heldIn -= st.hand
	st.hand = 0
}

// sendRestLocked sends what the connection had said before it died, ahead of the
// RESET: often it is the answer, and the death only its tail (a service that
// closes on top of an unread request). It has its credit already.
func (st *stream) sendRestLocked() {
	s := st.s
	for st.out.bytes > 0 && len(s.control)+st.out.bytes < maxControl/2 {
		c := st.out.pop()
		s.bytesOut.Add(int64(len(c.rest())))
		s.control = wire.Append(s.control, wire.Data, st.id, c.rest())
		c.free()
	}
}

// reset is resetLocked for the stream's owner and its goroutines.
func (st *stream) reset(code wire.Code, text string) {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	st.resetLocked(&resetError{code: code, text: text}, true)
}

// ending is why the stream was reset, nil if it was not.
func (st *stream) ending() error {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	if st.over != nil {
		return st.over
	}
	return nil
}

// release is the owner's last call: it has closed what it had connected to the
// stream. A stream that was not carried to its end is reset.
func (st *stream) release() {
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	st.resetLocked(&resetError{code: wire.Gone, text: "closed"}, true)
	st.in.clear()
	s.grown -= st.grownLocked()
	delete(s.streams, st.id)
	s.load.Add(-1)
	s.room.leave()
	s.owners.Done()
	s.drainedLocked()
}

// dialing says what to call if the stream is reset during a dial. It is false
// if that has happened already.
func (st *stream) dialing(cancel func()) bool {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	st.cancel = cancel
	return st.over == nil
}

// dataLocked takes DATA from the peer. straight says that the caller is to write
// it to the connection: nothing is queued before it.
func (st *stream) dataLocked(p []byte) (straight bool, err error) {
	if st.finIn {
		return false, fmt.Errorf("%w: DATA after FIN on stream %d", wire.ErrProtocol, st.id)
	}
	if len(p) > st.window {
		return false, fmt.Errorf("%w: DATA of %d bytes on stream %d with a credit of %d", wire.ErrProtocol, len(p), st.id, st.window)
	}
	st.window -= len(p)
	st.s.bytesIn.Add(int64(len(p)))
	if st.moved == 0 && st.tuned.IsZero() {
		st.tuned = time.Now()
	}
	if st.idleLocked() {
		st.claimLocked()
		return true, nil
	}
	if st.dead != nil {
		return false, nil
	}
	st.in.add(p)
	st.drainLocked()
	st.s.relieveLocked()
	return false, nil
}

// finLocked takes FIN from the peer. straight says that the caller is to pass
// it on.
func (st *stream) finLocked() (straight bool, err error) {
	if st.finIn {
		return false, fmt.Errorf("%w: second FIN on stream %d", wire.ErrProtocol, st.id)
	}
	st.finIn = true
	if !st.idleLocked() || st.silentLocked() {
		st.drainLocked()
		return false, nil
	}
	st.claimLocked()
	return true, nil
}

// idleLocked says that the connection may be written to, and nobody does or has to.
func (st *stream) idleLocked() bool {
	return st.carrying && !st.draining && st.writableLocked() && st.in.bytes == 0
}

// writableLocked says that the connection may still be written to.
func (st *stream) writableLocked() bool { return st.over == nil && st.dead == nil && !st.shut }

// claimLocked makes the caller the one who writes to the connection, until it sets
// draining back and calls drainer.Done.
func (st *stream) claimLocked() {
	st.draining = true
	st.drainer.Add(1)
}

// creditLocked takes CREDIT from the peer.
func (st *stream) creditLocked(p []byte) error {
	n, err := wire.ParseCredit(p)
	if err != nil {
		return err
	}
	if st.over != nil {
		return nil
	}
	if st.credit+n > wire.MaxWindow {
		return fmt.Errorf("%w: CREDIT of %d on stream %d makes more than a window", wire.ErrProtocol, n, st.id)
	}
	st.credit += n
	st.unblockLocked()
	return nil
}

// unblockLocked lets the pump look again, if it waits for credit or room.
func (st *stream) unblockLocked() {
	if st.blocked && st.roomLocked() > 0 {
		st.blocked = false
		st.pokeLocked()
	}
}

// pokeLocked wakes the pump, whatever it waits for; it then looks again, and
// sets the deadline anew.
func (st *stream) pokeLocked() {
	if st.carrying && !st.poked {
		st.poked, st.armed = true, true
		_ = st.conn.SetReadDeadline(past) // fails only on a closed connection, on which nobody blocks
	}
}

// roomLocked is how many bytes the pump may read now.
func (st *stream) roomLocked() int {
	return min(st.credit, maxOut-st.out.bytes, wire.MaxData, st.s.roomLocked())
}

// pushLocked queues bytes to send; the caller keeps within the credit.
func (st *stream) pushLocked(c *chunk) {
	st.credit -= len(c.rest())
	if n := len(c.rest()); n <= small && st.out.fits(n) {
		st.out.add(c.rest())
		c.free()
	} else {
		st.out.push(c)
	}
	st.queueLocked()
}

// queueLocked gives the stream its turn at the flusher.
func (st *stream) queueLocked() {
	if !st.waiting {
		st.waiting = true
		st.s.ready.add(st)
	}
}

// sendLocked is the stream's turn: one frame, appended to plain if it is small,
// else the chunk that it is; and FIN after the last one.
func (st *stream) sendLocked(plain []byte) ([]byte, *chunk) {
	st.waiting = false
	if st.over != nil {
		return plain, nil
	}
	var frame *chunk
	if st.out.bytes > 0 {
		c := st.out.pop()
		st.s.bytesOut.Add(int64(len(c.rest())))
		if len(c.rest()) <= small {
			plain = wire.Append(plain, wire.Data, st.id, c.rest())
			c.free()
		} else {
			c.frame(st.id)
			frame = c
		}
	}
	// FIN after a frame that is not in plain has to wait for the next turn.
	switch {
	case st.out.bytes > 0 || frame != nil && st.eof:
		st.waiting = true
		st.s.ready.add(st)
	case st.eof && !st.finSent:
		plain = wire.Append(plain, wire.Fin, st.id, nil)
		st.finSent = true
		st.pokeLocked() // the pump may be done
	}
	if st.s.away && st.out.bytes == 0 && st.front != nil && !st.front.open {
		st.pokeLocked() // the visitor may move on
	}
	st.unblockLocked()
	return plain, frame
}

// turns is streams that have something to send, in the order of their turns.
type turns struct{ first, last *stream }

func (t *turns) add(st *stream) {
	if t.last == nil {
		t.first = st
	} else {
		t.last.behind = st
	}
	t.last = st
}

// take takes out whose turn it is, nil for nobody's.
func (t *turns) take() *stream {
	st := t.first
	if st == nil {
		return nil
	}
	t.first, st.behind = st.behind, nil
	if t.first == nil {
		t.last = nil
	}
	return st
}

// drainLocked starts the drainer if there is work for it and none runs.
func (st *stream) drainLocked() {
	if !st.carrying || st.draining || !st.writableLocked() || st.in.bytes == 0 && !st.finIn {
		return
	}
	st.draining = true
	st.drainer.Go(st.drain)
}
