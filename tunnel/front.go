package tunnel

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// front is an HTTP visitor's connection. It knows where each request and each
// answer ends, and so when the next head may be read, and on which stream it
// goes:
//
//	head --parse, rewrite--> stream      the body follows as it is
//	answer <-----------------stream      followed, not changed
//
// One request is under way at a time: what a visitor sends ahead of the answer
// waits here. Therefore the host may change between two requests, each stream
// sees the requests for its own host only, and a session that is drained loses
// its visitors between two requests. Bytes are passed on as they are only after
// an answer with status 101.
type front struct {
	conn    *net.TCPConn
	visitor netip.Addr
	patient time.Duration // a head that has begun may take so long

	// For whoever reads from the visitor: await, or the pump of the stream.
	held    *chunk    // read, not sent on
	end     int       // of the head at the beginning of held, if that is whole
	seen    int       // bytes of held that headEnd has looked at
	since   time.Time // when the head in held began
	host    string    // of the stream
	body    body      // of the request under way
	passing bool      // what it knows of raw

	// For whoever writes to the visitor.
	answers answers
	passed  bool // what it knows of raw

	// Guarded by the mutex of the stream's session.
	asked  int   // requests sent on this stream
	before int64 // bytes of answers to those before the last, all written
	open   bool  // the last of them has no complete answer yet
	toHEAD bool  // it was HEAD
	awaits bool  // it asked for an upgrade
	last   bool  // the connection ends with its answer
	raw    bool  // the upgrade was granted
	failed *httpError
}

// errMoved is why a stream was given up while nothing was under way: the next
// request goes elsewhere.
var errMoved = errors.New("the next request goes to another stream")

// clear gives the memory back. The connection is its owner's.
func (f *front) clear() {
	if f.held != nil {
		f.held.free()
		f.held = nil
	}
}

// hold keeps what was read behind what is held already.
func (f *front) hold(c *chunk) {
	if f.held == nil {
		f.held = c
		return
	}
	both := len(f.held.rest()) + len(c.rest())
	if cap(f.held.data)-len(f.held.data) < len(c.rest()) {
		grown := getChunk(both)
		grown.data = append(grown.data, f.held.rest()...)
		f.held.free()
		f.held = grown
	}
	f.held.data = append(f.held.data, c.rest()...)
	c.free()
}

// spend takes n bytes of held as used up.
func (f *front) spend(n int) {
	f.held.off += n
	if len(f.held.rest()) == 0 {
		f.clear()
	}
}

// whole says whether held begins with a whole head.
func (f *front) whole(now time.Time) (bool, error) {
	if f.held == nil {
		return false, nil
	}
	if f.end > 0 {
		return true, nil
	}
	if f.since.IsZero() {
		f.since = now
	}
	p := f.held.rest()
	end, err := headEnd(p, f.seen)
	if err != nil {
		return false, err
	}
	if end < 0 {
		f.seen = len(p)
		return false, nil
	}
	f.end = end
	return true, nil
}

// deadline is when the head that has begun must be whole; zero when none has.
func (f *front) deadline() time.Time {
	if f.since.IsZero() || f.end > 0 {
		return time.Time{}
	}
	return f.since.Add(f.patient)
}

// late is what a visitor is told whose head was not whole in time.
func (f *front) late() error {
	return &httpError{http.StatusRequestTimeout, fmt.Sprintf("the request head took longer than %v", f.patient)}
}

// await reads until a whole head is held. It holds no buffer before the first
// byte. The deadline is the caller's: one set here could come after the one that
// wakes us to leave.
func (f *front) await(raw syscall.RawConn) error {
	for {
		if whole, err := f.whole(time.Now()); whole || err != nil {
			return err
		}
		room := maxHead
		if f.held != nil {
			room -= len(f.held.rest())
		}
		var c *chunk
		var failed error
		if err := raw.Read(func(fd uintptr) bool {
			c, failed = readChunk(int(fd), room)
			return c != nil || failed != nil
		}); err != nil {
			return err
		}
		if failed != nil {
			return failed
		}
		f.hold(c)
	}
}

// enter prepares the front for a new stream, to the host of the head in held.
func (f *front) enter() error {
	req, err := parseHead(f.held.rest()[:f.end])
	if err != nil {
		return err
	}
	f.host = string(bytes.ToLower(req.host))
	f.answers = answers{}
	f.asked, f.open, f.failed = 0, false, nil
	return nil
}

// ask sends on what the front holds, as far as it may go now.
func (st *stream) ask() error {
	f := st.front
	if f.held == nil && st.moves() {
		return errMoved
	}
	for f.held != nil {
		credit, raw, open, ended := st.turn()
		if ended {
			f.clear() // nothing follows a FIN
			f.end, f.seen, f.since = 0, 0, time.Time{}
			return nil
		}
		if credit <= 0 {
			return st.begun()
		}
		n := min(credit, len(f.held.rest()))
		switch {
		case raw:
		case !f.body.done():
			var err error
			if n, err = f.body.feed(f.held.rest()[:n]); err != nil {
				return badHead("%v", err)
			}
		case open:
			return nil // until the answer has ended
		default:
			if sent, err := st.askNext(); !sent || err != nil {
				return err
			}
			continue
		}
		st.sendOn(f.cut(n))
		f.passing = raw && f.held == nil
	}
	return nil
}

// cut takes n bytes off held: held itself if that is all.
func (f *front) cut(n int) *chunk {
	c := f.held
	if n == len(c.rest()) {
		f.held = nil
		return c
	}
	part := chunkOf(c.rest()[:n])
	f.spend(n)
	return part
}

// turn says what the front may send now; when nothing for want of credit, the
// stream notes that it waits for some. ended says that it may send nothing any more.
func (st *stream) turn() (credit int, raw, open, ended bool) {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	if st.over != nil || st.eof {
		return 0, false, false, true
	}
	credit = st.roomLocked()
	st.blocked = credit <= 0
	return credit, st.front.raw, st.front.open, false
}

// takes says whether there is room for n bytes; if not, the stream notes that it
// waits for some.
func (st *stream) takes(n int) bool {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	st.blocked = st.roomLocked() < n
	return !st.blocked
}

// armHead sets the deadline of a head that has begun.
func (st *stream) armHead(at time.Time) {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	if !st.poked && st.over == nil {
		st.armed = true
		_ = st.conn.SetReadDeadline(at) // fails only on a closed connection, which receive notices
	}
}

// begun looks at a head that has begun, if one has: it is late also while it could not
// be sent.
func (st *stream) begun() error {
	if st.front.since.IsZero() {
		return nil
	}
	_, err := st.wholeHead()
	return err
}

// wholeHead says whether a whole head is held, and sets the deadline of one that is not.
func (st *stream) wholeHead() (bool, error) {
	now := time.Now()
	whole, err := st.front.whole(now)
	if at := st.front.deadline(); err == nil && !at.IsZero() {
		if !now.Before(at) {
			return false, st.front.late()
		}
		st.armHead(at)
	}
	return whole, err
}

// moreHead is the most by which forward makes a head longer.
const moreHead = 1 << 10

// askNext sends the head that is held, if it is whole and belongs on this
// stream.
func (st *stream) askNext() (sent bool, err error) {
	f := st.front
	if whole, err := st.wholeHead(); !whole || err != nil {
		return false, err
	}
	head := f.held.rest()[:f.end]
	req, err := parseHead(head)
	if err != nil {
		return false, err
	}
	if !bytes.EqualFold(req.host, []byte(f.host)) || st.moves() {
		return false, errMoved
	}
	if !st.takes(len(head) + moreHead) {
		return false, nil
	}
	c := getChunk(len(head) + moreHead)
	c.data = req.forward(c.data, head, f.visitor)
	f.body = req.body
	f.note(st, &req)
	st.sendOn(c.fit())
	f.spend(f.end)
	f.end, f.seen, f.since = 0, 0, time.Time{}
	return true, nil
}

// note remembers what the answer to the head must look like.
func (f *front) note(st *stream, req *request) {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	f.asked++
	f.before = st.written
	st.s.metrics.requests.Inc()
	st.s.countLocked()
	f.open = true
	f.toHEAD = string(req.method) == http.MethodHead
	f.awaits, f.last = req.upgrade, req.last
}

// answered follows bytes of the answer that are about to be written. ended says
// that the answer ends with them.
func (st *stream) answered(p []byte) (ended bool, err error) {
	f := st.front
	if f.passed {
		return false, nil
	}
	st.s.mu.Lock()
	raw, open, toHEAD := f.raw, f.open, f.toHEAD
	st.s.mu.Unlock()
	f.passed = raw
	for len(p) > 0 && !raw {
		if !open || ended {
			return false, errAnswer // nobody has asked for it
		}
		n, done, err := f.answers.feed(p, toHEAD)
		if err != nil {
			return false, err
		}
		p = p[n:]
		if !done {
			continue
		}
		if f.answers.status == http.StatusSwitchingProtocols {
			raw = true
			if err := st.upgraded(); err != nil {
				return false, err
			}
			continue
		}
		ended = true
		f.answers = answers{}
	}
	return ended, nil
}

// upgraded lets bytes pass as they are from now on.
func (st *stream) upgraded() error {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	if !st.front.awaits {
		return errAnswer
	}
	st.front.raw, st.front.open = true, false
	st.pokeLocked() // the pump may hold bytes
	return nil
}

// answeredAll notes that the whole answer was written: the next request may go.
func (st *stream) answeredAll() {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	st.answeredAllLocked()
}

func (st *stream) answeredAllLocked() {
	st.front.open = false
	if st.front.last {
		st.endedLocked()
	}
	st.pokeLocked()
}

// answeringLocked says that the request whose body is under way has an answer, or a part
// of one: a page would be read as its body, or as the answer to another request.
func (st *stream) answeringLocked() bool {
	return !st.front.body.done() && st.written > st.front.before
}

// unansweredLocked says that a page may be written in the place of an answer: the
// stream's first request got none. (Who sends one more on a connection that
// worked before knows that it may be closed, and asks again.)
func (st *stream) unansweredLocked() bool {
	return st.front != nil && st.front.asked <= 1 && !st.front.raw && st.written == 0
}

// silentLocked notes that the origin has closed without an answer, if it has.
func (st *stream) silentLocked() bool {
	if !st.unansweredLocked() || !st.front.open {
		return false
	}
	st.front.failed = &httpError{http.StatusBadGateway, "the origin closed the connection without an answer"}
	st.resetLocked(&resetError{code: wire.Gone, text: st.front.failed.text}, true)
	return true
}

// room is how much may be read from the visitor, of what the stream has room for.
func (f *front) room(n int) int {
	switch {
	case f.held == nil:
		return n
	case f.end == 0 && f.seen == len(f.held.rest()):
		return min(n, maxHead-f.seen) // a part of a head
	}
	// It waits for room; or for the end of an answer, and has not been looked at since:
	// then a poke is on its way. The visitor's end may not be read before it is sent.
	return 0
}
