package tunnel

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// Uploads of which a part is left when their stream is given up, and answers of which
// nothing is.

// At the drain deadline a TCP visitor is cut, and its origin is told so: an orderly end
// would say that this was all.
func TestOriginOfCutVisitor(t *testing.T) {
	w := newWorld(t, func(c *ServerConfig) { c.MaxRequests, c.DrainDeadline = 1, 200*time.Millisecond })
	heard := make(chan error, 1)
	w.client(origin(t, func(conn *net.TCPConn) {
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			heard <- err
			return
		}
		_, err := conn.Read(make([]byte, 1))
		heard <- err
	}), nil)
	visitor := w.visitTCP()
	say(t, visitor, "x")
	if err := take(t, heard); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the origin heard %v, want a reset", err)
	}
	if _, err := visitor.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the visitor heard %v, want a reset", err)
	}
	metric(t, w.server.AdminAddr(), `tunnel_stream_resets_total{reason="gone"} 1`)
}

// A visitor moves on when all that it has sent on this stream is gone, and then at once:
// what waits would be lost with the stream.
func TestVisitorMovesWhenAllIsSent(t *testing.T) {
	near, _ := tcpPair(t)
	st := carried(t, near, &front{asked: 1}) // answered before the end of its body was flushed
	s := st.s
	s.metrics = newMetrics(nil, nil)
	s.away = true
	st.sendOn(chunkOf([]byte("the end of a body")))
	if err := st.ask(); err != nil {
		t.Errorf("moves with %d bytes to send: %v", st.out.bytes, err)
	}
	s.mu.Lock()
	s.ready.take().sendLocked(nil)
	poked := st.poked
	s.mu.Unlock()
	if !poked {
		t.Error("nobody wakes the pump when all is sent")
	}
	if err := st.ask(); err != errMoved {
		t.Errorf("does not move: %v", err)
	}
}

// A stream that the far end has given up in order ends so only if its connection takes
// all that came before.
func TestRestOfGivenUpStream(t *testing.T) {
	const rest = 16 * wire.MaxData
	for name, reads := range map[string]bool{"taken": true, "not taken": false} {
		t.Run(name, func(t *testing.T) {
			near, far := tcpPair(t)
			if err := errors.Join(near.SetWriteBuffer(16<<10), far.SetReadBuffer(16<<10)); err != nil {
				t.Fatal(err)
			}
			st := carried(t, near, nil)
			st.s.mu.Lock()
			for range rest / wire.MaxData {
				st.in.push(chunkOf(make([]byte, wire.MaxData)))
			}
			st.resetLocked(&resetError{code: wire.Drained, text: "moved", far: true}, false)
			st.s.mu.Unlock()
			most := lastWords
			if reads {
				most = hung
				go func() { _, _ = io.Copy(io.Discard, far) }() // until the test closes it
			}
			if err := st.finish(near, most); drained(err) != reads {
				t.Errorf("ends with %v", err)
			}
		})
	}
}
