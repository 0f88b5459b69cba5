package tunnel

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// A session does not live for ever. When it is old, or has carried many
// requests, the server asks for a successor; only when that has taken its slot,
// the old one is drained:
//
//	server --GOAWAY replace--> client           both go on as before
//	server <--a new session in the slot-- client
//	old session: no new streams; visitors move on between two requests;
//	             ends with its last stream
//
// A request is never cut. At the drain deadline those streams are reset that have
// none under way: upgraded ones and TCP, which could last for ever.

// retireLocked asks the client for a successor, once.
func (s *session) retireLocked(why string) {
	if s.retired || s.away || s.cause != nil {
		return
	}
	s.retired = true
	if s.metrics != nil {
		s.metrics.recycled.WithLabelValues(why).Inc()
	}
	s.sayLocked(wire.Replace)
}

// retire is retireLocked for timers.
func (s *session) retire(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retireLocked(why)
}

// countLocked counts a request, or a TCP visitor.
func (s *session) countLocked() {
	s.requests++
	if s.most > 0 && s.requests >= s.most {
		s.retireLocked("requests")
	}
}

// aging is when a session of now is old: maxAge, a tenth more or less, so that
// the sessions of a login are not replaced at the same moment.
func aging(maxAge time.Duration) time.Duration {
	return maxAge - maxAge/10 + rand.N(maxAge/5+1)
}

// sayLocked sends GOAWAY.
func (s *session) sayLocked(what byte) {
	s.control = wire.Append(s.control, wire.GoAway, 0, []byte{what})
	s.wakeLocked()
}

// toldLocked takes GOAWAY.
func (s *session) toldLocked(what byte) {
	switch {
	case s.role == roleServer:
		s.drainLocked()
	case what == wire.Replace && s.successor != nil && !s.retired:
		s.retired = true
		s.successor()
	default:
		s.away = true
	}
}

// replaced says whether the session has, or will have, a successor.
func (s *session) replaced() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retired
}

// drain is drainLocked, after GOAWAY if the whole process leaves. Who is drained already
// is told nothing more: its peer may be about to close, and what comes then is a RST.
func (s *session) drain(leave bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away || s.cause != nil {
		return
	}
	if leave {
		s.sayLocked(wire.Leave)
	}
	s.drainLocked()
}

// drainLocked opens no stream any more, and lets visitors go that wait between
// two requests. The peer's GOAWAY may be read after the session has ended: nobody would
// stop its alarm.
func (s *session) drainLocked() {
	if s.away || s.cause != nil {
		return
	}
	s.away = true
	if s.cut > 0 {
		s.cutter = after(s.cut, s.cutIdle)
	}
	for _, st := range s.streams {
		if st.front != nil {
			st.pokeLocked()
		}
	}
	s.drainedLocked()
}

// drainedLocked is sentLocked, unless somebody flushes: who does looks afterwards.
func (s *session) drainedLocked() {
	if !s.flushing {
		s.sentLocked()
	}
}

// sentLocked ends a session that is drained, once the kernel has all that its peer must
// hear: GOAWAY, and how the last streams ended. (A PING it need not answer.) The server
// does so: it opens the streams, and knows that none is on its way.
func (s *session) sentLocked() {
	switch {
	case !s.away || s.role != roleServer || len(s.streams) > 0:
	case len(s.control) > 0:
		s.wakeLocked()
	default:
		s.endLocked(cause{byDrain, errors.New("drained")})
	}
}

// cutIdle is the drain deadline. What it cuts may be in the middle of something: both ends
// hear of a reset.
func (s *session) cutIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.streams {
		if st.front == nil || st.front.raw {
			st.resetLocked(&resetError{code: wire.Gone, text: fmt.Sprintf("its session was replaced %v ago", s.cut)}, true)
		}
	}
}

// moves says whether the visitor's next request goes to another session. What it has sent
// on this one is gone.
func (st *stream) moves() bool {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	f := st.front
	return st.s.away && !f.open && !f.raw && f.body.done() && f.asked > 0 && st.over == nil && !st.eof && st.out.bytes == 0
}
