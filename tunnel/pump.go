package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// carry moves bytes between conn and the stream until both directions have
// ended (nil), or the stream is reset by either end, by the death of conn or
// by that of the session (a *resetError), or its front has had enough of it
// (errMoved or an *httpError). The caller closes conn.
func (st *stream) carry(conn *net.TCPConn, opts SockOpts) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		st.reset(wire.Gone, err.Error())
		return fmt.Errorf("carry stream: %w", err)
	}
	st.begin(conn, raw, opts)
	enough := st.pump()
	if errors.Is(enough, errMoved) {
		st.reset(wire.Drained, enough.Error())
	} else if enough != nil {
		st.reset(wire.Gone, enough.Error())
	}
	st.drainer.Wait()
	if err := st.finish(conn, lastWords); enough == nil {
		return err
	}
	return enough
}

// finish gives conn back to the caller, after the last words of a far end that
// has reset the stream: for those it waits for so long at most.
func (st *stream) finish(conn *net.TCPConn, most time.Duration) error {
	st.s.mu.Lock()
	st.carrying = false
	rest := st.in.detach()
	far := st.over != nil && st.over.far
	st.s.mu.Unlock()
	defer rest.clear()
	err := st.ending()
	end := time.Now().Add(most)
	if !far || conn.SetWriteDeadline(end) != nil {
		return err
	}
	for rest.bytes > 0 {
		c := rest.pop()
		if st.follow(c) != nil {
			c.free()
			return err // the answer has ended before, or is none
		}
		whole := c.whole
		n, failed := conn.Write(c.rest())
		c.free()
		st.wrote(n)
		if failed != nil {
			return fmt.Errorf("write last words: %w", failed) // whatever the reset says, it ends before its end
		}
		if whole {
			st.answeredAll()
		}
	}
	// The caller's RST would throw away what the kernel has not sent yet.
	for wait := time.Millisecond; unsent(st.raw) && time.Now().Before(end); wait *= 2 {
		time.Sleep(wait)
	}
	return err
}

// begin connects the stream with conn.
func (st *stream) begin(conn edge, raw syscall.RawConn, opts SockOpts) {
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	st.conn, st.raw, st.opts, st.carrying, st.cancel = conn, raw, opts, true, nil
	st.last = time.Now()
	if st.over != nil {
		return
	}
	if err := conn.SetDeadline(time.Time{}); err != nil { // those of the handshake
		st.resetLocked(&resetError{code: wire.Gone, text: err.Error()}, true)
		return
	}
	st.drainLocked()
}

// pump is the stream's one lasting goroutine. It reads from the connection as
// long as there is credit. When there is none, and after the connection's end,
// it goes on to watch: a connection that dies must end the stream at once, also
// when nothing may be read from it. The error is that of the front.
func (st *stream) pump() error {
	in := &intake{st: st}
	in.try = in.read
	expired := false
	for st.look(in, expired) {
		if st.front != nil && !st.front.passing {
			if err := st.ask(); err != nil {
				return err
			}
		}
		st.s.flushNow()
		c, err := in.receive()
		expired = errors.Is(err, os.ErrDeadlineExceeded)
		switch {
		case expired: // poked, or silent for long
		case err != nil:
			st.reset(wire.Gone, err.Error())
			return nil
		case c != nil && st.front != nil && !st.front.passing:
			st.front.hold(c)
		case c != nil:
			st.sendOn(c)
		default:
			st.ended()
		}
	}
	return nil
}

// look says whether the pump goes on, and sets its read deadline: none, or the
// half-close bound once one direction has ended, or the end of the last words of
// a dead connection. expired says that the deadline has passed, whoever set it.
func (st *stream) look(in *intake, expired bool) bool {
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.over != nil || st.doneLocked() {
		return false
	}
	st.poked = false
	if in.dead == nil {
		in.dead = st.dead
	}
	var at time.Time
	if st.eof != st.shut && s.live.HalfClose != Off {
		at = st.last.Add(s.live.HalfClose)
		if !time.Now().Before(at) {
			st.resetLocked(&resetError{code: wire.Silent, text: fmt.Sprintf("half closed and silent for %v", s.live.HalfClose)}, true)
			return false
		}
	}
	if !in.last.IsZero() && st.roomLocked() <= 0 {
		if !time.Now().Before(in.last) {
			st.resetLocked(&resetError{code: wire.Gone, text: in.dead.Error()}, true)
			return false
		}
		at = earlier(at, in.last)
	}
	if st.front != nil {
		at = earlier(at, st.front.deadline())
	}
	if at.IsZero() && !st.armed && !expired {
		return true
	}
	if err := st.conn.SetReadDeadline(at); err != nil {
		st.resetLocked(&resetError{code: wire.Gone, text: err.Error()}, true)
		return false
	}
	st.armed = !at.IsZero()
	return true
}

// earlier returns the earlier of two deadlines; the zero one is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// sendOn hands what was read to the flusher.
func (st *stream) sendOn(c *chunk) {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	if st.over != nil || st.eof { // since the pump has looked: nothing follows a FIN
		c.free()
		return
	}
	st.last = time.Now()
	st.pushLocked(c)
}

// ended notes the connection's end.
func (st *stream) ended() {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	st.endedLocked()
}

func (st *stream) endedLocked() {
	if st.over != nil || st.eof {
		return
	}
	if st.dead != nil { // a write has taken its error; the kernel now says that it ended
		st.resetLocked(&resetError{code: wire.Gone, text: st.dead.Error()}, true)
		return
	}
	st.eof = true
	st.last = time.Now()
	st.queueLocked()
}

// drain writes what the peer sent to the connection, and ends when there is
// nothing left.
func (st *stream) drain() {
	wear(st.labels())
	for {
		c, shut := st.next()
		if c == nil {
			if shut {
				st.shutWrite()
			}
			return
		}
		if err := st.follow(c); err != nil {
			st.fail(c, err)
			return
		}
		whole := c.whole
		for len(c.rest()) > 0 {
			p := c.rest()[:min(record, len(c.rest()))]
			n, err := st.conn.Write(p)
			c.off += n
			st.wrote(n)
			if err != nil {
				st.fail(c, err)
				return
			}
		}
		c.free()
		if whole {
			st.answeredAll()
		}
	}
}

// follow looks for the end of an answer in a chunk that is about to be written.
func (st *stream) follow(c *chunk) (err error) {
	if st.front != nil && !c.followed {
		c.whole, err = st.answered(c.rest())
		c.followed = err == nil
	}
	return err
}

// fail ends the drainer when a write fails: because the stream was reset, or
// because the connection is dead; or when an answer is none.
func (st *stream) fail(c *chunk, err error) {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	st.failLocked(err)
	st.draining = false
	st.s.heldIn -= st.hand
	st.hand = 0
	if st.over == nil || !st.over.far {
		c.free()
		return
	}
	st.in.unpop(c)
}

// failLocked ends the stream because of what became of a write: if the connection is
// dead, after what it had said before, as when a service answers a large request
// with an error and closes on top of the rest. The pump reads that, and hears of the
// death. An HTTP visitor who reads no answer has nothing more to say.
func (st *stream) failLocked(err error) {
	if st.front == nil && st.over == nil && !st.eof {
		st.dead = err
		st.dropLocked()
		st.pokeLocked()
		return
	}
	if (errors.Is(err, errAnswer) || errors.Is(err, errChunk)) && st.over == nil && st.unansweredLocked() {
		st.front.failed = &httpError{http.StatusBadGateway, err.Error()}
	}
	st.resetLocked(&resetError{code: wire.Gone, text: err.Error()}, true)
}

// next takes the next chunk to write. With none left the drainer's work is
// done, but for shutting the connection if the peer has ended.
func (st *stream) next() (c *chunk, shut bool) {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	if st.writableLocked() && st.in.bytes > 0 {
		c := st.in.pop()
		st.hand = len(c.rest())
		st.s.heldIn += st.hand
		return c, false
	}
	if st.writableLocked() && st.finIn && !st.silentLocked() {
		return nil, true // draining stays: no second drainer shuts
	}
	st.draining = false
	return nil, false
}

// shutWrite passes the peer's end on.
func (st *stream) shutWrite() {
	err := st.conn.CloseWrite()
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	if err != nil {
		st.failLocked(err)
		st.draining = false
		return
	}
	st.shut, st.draining = true, false
	st.last = time.Now()
	if st.front != nil && !st.front.raw {
		st.endedLocked() // nobody is left to answer
	}
	st.pokeLocked() // the half-close bound begins, or the pump is done
}

// writeStraight writes as much of p as the connection takes without waiting, and
// queues the rest. The caller is the one who writes: see claimLocked.
func (st *stream) writeStraight(p []byte) {
	defer st.drainer.Done()
	var n int
	var whole bool
	var err error
	if st.front != nil {
		whole, err = st.answered(p)
	}
	if err == nil {
		if gone := st.raw.Control(func(fd uintptr) { n, err = tryWrite(int(fd), p) }); gone != nil {
			err = gone
		}
	}
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	st.draining = false
	st.wroteLocked(n)
	switch {
	case err != nil:
		st.failLocked(err)
	case st.over != nil:
	case n < len(p):
		c := chunkOf(p[n:])
		c.followed, c.whole = st.front != nil, whole
		st.in.push(c)
		st.s.relieveLocked()
	case whole:
		st.answeredAllLocked()
	}
	st.drainLocked()
}

// wrote is wroteLocked for the drainer.
func (st *stream) wrote(n int) {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	st.wroteLocked(n)
}

// wroteLocked counts what reached the connection, and grants new credit.
func (st *stream) wroteLocked(n int) {
	st.last = time.Now()
	written := min(n, st.hand) // 0 in a straight write
	st.hand -= written
	st.s.heldIn -= written
	st.written += int64(n)
	st.eaten += n
	st.moved += n
	if st.over != nil || st.finIn || st.eaten < min(st.size/8, maxGrant) {
		return
	}
	grant := st.eaten + st.tuneLocked(st.last)
	st.eaten = 0
	if grant <= 0 {
		return
	}
	st.window += grant
	st.s.control = wire.AppendCredit(st.s.control, st.id, grant)
	st.s.wakeLocked()
}

// labels are those of the goroutines that work for the stream.
func (st *stream) labels() context.Context {
	kind := "visitor"
	if st.s.role == roleClient {
		kind = "origin"
	}
	return sessionLabels(st.s.role, kind, st.s.id, st.visitor)
}
