package tunnel

import (
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// stream is one visitor's way through a session. Its owner connects it with a
// connection by carry and calls release at the end.
//
//	out: conn --pump--> queue --flusher--> session      until eof, then FIN
//	in:  session --reader--> queue --drainer--> conn    until FIN, then shut
type stream struct {
	s       *session
	id      uint32
	kind    wire.Kind
	visitor string
	born    time.Time
	drainer sync.WaitGroup
	front   *front // of an HTTP visitor; nil for all others. Set before carry.

	// The rest is guarded by s.mu.
	conn     *net.TCPConn // nil before carry
	opts     SockOpts     // of conn
	carrying bool         // carry has begun and not ended: conn may be poked
	cancel   func()       // ends a dial under way
	over     *resetError  // the stream was reset, by either end
	last     time.Time    // when a byte last moved, or a direction ended
	armed    bool         // conn has a read deadline
	poked    bool         // that deadline is in the past, for the pump to look again

	out     queue
	credit  int  // bytes the peer will still take
	blocked bool // the pump waits for credit or for room in out
	waiting bool // in s.ready
	eof     bool // conn has ended; a FIN follows the last byte of out
	finSent bool

	in       queue
	window   int  // bytes the peer may still send
	eaten    int  // bytes written to conn, not yet granted again
	draining bool // a drainer runs
	finIn    bool // the peer has ended; conn's write side is shut after the last byte of in
	shut     bool
	written  int64 // bytes written to conn
}

const (
	// maxOut is how much of a stream may wait for the flusher.
	maxOut = 2 * wire.MaxData
	// lastWords is how long a connection may take the last bytes of a stream
	// that the far end has reset.
	lastWords = 250 * time.Millisecond
	// grant is how much is eaten before the peer gets new credit.
	grant = min(wire.Window/8, wire.MaxData)
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
	tell = tell && st.s.cause == nil
	if tell && e.code == wire.Gone {
		st.sendRestLocked()
	}
	st.out.clear()
	if !e.far {
		st.in.clear() // else carry writes what it can of it
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

// sendRestLocked sends what the connection had said before it died, ahead of the
// RESET: often it is the answer, and the death only its tail (a service that
// closes on top of an unread request). It has its credit already.
func (st *stream) sendRestLocked() {
	s := st.s
	for st.out.bytes > 0 && len(s.control)+st.out.bytes < maxControl/2 {
		n := min(dataFrame, len(st.out.chunks[0].rest()))
		s.control = wire.AppendHeader(s.control, wire.Data, st.id, n)
		s.control = st.out.take(s.control, n)
		s.bytesOut.Add(int64(n))
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
	delete(s.streams, st.id)
	s.load.Add(-1)
	s.room.leave()
	s.owners.Done()
}

// dialing says what to call if the stream is reset during a dial. It is false
// if that has happened already.
func (st *stream) dialing(cancel func()) bool {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	st.cancel = cancel
	return st.over == nil
}

// dataLocked takes DATA from the peer.
func (st *stream) dataLocked(p []byte) error {
	if st.over != nil {
		return nil // sent before the peer heard of it
	}
	if st.finIn {
		return fmt.Errorf("%w: DATA after FIN on stream %d", wire.ErrProtocol, st.id)
	}
	if len(p) > st.window {
		return fmt.Errorf("%w: DATA of %d bytes on stream %d with a credit of %d", wire.ErrProtocol, len(p), st.id, st.window)
	}
	st.window -= len(p)
	st.s.bytesIn.Add(int64(len(p)))
	st.in.add(p)
	st.drainLocked()
	return nil
}

// finLocked takes FIN from the peer.
func (st *stream) finLocked() error {
	if st.over != nil {
		return nil
	}
	if st.finIn {
		return fmt.Errorf("%w: second FIN on stream %d", wire.ErrProtocol, st.id)
	}
	st.finIn = true
	st.drainLocked()
	return nil
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
	if st.credit+n > wire.Window {
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
	return min(st.credit, maxOut-st.out.bytes, wire.MaxData)
}

// pushLocked queues bytes to send; the caller keeps within the credit.
func (st *stream) pushLocked(c *chunk) {
	st.credit -= len(c.rest())
	st.out.push(c)
	st.queueLocked()
}

// queueLocked gives the stream its turn at the flusher.
func (st *stream) queueLocked() {
	if !st.waiting {
		st.waiting = true
		st.s.ready = append(st.s.ready, st)
		st.s.wakeLocked()
	}
}

// sendLocked is the stream's turn: it appends one frame to buf, and FIN after
// the last one.
func (st *stream) sendLocked(buf []byte) []byte {
	st.waiting = false
	if st.over != nil {
		return buf
	}
	if st.out.bytes > 0 {
		n := min(dataFrame, len(st.out.chunks[0].rest()))
		buf = wire.AppendHeader(buf, wire.Data, st.id, n)
		buf = st.out.take(buf, n)
		st.s.bytesOut.Add(int64(n))
	}
	switch {
	case st.out.bytes > 0:
		st.waiting = true
		st.s.ready = append(st.s.ready, st)
	case st.eof && !st.finSent:
		buf = wire.Append(buf, wire.Fin, st.id, nil)
		st.finSent = true
		st.pokeLocked() // the pump may be done
	}
	st.unblockLocked()
	return buf
}

// drainLocked starts the drainer if there is work for it and none runs.
func (st *stream) drainLocked() {
	if !st.carrying || st.draining || st.over != nil || st.shut || st.in.bytes == 0 && !st.finIn {
		return
	}
	st.draining = true
	st.drainer.Go(st.drain)
}
