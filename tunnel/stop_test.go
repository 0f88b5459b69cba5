package tunnel

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// The end of each test stops what it started, and demands that it ends and leaves
// nothing. Here it comes at awkward moments, and must not wait for any of them: by
// itself none of them would pass in the time that is given.
var awkward = Liveness{
	Heartbeat: Off, Flush: Off, SessionUserTimeout: Off, EdgeUserTimeout: Off, HalfClose: Off,
	Handshake: time.Hour, Dial: time.Hour,
}

func TestStopServerInTheMiddle(t *testing.T) {
	w := newWorld(t, func(c *ServerConfig) { c.Liveness = awkward })
	dial(t, w.server.Addr())                                                                 // a handshake
	rawTLS(t, w.server.Addr())                                                               // AUTH
	say(t, dial(t, w.server.HTTPAddr()), "GET ")                                             // a head
	say(t, dial(t, w.server.HTTPAddr()), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")                // a page, lingering
	w.rawLogin(wire.Login{Name: "b.test", Token: secret})                                    // an idle login
	c := w.rawLogin(wire.Login{Name: "a.test", Port: uint16(w.port), Token: secret})         // a busy one
	say(t, dial(t, w.server.HTTPAddr()), "GET / HTTP/1.1\r\nHost: a.test\r\n\r\nsome bytes") // a request
	for range 200 {
		conn := w.visitTCP() // uploads that the client does not take: the flusher is stuck
		_ = conn.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := conn.Write(make([]byte, wire.Window)); err != nil {
			break
		}
	}
	stopServer(t, w.server)
	c.wantEnd()
}

func TestStopClientInTheMiddle(t *testing.T) {
	silent := func(t *testing.T) string {
		return origin(t, func(conn *net.TCPConn) { _, _ = io.Copy(io.Discard, conn) })
	}
	for name, server := range map[string]func(t *testing.T) string{
		"waiting to reconnect": func(t *testing.T) string { return "127.0.0.1:1" },
		"TLS unanswered":       silent,
		"AUTH unanswered": func(t *testing.T) string {
			return fakeServer(t, func(_ *tls.Conn, in *wire.Reader) { _, _ = in.Next() })
		},
		"session stuck": func(t *testing.T) string {
			return fakeServer(t, func(conn *tls.Conn, in *wire.Reader) {
				_, _ = conn.Write(wire.Append(nil, wire.AuthOK, 0, welcome))
				_, _ = conn.Write(wire.AppendOpen(nil, 1, wire.TCP, ""))
				_, _ = io.Copy(io.Discard, conn.NetConn())
			})
		},
		// A dial that is not answered: the listener's queue is full.
		"dialling": fullListener,
	} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			cfg := (&world{server: &Server{listener: fakeListener(t)}}).config(fullListener(t))
			cfg.Server, cfg.Port = server(t), 0
			cfg.Liveness, cfg.Backoff, cfg.BackoffCap = awkward, time.Hour, time.Hour
			c := runClient(t, cfg)
			time.Sleep(150 * time.Millisecond) // the moment is not exact, and need not be
			c.end(t)
			if c.err != nil {
				t.Errorf("stopped with %v", c.err)
			}
		})
	}
}

// fakeListener is only an address.
func fakeListener(t *testing.T) *net.TCPListener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.(*net.TCPListener)
}

// A listener that fails to accept is asked again ever more slowly, and the loop
// ends when told.
func TestAcceptBacksOff(t *testing.T) {
	noLeak(t)
	ln := fakeListener(t)
	if err := ln.SetDeadline(past); err != nil { // each Accept fails at once
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		book := &logBook{}
		done := make(chan struct{})
		go func() {
			defer close(done)
			acceptLoop(ctx, ln, book.logger(), newMetrics(nil, nil), func(conn *net.TCPConn) { conn.Close() })
		}()
		time.Sleep(400 * time.Millisecond) // at 0, 5, 15, 35, 75, 155 and 315 ms; next at 635
		if n := book.count("cannot accept"); n != 7 {
			t.Errorf("asked %d times in 400 ms, want 7", n)
		}
		cancel()
		synctest.Wait()
		select {
		case <-done:
		default:
			t.Error("the loop does not end when told")
		}
		<-done
	})
}
