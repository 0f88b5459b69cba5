package tunnel

import (
	"encoding/binary"
	"errors"
	"runtime"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

const (
	// record is the most payload of a TLS record: RFC 8446, section 5.1.
	record = 16 << 10
	// batch is about how much goes into one write to the kernel.
	batch = 4 * wire.MaxFrame
	// small is the longest frame that is copied to share its record with
	// others. A longer one is encrypted where it lies.
	small = 4 << 10
)

// flushRoom is what one flush needs. A session that has nothing to send has
// none.
type flushRoom struct {
	plain  []byte // control frames and small frames, to share records
	sealed []byte // the records
	pieces []piece
}

// piece is what goes next: a chunk that is a frame, or so many bytes of plain.
type piece struct {
	frame *chunk
	plain int
}

// flushRooms are free ones, as many as can be busy at once; like longChunks.
var flushRooms = make(chan *flushRoom, max(2, runtime.GOMAXPROCS(0)))

// sealedRoom holds a batch, the frame that made it full and a record of small
// frames, all as records.
const sealedRoom = 5*(wire.MaxFrame+4*tlsOverhead) + record + tlsOverhead

func getFlushRoom() *flushRoom {
	select {
	case room := <-flushRooms:
		return room
	default:
		return &flushRoom{sealed: make([]byte, 0, sealedRoom)}
	}
}

func (room *flushRoom) free() {
	select {
	case flushRooms <- room:
	default:
		giveBack(room.sealed)
	}
}

// flush sends PINGs and what nobody else flushes. It ends with the session.
func (s *session) flush() {
	wear(sessionLabels(s.role, "flusher", s.id, s.peer))
	var tick <-chan time.Time
	if s.live.Heartbeat != Off {
		ticker := time.NewTicker(s.live.Heartbeat)
		defer ticker.Stop()
		tick = ticker.C
	}
	s.ping() // a session begins with knowing its round trip
	for {
		if s.startFlush() {
			for s.flushOnce() {
				select {
				case <-tick: // PING also while there is always something to send
					s.ping()
				default:
				}
			}
		}
		select {
		case <-s.ended:
			return
		case <-tick:
			s.ping()
		case <-s.wake:
		}
	}
}

// flushNow is for whoever may have queued something and may wait: when nobody
// flushes it does so itself, once, which saves waking the flusher. With little to
// send it lets everybody go first who can run now: what they queue shares the
// records and the system call. On an idle machine that is nobody, and no time lost.
func (s *session) flushNow() {
	if !s.startFlush() {
		return
	}
	if s.little() {
		runtime.Gosched()
	}
	if s.flushOnce() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.flushing = false
		if s.pendingLocked() {
			s.wakeLocked()
		}
		s.sentLocked()
	}
}

// pendingLocked says whether there is something to flush.
func (s *session) pendingLocked() bool {
	return len(s.control) > 0 || s.pong != nil || s.ready.first != nil
}

// little says that what waits to be flushed is hardly worth a system call.
func (s *session) little() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heldOut <= small
}

// startFlush makes the caller the one who flushes, if nobody does.
func (s *session) startFlush() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flushing || s.cause != nil || !s.pendingLocked() {
		return false
	}
	s.flushing = true
	return true
}

// flushOnce writes one batch. It is false when there was nothing left to write,
// or the session has ended: then nobody flushes any more.
func (s *session) flushOnce() bool {
	room := getFlushRoom()
	defer room.free()
	if !s.fill(room) {
		return false
	}
	s.line.gatherInto(room.sealed[:0])
	err := s.seal(room)
	sealed := s.line.gathered()
	room.sealed = sealed[:0]
	if err == nil {
		err = s.line.flush(sealed, s.armWrite)
	}
	if err != nil {
		s.end(writeCause(err, s.live.Flush))
	}
	return true
}

// seal encrypts the pieces. Chunks are given back.
func (s *session) seal(room *flushRoom) (err error) {
	plain := room.plain
	for _, p := range room.pieces {
		next := plain[:p.plain]
		if p.frame != nil {
			next = p.frame.rest()
		} else {
			plain = plain[p.plain:]
		}
		if err == nil {
			_, err = s.conn.Write(next)
		}
		if p.frame != nil {
			p.frame.free()
		}
	}
	clear(room.pieces)
	room.pieces = room.pieces[:0]
	return err
}

// fill collects what goes next: all control frames, then one frame of each
// stream in turn until a batch is full. It is false when there is nothing; then
// the caller no longer flushes.
func (s *session) fill(room *flushRoom) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	room.plain = room.plain[:0]
	s.sentLocked() // the batch before this one
	if s.cause != nil {
		s.flushing = false
		return false
	}
	room.plain = append(room.plain, s.control...)
	if cap(s.control) > record {
		s.control = nil
	}
	s.control = s.control[:0]
	if s.pong != nil {
		room.plain = wire.Append(room.plain, wire.Pong, 0, s.pong)
		s.pong = nil
	}
	shared := 0 // of plain, in pieces already
	for total := 0; total+len(room.plain) < batch; {
		st := s.ready.take()
		if st == nil {
			break
		}
		var frame *chunk
		if room.plain, frame = st.sendLocked(room.plain); frame != nil {
			if n := len(room.plain) - shared; n > 0 {
				room.pieces = append(room.pieces, piece{plain: n})
				shared += n
			}
			room.pieces = append(room.pieces, piece{frame: frame})
			total += len(frame.rest())
		}
	}
	if n := len(room.plain) - shared; n > 0 {
		room.pieces = append(room.pieces, piece{plain: n})
	}
	s.easeLocked()
	if len(room.pieces) == 0 {
		s.flushing = false
		return false
	}
	return true
}

// armWrite gives the next write its deadline, the next look of [line.wait]. It is false
// when the session has ended.
func (s *session) armWrite() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		return false
	}
	var at time.Time
	if s.live.Flush != Off {
		at = time.Now().Add(s.live.Flush / looks)
	}
	if err := s.deadlines.SetWriteDeadline(at); err != nil {
		s.endLocked(writeCause(err, s.live.Flush))
		return false
	}
	return true
}

// wakeLocked makes sure that somebody flushes, and ends a session whose peer
// takes no answers.
func (s *session) wakeLocked() {
	if len(s.control) > maxControl && s.cause == nil {
		s.endLocked(cause{byProtocol, errors.New("peer does not take the answers to its frames")})
		return
	}
	if s.flushing {
		return // whoever flushes looks again
	}
	select {
	case s.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// epoch makes a PING carry its time as monotonic nanoseconds.
var epoch = time.Now()

// ping queues a PING.
func (s *session) ping() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := binary.BigEndian.AppendUint64(nil, uint64(time.Since(epoch)))
	s.control = wire.Append(s.control, wire.Ping, 0, now)
}

// probe sends a PING now: a sibling has died, and whatever killed it may have
// killed this one too. Not where heartbeats are off: nothing would wait for the
// answer, and bytes in flight stop the kernel's keepalive, which is about to
// notice by itself.
func (s *session) probe() {
	if s.live.Heartbeat == Off {
		return
	}
	s.ping()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakeLocked()
}

// pongLocked takes the answer to a PING. What it says is only shown, and tunes
// the windows; that it came at all has already moved the deadline.
func (s *session) pongLocked(p []byte) {
	if d := time.Since(epoch) - time.Duration(binary.BigEndian.Uint64(p)); d >= 0 && d < time.Hour {
		s.rtt.Store(int64(d))
	}
}
