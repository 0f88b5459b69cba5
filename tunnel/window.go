package tunnel

import (
	"fmt"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

const (
	// maxGrant is the most that is eaten before the peer gets new credit: less
	// would be a CREDIT for every few reads, more would leave the sender waiting
	// for a round trip with a window that it may not use.
	maxGrant = 64 << 10
	// maxGrown bounds what the windows of a session's streams are larger than at
	// first: so many bytes may come for connections that no longer take them.
	maxGrown = 32 << 20
	// leastWindow is what a window shrinks to while the session holds too much. The
	// longest request head goes in one piece, also when an eighth of the window is
	// eaten and not granted again yet.
	leastWindow = 40 << 10
	// defaultQueued is the most that a session holds in each direction.
	defaultQueued = 64 << 20
)

// A window says what one stream may hold, and there are thousands: what all of
// a session hold together is bounded too, by mostHeld in each direction.
//
//   - Out, towards the session: pumps wait. Their connections hold what they do
//     not read.
//   - In, from the session: it cannot wait, for others are behind. From half of
//     the bound on, what a connection takes is not granted again, until its window
//     is small. Where that is not enough, because hundreds take nothing at all,
//     whoever holds most is reset.

// roomLocked is how many bytes more may wait to be flushed. Who has read them
// already comes on top: at most one frame a pump that runs.
func (s *session) roomLocked() int {
	room := s.mostHeld - s.heldOut
	if room < maxOut {
		s.crowded = true
	}
	return max(0, room)
}

// easeLocked lets pumps look again that wait for room in the session.
func (s *session) easeLocked() {
	if !s.crowded || s.heldOut > s.mostHeld/2 {
		return
	}
	s.crowded = false
	for _, st := range s.streams {
		st.unblockLocked()
	}
}

// relieveLocked keeps what waits for connections within its bound.
func (s *session) relieveLocked() {
	for s.heldIn > s.mostHeld {
		var most *stream
		for _, st := range s.streams {
			if most == nil || st.in.bytes+st.hand > most.in.bytes+most.hand {
				most = st
			}
		}
		most.resetLocked(&resetError{code: wire.Limit, text: fmt.Sprintf("%d bytes wait in the session, and most of them here", s.heldIn)}, true)
		most.dropLocked() // also if the far end has reset it before
	}
}

// tuneLocked fits the window to the way: it has to hold what is sent in one
// round trip, and who holds more only risks memory. It returns what to grant
// beyond what was eaten; less than nothing where the window shrinks.
//
// A stream that moves half a window in less than two round trips may be waiting
// for credit: its window doubles, as long as its connection takes everything. One
// that takes more than eight needs less.
func (st *stream) tuneLocked(now time.Time) int {
	if st.s.heldIn > st.s.mostHeld/2 {
		return st.resizeLocked(-min(st.eaten, max(0, st.size-leastWindow)))
	}
	if st.moved < st.size/2 {
		return 0
	}
	took := now.Sub(st.tuned)
	st.moved, st.tuned = 0, now
	rtt := time.Duration(st.s.rtt.Load())
	change := 0
	switch {
	case st.size < wire.Window:
		change = wire.Window - st.size
	case took < 2*rtt && st.in.bytes < st.size/4: // none of the three is ever below 0
		change = min(st.size, wire.MaxWindow-st.size, maxGrown-st.s.grown)
	case took > 8*rtt:
		change = -min(st.size/2, st.size-wire.Window, st.eaten)
	}
	return st.resizeLocked(change)
}

// resizeLocked makes the window larger by change.
func (st *stream) resizeLocked(change int) int {
	before := st.grownLocked()
	st.size += change
	st.s.grown += st.grownLocked() - before
	return change
}

// grownLocked is what the window is larger than at first. One that has shrunk
// counts as none, and lends nothing to others: it comes back, or leaves.
func (st *stream) grownLocked() int { return max(0, st.size-wire.Window) }
