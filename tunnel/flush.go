package tunnel

import (
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

const (
	// record is the most that goes into one TLS record and one write: each
	// record has its own write deadline, so that a slow path is not taken for a
	// dead one.
	record = 16 << 10
	// dataFrame is the longest DATA we send: with its header it fills a record.
	dataFrame = record - wire.HeaderLen
	// batch is about how much the flusher collects before it writes.
	batch = 4 * record
)

// flushBuffers are the flusher's buffers; a session whose flusher sleeps has
// none.
var flushBuffers = sync.Pool{New: func() any { b := make([]byte, 0, batch+record); return &b }}

// flush is the session's only writer. It ends with the session.
func (s *session) flush() {
	wear(sessionLabels(s.role, "flusher", s.id, s.peer))
	var tick <-chan time.Time
	if s.live.Heartbeat != Off {
		ticker := time.NewTicker(s.live.Heartbeat)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-s.ended:
			return
		case <-tick:
			s.ping()
		case <-s.wake:
		}
		s.flushAll(tick)
	}
}

// flushAll writes until there is nothing left to write or the session ends.
func (s *session) flushAll(tick <-chan time.Time) {
	buf := flushBuffers.Get().(*[]byte)
	defer func() {
		if cap(*buf) <= 2*batch {
			flushBuffers.Put(buf)
		}
	}()
	for {
		*buf = s.fill((*buf)[:0])
		if len(*buf) == 0 {
			return
		}
		for p := *buf; len(p) > 0; {
			n := min(record, len(p))
			if !s.armWrite() {
				return
			}
			if _, err := s.conn.Write(p[:n]); err != nil {
				s.end(writeCause(err, s.live.Flush))
				return
			}
			p = p[n:]
		}
		select {
		case <-tick: // PING also while there is always something to send
			s.ping()
		default:
		}
	}
}

// fill appends to buf what goes next: all control frames, then one frame of
// each stream in turn until a batch is full.
func (s *session) fill(buf []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		return buf
	}
	buf = append(buf, s.control...)
	if cap(s.control) > record {
		s.control = nil
	}
	s.control = s.control[:0]
	if s.pong != nil {
		buf = wire.Append(buf, wire.Pong, 0, s.pong)
		s.pong = nil
	}
	for len(buf) < batch && len(s.ready) > 0 {
		st := s.ready[0]
		s.ready[0] = nil // the array must not keep a stream that is over
		s.ready = s.ready[1:]
		buf = st.sendLocked(buf)
	}
	if len(s.ready) == 0 {
		s.ready = nil
	}
	return buf
}

// armWrite gives the next write its deadline. It is false when the session has
// ended.
func (s *session) armWrite() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		return false
	}
	var at time.Time
	if s.live.Flush != Off {
		at = time.Now().Add(s.live.Flush)
	}
	if err := s.raw.SetWriteDeadline(at); err != nil {
		s.endLocked(writeCause(err, s.live.Flush))
		return false
	}
	return true
}

// wakeLocked wakes the flusher, and ends a session whose peer takes no answers.
func (s *session) wakeLocked() {
	if len(s.control) > maxControl {
		s.endLocked(cause{byProtocol, errors.New("peer does not take the answers to its frames")})
		return
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

// pongLocked takes the answer to a PING. What it says is only shown; that it
// came at all has already moved the deadline.
func (s *session) pongLocked(p []byte) {
	if d := time.Since(epoch) - time.Duration(binary.BigEndian.Uint64(p)); d >= 0 && d < time.Hour {
		s.rtt.Store(int64(d))
	}
}
