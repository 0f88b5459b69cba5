package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// session is one TLS connection of a login, after the handshake. It runs in the
// goroutine that calls run, with one more goroutine, the flusher. The pumps of
// its streams flush too.
//
// Nobody who holds mu blocks: the reader appends to queues and wakes others,
// whoever flushes takes from queues and writes with mu free.
type session struct {
	id, role, peer string
	slot           uint8        // of its login
	conn           net.Conn     // TLS; read by run, written by whoever flushes
	line           *line        // below conn
	raw            *net.TCPConn // below line; closed by whoever accepted or dialled it
	deadlines      deadlines    // raw's
	frames         *wire.Reader
	live           Liveness
	room           *seats        // for streams, of the whole login
	serve          func(*stream) // client: owns a stream that the server opened; nil on the server
	born           time.Time
	metrics        *metrics      // nil in some tests
	most           int           // requests before it is replaced; 0: any number
	cut            time.Duration // drain deadline, Off for none
	successor      func()        // client: connects another session in this slot

	bytesIn, bytesOut atomic.Int64 // payload of DATA
	rtt               atomic.Int64 // of the last PING, nanoseconds
	load              atomic.Int64 // streams in the map

	wake  chan struct{} // tells the flusher that there is something to send
	ended chan struct{} // closed when cause is set

	owners sync.WaitGroup // of the streams in the map

	mu       sync.Mutex
	cause    *cause
	streams  map[uint32]*stream
	last     uint32 // the newest stream
	retired  bool   // the client was asked for a successor
	away     bool   // no new streams: the session is drained
	requests int    // HTTP requests and TCP visitors so far
	cutter   *alarm // of the drain deadline
	flushing bool   // somebody flushes
	control  []byte // whole frames that go before data
	ready    turns  // streams that have something to send
	pong     []byte // what the last unanswered PING said; nil for none
	grown    int    // sum of what windows of the streams are larger than wire.Window, at most maxGrown
	mostHeld int    // of heldIn, and of heldOut
	heldIn   int    // bytes that wait for connections: the sum of the streams' in
	heldOut  int    // bytes that wait to be flushed: the sum of the streams' out
	crowded  bool   // some streams may wait for room in heldOut
}

// deadlines are the timers of a connection: its own, or in a test those of a clock
// that the test holds.
type deadlines interface {
	SetDeadline(time.Time) error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// maxControl bounds the control frames that wait for the flusher. Streams and
// credit bound them already; only a peer that opens streams over the limit
// faster than it takes the answers gets here.
const maxControl = 1 << 20

func newSession(role, id string, conn net.Conn, line *line, frames *wire.Reader, live Liveness, room *seats) *session {
	return &session{
		id: id, role: role, peer: line.RemoteAddr().String(),
		conn: conn, line: line, raw: line.TCPConn, deadlines: line.TCPConn, frames: frames,
		live: live, room: room,
		born:    time.Now(),
		wake:    make(chan struct{}, 1),
		ended:   make(chan struct{}),
		streams: make(map[uint32]*stream),

		mostHeld: defaultQueued,
	}
}

// run serves the session until it ends or ctx does, and says why it ended. When
// it returns, all streams have ended, their owners have closed their
// connections, and the flusher is gone. The session's own connection is still
// open: the caller closes it.
func (s *session) run(ctx context.Context) cause {
	stop := context.AfterFunc(ctx, func() { s.end(cause{byShutdown, errors.New("told to stop")}) })
	defer stop()
	wear(sessionLabels(s.role, "session", s.id, s.peer))
	var flusher sync.WaitGroup
	flusher.Go(s.flush)
	s.end(s.read())
	s.endStreams()
	s.owners.Wait()
	flusher.Wait()
	return *s.cause
}

// end ends the session, once: the first cause stays.
func (s *session) end(c cause) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(c)
}

func (s *session) endLocked(c cause) {
	if s.cause != nil {
		return
	}
	s.cause = &c
	close(s.ended)
	if s.cutter != nil {
		s.cutter.stop()
	}
	_ = s.deadlines.SetDeadline(past) // fails only on a closed connection, on which nobody blocks
}

// endStreams is the one loop that ends the streams of a session. No stream is
// added after end.
func (s *session) endStreams() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.streams {
		st.resetLocked(&resetError{code: wire.Gone, text: "session ended"}, false)
	}
}

// armRead moves the heartbeat's deadline before a read that may block: the
// session is dead that long after the last frame. It is false when the session
// has ended.
func (s *session) armRead() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		return false
	}
	var at time.Time
	if s.live.HeartbeatDeadline != Off {
		at = time.Now().Add(s.live.HeartbeatDeadline)
	}
	if err := s.deadlines.SetReadDeadline(at); err != nil {
		s.endLocked(readCause(err, s.live.HeartbeatDeadline))
		return false
	}
	return true
}

// read reads frames until one cannot be read or breaks the rules.
func (s *session) read() cause {
	for s.frames.Ready() || s.armRead() {
		f, err := s.frames.Next()
		if err != nil {
			return readCause(err, s.live.HeartbeatDeadline)
		}
		if err := s.handle(f); err != nil {
			return cause{byProtocol, err}
		}
	}
	return cause{byKernel, net.ErrClosed} // never the first cause: armRead had one
}

// handle takes one frame. It never blocks.
func (s *session) handle(f wire.Frame) error {
	switch f.Type {
	case wire.Data:
		return s.data(f)
	case wire.Fin:
		return s.fin(f)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch f.Type {
	case wire.Ping:
		s.pong = append(s.pong[:0], f.Payload...)
		s.wakeLocked()
		return nil
	case wire.Pong:
		s.pongLocked(f.Payload)
		return nil
	case wire.Open:
		return s.openedLocked(f)
	case wire.GoAway:
		s.toldLocked(f.Payload[0])
		return nil
	case wire.Reset, wire.Credit:
	default:
		return fmt.Errorf("%w: %v after the login", wire.ErrProtocol, f.Type)
	}
	st, err := s.streamLocked(f)
	switch {
	case st == nil:
		return err
	case f.Type == wire.Credit:
		return st.creditLocked(f.Payload)
	}
	code, text := wire.ParseReason(f.Payload)
	st.resetLocked(&resetError{code: code, text: text, far: true}, false)
	return nil
}

// streamLocked finds the stream of a frame. It is nil without an error when the
// frame was sent before the peer heard that the stream is over.
func (s *session) streamLocked(f wire.Frame) (*stream, error) {
	st := s.streams[f.Stream]
	if st == nil && f.Stream > s.last {
		return nil, fmt.Errorf("%w: %v on stream %d, which was never opened", wire.ErrProtocol, f.Type, f.Stream)
	}
	if st != nil && st.over != nil {
		st = nil
	}
	return st, nil
}

// data takes DATA: what the connection takes at once goes there straight from
// the reader's buffer, the rest is queued.
func (s *session) data(f wire.Frame) error {
	s.mu.Lock()
	st, err := s.streamLocked(f)
	var straight bool
	if st != nil {
		straight, err = st.dataLocked(f.Payload)
	}
	s.mu.Unlock()
	if straight {
		st.writeStraight(f.Payload)
	}
	return err
}

// fin takes FIN.
func (s *session) fin(f wire.Frame) error {
	s.mu.Lock()
	st, err := s.streamLocked(f)
	var straight bool
	if st != nil {
		straight, err = st.finLocked()
	}
	s.mu.Unlock()
	if straight {
		st.shutWrite()
		st.drainer.Done()
	}
	return err
}

// open opens a stream to the client, with the front of an HTTP visitor. The caller owns
// it: it closes what it connects to the stream, then calls release.
func (s *session) open(kind wire.Kind, visitor string, f *front) (*stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		return nil, fmt.Errorf("open stream: session ended: %w", *s.cause)
	}
	if s.last+1 == 0 {
		s.endLocked(cause{byProtocol, errors.New("stream numbers used up")})
		return nil, fmt.Errorf("open stream: session ended: %w", *s.cause)
	}
	if s.away {
		return nil, errors.New("open stream: the session is drained")
	}
	if !s.room.take() {
		return nil, s.full()
	}
	if kind == wire.TCP {
		s.countLocked()
	}
	s.last++
	s.control = wire.AppendOpen(s.control, s.last, kind, visitor)
	// Not flushed here: carry does so, often with the first DATA in one record.
	st := s.addLocked(s.last, kind, visitor)
	st.front = f
	return st, nil
}

// openedLocked takes OPEN: it starts the stream's owner.
func (s *session) openedLocked(f wire.Frame) error {
	if s.serve == nil {
		return fmt.Errorf("%w: OPEN from a client", wire.ErrProtocol)
	}
	if f.Stream != s.last+1 {
		return fmt.Errorf("%w: OPEN of stream %d after %d", wire.ErrProtocol, f.Stream, s.last)
	}
	kind, visitor, err := wire.ParseOpen(f.Payload)
	if err != nil {
		return err
	}
	s.last = f.Stream
	if s.cause != nil {
		return nil
	}
	if !s.room.take() {
		s.metrics.refusedStream(wire.Limit)
		s.control = wire.AppendReason(s.control, wire.Reset, f.Stream, wire.Limit, s.full().text)
		s.wakeLocked()
		return nil
	}
	st := s.addLocked(f.Stream, kind, visitor)
	go func() {
		defer st.release()
		s.serve(st)
	}()
	return nil
}

// full is why a stream is refused when all places of the login are taken.
func (s *session) full() *resetError {
	return &resetError{code: wire.Limit, text: fmt.Sprintf("%d streams", s.room.most)}
}

// addLocked adds a stream, which has its place already, to the map; its owner
// calls release.
func (s *session) addLocked(id uint32, kind wire.Kind, visitor string) *stream {
	st := &stream{
		s: s, id: id, kind: kind, visitor: visitor, born: time.Now(),
		credit: wire.Window, window: wire.Window, size: wire.Window,
	}
	st.in.held, st.out.held = &s.heldIn, &s.heldOut
	s.streams[id] = st
	s.load.Add(1)
	s.owners.Add(1)
	return st
}
