package tunnel

import (
	"net/netip"
	"testing"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// What the front holds for want of room, be it the whole head that does not go in
// part, goes when there is some: whoever makes it pokes the pump, which has looked
// meanwhile whether it may read.
func TestHeldGoesWhenThereIsRoom(t *testing.T) {
	const head = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
	const some = len(head) // less than the head becomes
	credit := func(n uint32) []byte { return []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)} }
	for name, c := range map[string]struct {
		held  string
		body  body
		short func(*stream) // of room
		later func(*stream) // some comes, and nobody is told: it is not much
		room  func(*stream) error
	}{
		"a head, for credit": {head, body{},
			func(st *stream) { st.credit = some },
			func(*stream) {},
			func(st *stream) error { return st.creditLocked(credit(wire.Window)) }},
		"a head, for the flusher": {head, body{},
			func(st *stream) { st.out.push(chunkOf(make([]byte, maxOut-some))) },
			func(*stream) {},
			func(st *stream) error { _, c := st.sendLocked(nil); c.free(); return nil }},
		"a head, for the session": {head, body{},
			func(st *stream) { st.s.heldOut = st.s.mostHeld - some },
			func(*stream) {},
			func(st *stream) error { st.s.heldOut = 0; st.s.easeLocked(); return nil }},
		"a body, for the session": {"0123456789", body{kind: sizedBody, left: 10},
			func(st *stream) { st.s.heldOut = st.s.mostHeld },
			func(st *stream) { st.s.heldOut -= some; st.s.easeLocked() },
			func(st *stream) error { st.s.heldOut = 0; st.s.easeLocked(); return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			near, _ := tcpPair(t)
			f := &front{conn: near, visitor: netip.MustParseAddr("192.0.2.1"), patient: time.Minute, host: "a.test"}
			f.held, f.body = chunkOf([]byte(c.held)), c.body
			st := carried(t, near, f)
			s := st.s
			s.metrics = newMetrics(nil, nil)
			locked := func(do func(*stream)) { s.mu.Lock(); defer s.mu.Unlock(); do(st) }
			locked(c.short)
			waits := st.out.bytes
			if err := st.ask(); err != nil || st.out.bytes != waits {
				t.Fatalf("%v; sent %d bytes without room", err, st.out.bytes-waits)
			}
			locked(c.later)
			if n, _ := st.room(); n != 0 || st.poked {
				t.Fatalf("room to read %d bytes, poked %v", n, st.poked)
			}
			locked(func(st *stream) {
				if err := c.room(st); err != nil {
					t.Error(err)
				}
			})
			if !st.poked {
				t.Fatal("nobody pokes the pump")
			}
			if err := st.ask(); err != nil || f.held != nil || st.out.bytes < len(c.held) {
				t.Errorf("%v; %d bytes wait to be flushed", err, st.out.bytes)
			}
		})
	}
}
