package tunnel

import (
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
)

// tuneLocked fits the window to the way: it has to hold what is sent in one
// round trip, and who holds more only risks memory. It returns what to grant
// beyond what was eaten; less than nothing where the window shrinks.
//
// A stream that moves half a window in less than two round trips may be waiting
// for credit: its window doubles, as long as its connection takes everything. One
// that takes more than eight needs less.
func (st *stream) tuneLocked(now time.Time) int {
	if st.moved < st.size/2 {
		return 0
	}
	took := now.Sub(st.tuned)
	st.moved, st.tuned = 0, now
	rtt := time.Duration(st.s.rtt.Load())
	change := 0
	switch {
	case took < 2*rtt && st.in.bytes < st.size/4:
		change = min(st.size, wire.MaxWindow-st.size, maxGrown-st.s.grown)
	case took > 8*rtt:
		change = -min(st.size/2, st.size-wire.Window, st.eaten)
	}
	st.size += change
	st.s.grown += change
	return change
}
