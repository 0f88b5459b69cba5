package tunnel

import (
	"testing"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// windows is a session whose streams only count: what their peers may send, and
// what their connections take.
func windows() *session {
	s := &session{streams: map[uint32]*stream{}, wake: make(chan struct{}, 1), room: &seats{}, mostHeld: 1 << 20}
	s.rtt.Store(int64(time.Hour)) // so everybody moves a window in less than two round trips
	return s
}

// window adds a stream.
func (s *session) window() *stream {
	s.last++
	st := s.addLocked(s.last, wire.TCP, "")
	st.tuned = time.Now()
	return st
}

// eat receives bytes, which the connection takes at once. What the peer may still
// send, and what was not granted again, fit into the window whatever it becomes.
func (st *stream) eat(t *testing.T, n int) {
	t.Helper()
	if n > st.window {
		t.Fatalf("stream %d: a credit of %d is left for %d bytes", st.id, st.window, n)
	}
	st.window -= n
	st.wroteLocked(n)
	if held := st.window + st.eaten; held > st.size || st.size > wire.MaxWindow {
		t.Fatalf("stream %d: the peer may send %d bytes in a window of %d", st.id, held, st.size)
	}
	if larger := st.s.larger(); larger > maxGrown {
		t.Fatalf("windows are %d bytes larger than at first, want at most %d", larger, maxGrown)
	}
}

// larger is how much the windows that are larger than at first are so.
func (s *session) larger() int {
	sum := 0
	for _, st := range s.streams {
		sum += max(0, st.size-wire.Window)
	}
	return sum
}

// settle eats until the window no longer changes.
func (st *stream) settle(t *testing.T) {
	t.Helper()
	for range 1000 {
		st.eat(t, min(st.window, wire.MaxData))
	}
}

// What windows that shrank under pressure gave up is not for others to grow by: they
// come back, or leave, and the others are still as large.
func TestShrunkWindowsComeBack(t *testing.T) {
	for name, back := range map[string]func(*testing.T, *stream){
		"released": func(_ *testing.T, st *stream) { st.release() },
		"large":    func(t *testing.T, st *stream) { st.settle(t) },
	} {
		t.Run(name, func(t *testing.T) {
			s := windows()
			shrunk := s.window()
			s.heldIn = s.mostHeld
			shrunk.settle(t)
			if shrunk.size >= wire.Window {
				t.Fatalf("under pressure the window is %d", shrunk.size)
			}
			s.heldIn = 0
			for range maxGrown / wire.MaxWindow {
				s.window().settle(t)
			}
			last := s.window()
			last.settle(t)
			if s.larger() != maxGrown {
				t.Fatalf("windows are %d bytes larger than at first, not %d", s.larger(), maxGrown)
			}
			back(t, shrunk)
			last.settle(t)
			s.window().settle(t)
			for _, st := range s.streams {
				if st.size < wire.Window {
					t.Errorf("stream %d: a window of %d, and no pressure", st.id, st.size)
				}
			}
		})
	}
}

// A window shrinks while the session holds too much, and is back when that is over.
func TestWindowUnderPressure(t *testing.T) {
	s := windows()
	st := s.window()
	s.heldIn = s.mostHeld/2 + 1
	st.settle(t)
	if st.size != leastWindow {
		t.Errorf("under pressure the window is %d, want %d", st.size, leastWindow)
	}
	s.heldIn = 0
	st.settle(t)
	if st.size < wire.Window {
		t.Errorf("without pressure the window is %d, want %d", st.size, wire.Window)
	}
}

// The longest request head goes in one piece, also when the window has shrunk as far as
// it may, and all that may wait to be granted again does.
func TestLeastWindowTakesHead(t *testing.T) {
	s := windows()
	st := s.window()
	s.heldIn = s.mostHeld
	st.settle(t)
	least := st.window
	for range st.size {
		st.eat(t, 1)
		least = min(least, st.window)
	}
	if least < maxHead+moreHead {
		t.Errorf("a credit of %d is all there is in a window of %d, for a head of up to %d", least, st.size, maxHead+moreHead)
	}
}
