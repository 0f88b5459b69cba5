package tunnel

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// What a visitor sends behind its last request does not follow the FIN: the other end
// would take that for a broken rule, and end the session with all its streams.
func TestNothingFollowsFIN(t *testing.T) {
	w := newWorld(t, nil)
	c := w.rawLogin(wire.Login{Name: "a.test", Token: secret})
	visitor := dial(t, w.server.HTTPAddr())
	say(t, visitor, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n")
	c.want(wire.Data)
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	c.send(wire.Append(nil, wire.Data, 1, []byte(answer)))
	// The visitor reads its end when the stream is over: later no DATA can come.
	for fin, asked := false, false; ; {
		f, err := c.frames.Next()
		if err != nil {
			t.Fatal(err)
		}
		switch f.Type {
		case wire.Data:
			t.Fatalf("DATA with FIN before it %v: %q", fin, f.Payload)
		case wire.Fin:
			fin = true
			c.send(wire.Append(nil, wire.Fin, 1, nil))
			hear(t, visitor, answer)
			if n, err := visitor.Read(make([]byte, 1)); err != io.EOF {
				t.Fatalf("behind its answer the visitor read %d bytes, %v", n, err)
			}
			visitor.Close()
			eventually(t, "no stream is left", func() bool { return w.streams() == 0 })
			c.send(wire.Append(nil, wire.Ping, 0, []byte("12345678")))
			asked = true
		case wire.Pong:
			if asked {
				return
			}
		}
	}
}

// asking is a stream whose front holds what a visitor has sent.
func asking(t *testing.T, held string) *stream {
	t.Helper()
	near, _ := tcpPair(t)
	f := &front{conn: near, visitor: netip.MustParseAddr("192.0.2.1"), patient: hung, host: "a.test", held: chunkOf([]byte(held))}
	t.Cleanup(f.clear)
	st := carried(t, near, f)
	st.s.metrics = newMetrics(nil, nil)
	return st
}

// locked does something to the stream that is done under its mutex.
func (st *stream) locked(do func()) {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	do()
}

// A stream that has ended takes nothing more, whoever has ended it, and whatever its
// pump was about to send: it forgets what it holds, and no deadline of a head is left.
func TestNothingIsSentAfterTheEnd(t *testing.T) {
	const head = "GET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n"
	for name, c := range map[string]struct {
		held string
		body body
		end  func(*stream)
		last func(*stream) error // what the pump does
	}{
		"a head, after the last answer":  {head, body{}, func(st *stream) { st.front.open, st.front.last = true, true; st.answeredAllLocked() }, (*stream).ask},
		"a head, after the origin's end": {head, body{}, (*stream).endedLocked, (*stream).ask},
		"a body":                         {"0123456789", body{kind: sizedBody, left: 10}, (*stream).endedLocked, (*stream).ask},
		"a head, looked at before": {head, body{}, (*stream).endedLocked,
			func(st *stream) error { _, err := st.askNext(); return err }},
		"bytes, read before": {head, body{}, (*stream).endedLocked,
			func(st *stream) error { st.sendOn(st.front.cut(len(head))); return nil }},
		"a part of a head, late": {"GET /2", body{}, (*stream).endedLocked,
			func(st *stream) error { st.front.since = time.Now().Add(-hung); return st.ask() }},
	} {
		t.Run(name, func(t *testing.T) {
			st := asking(t, c.held)
			st.front.body = c.body
			st.locked(func() {
				c.end(st)
				st.s.ready.take()
				if _, frame := st.sendLocked(nil); frame != nil || !st.finSent {
					t.Fatal("no FIN")
				}
			})
			if err := c.last(st); err != nil {
				t.Error(err)
			}
			if err := st.ask(); err != nil || st.front.held != nil || !st.front.deadline().IsZero() {
				t.Errorf("%v; held %v, deadline %v", err, st.front.held, st.front.deadline())
			}
			st.locked(func() {
				if st.out.bytes > 0 || st.s.ready.first != nil {
					t.Errorf("%d bytes follow the FIN", st.out.bytes)
				}
			})
		})
	}
}

// A request that came while the answer before it was open is sent before its visitor's
// end is read: that of the stream would be before the request.
func TestHeldRequestGoesBeforeTheEnd(t *testing.T) {
	st := asking(t, "GET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n")
	st.locked(func() { st.front.open = true })
	if err := st.ask(); err != nil || st.out.bytes > 0 {
		t.Fatalf("%v; sent %d bytes before the answer has ended", err, st.out.bytes)
	}
	st.answeredAll()
	if n, _ := st.room(); n > 0 || !st.poked {
		t.Errorf("may read %d bytes; poked %v", n, st.poked)
	}
	if err := st.ask(); err != nil || st.front.held != nil || st.out.bytes == 0 {
		t.Errorf("%v; sent %d bytes", err, st.out.bytes)
	}
}

// A head is late also while the session has no room for it, and only if it is: the rest
// may have come in time.
func TestLateWithoutRoom(t *testing.T) {
	for name, c := range map[string]struct {
		rest string
		late bool
	}{
		"a part":   {"", true},
		"the rest": {" / HTTP/1.1\r\nHost: a.test\r\n\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			st := asking(t, "GET")
			if err := st.ask(); err != nil || st.front.since.IsZero() {
				t.Fatalf("%v; a part of a head has not begun", err)
			}
			st.s.heldOut = st.s.mostHeld
			if c.rest != "" {
				st.front.hold(chunkOf([]byte(c.rest)))
				if err := st.ask(); err != nil {
					t.Fatal(err)
				}
			}
			st.front.since = time.Now().Add(-hung)
			err := st.ask()
			if page := (*httpError)(nil); errors.As(err, &page) != c.late || c.late && page.status != http.StatusRequestTimeout {
				t.Errorf("got %v", err)
			}
			st.s.heldOut = 0 // none was held
		})
	}
}
