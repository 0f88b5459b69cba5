package tunnel

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// What a client must not send after its login. stream is one that is open.
func TestBrokenRules(t *testing.T) {
	big := make([]byte, wire.MaxData)
	for name, broken := range map[string]func(stream uint32) []byte{
		"AUTH again":          func(uint32) []byte { return wire.Append(nil, wire.Auth, 0, make([]byte, 64)) },
		"AUTHOK":              func(uint32) []byte { return wire.Append(nil, wire.AuthOK, 0, welcome) },
		"OPEN":                func(st uint32) []byte { return wire.AppendOpen(nil, st+1, wire.TCP, "") },
		"DATA never opened":   func(st uint32) []byte { return wire.Append(nil, wire.Data, st+1, []byte("x")) },
		"CREDIT never opened": func(st uint32) []byte { return wire.AppendCredit(nil, st+1, 1) },
		"CREDIT of nothing":   func(st uint32) []byte { return wire.AppendCredit(nil, st, 0) },
		"CREDIT over window":  func(st uint32) []byte { return wire.AppendCredit(nil, st, wire.MaxWindow) },
		"DATA after FIN": func(st uint32) []byte {
			return wire.Append(wire.Append(nil, wire.Fin, st, nil), wire.Data, st, []byte("x"))
		},
		"FIN after FIN": func(st uint32) []byte {
			return wire.Append(wire.Append(nil, wire.Fin, st, nil), wire.Fin, st, nil)
		},
		"oversized DATA": func(st uint32) []byte { return wire.AppendHeader(nil, wire.Data, st, wire.MaxData+1) },
		"unknown frame":  func(st uint32) []byte { return wire.AppendHeader(nil, 99, st, 0) },
		"credit overrun": func(st uint32) []byte {
			var all []byte
			for range 2 * wire.MaxWindow / len(big) { // more than all buffers of a visitor that reads nothing
				all = wire.Append(all, wire.Data, st, big)
			}
			return all
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			c := w.rawLogin(wire.Login{Name: "a.test", Port: uint16(w.port), Token: secret})
			visitor := w.visitTCP()
			_ = visitor.SetReadBuffer(16 << 10)
			say(t, visitor, "x")
			c.want(wire.Data)
			// The write fails half-way when the server has had enough.
			_, _ = c.conn.Write(broken(1))
			eventually(t, "the session ended for breaking the rules", func() bool {
				return w.log.has("detector=protocol") && w.log.has("msg=logout")
			})
			if name == "credit overrun" && !w.log.has("with a credit of") {
				t.Errorf("ended for something else:\n%s", w.log.text.String())
			}
			c.wantEnd()
			wantAllEnded(t, []*net.TCPConn{visitor})
			if l, _ := w.server.registry.find("a.test"); l != nil {
				t.Error("the name is still taken")
			}
		})
	}
}

// What a client may send: nothing of it ends the session.
func TestKeptRules(t *testing.T) {
	w := newWorld(t, nil)
	c := w.rawLogin(wire.Login{Name: "a.test", Port: uint16(w.port), Token: secret})
	visitor := w.visitTCP()
	say(t, visitor, "x")
	if f := c.want(wire.Data); f.Stream != 1 || string(f.Payload) != "x" {
		t.Fatalf("got DATA %q on stream %d", f.Payload, f.Stream)
	}
	c.send(wire.Append(nil, wire.Data, 1, []byte("hello")))
	hear(t, visitor, "hello")
	c.send(wire.AppendReason(nil, wire.Reset, 1, wire.Gone, "test"))
	if _, err := visitor.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("RESET reached the visitor as %v", err)
	}
	eventually(t, "no stream is left", func() bool { return w.streams() == 0 })
	// Late frames for a stream that is over are no crime.
	late := wire.Append(nil, wire.Data, 1, []byte("late"))
	late = wire.AppendCredit(late, 1, 1)
	late = wire.Append(late, wire.Fin, 1, nil)
	ping := []byte("12345678")
	c.send(wire.Append(late, wire.Ping, 0, ping))
	if f := c.want(wire.Pong); !bytes.Equal(f.Payload, ping) {
		t.Errorf("PONG says %q", f.Payload)
	}
	// An absurd PONG is only not shown.
	c.send(wire.Append(nil, wire.Pong, 0, binary.BigEndian.AppendUint64(nil, 1<<63)))
	c.send(wire.Append(nil, wire.Ping, 0, ping))
	c.want(wire.Pong)
}

// welcome is the payload of an AUTHOK that allows one session.
var welcome = wire.Welcome{Key: wire.Key{1}, Most: 1, ID: "1.0"}.Append(nil)

// fakeServer accepts one login and hands the session to speak.
func fakeServer(t *testing.T, speak func(*tls.Conn, *wire.Reader)) string {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(filepath.Join(certs, "cert.pem"), filepath.Join(certs, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return origin(t, func(conn *net.TCPConn) {
		secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true})
		frames := wire.NewReader(secure)
		if f, err := frames.Next(); err != nil || f.Type != wire.Auth {
			return
		}
		speak(secure, frames)
	})
}

// What a server must not send to a client.
func TestClientKnowsTheRules(t *testing.T) {
	for name, frames := range map[string][]byte{
		"OPEN out of turn":     wire.AppendOpen(nil, 2, wire.TCP, ""),
		"OPEN of unknown kind": wire.Append(nil, wire.Open, 1, []byte{7}),
		"FIN never opened":     wire.Append(nil, wire.Fin, 1, nil),
		"REFUSED too late":     wire.AppendReason(nil, wire.Refused, 0, wire.Denied, ""),
	} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			address := fakeServer(t, func(conn *tls.Conn, in *wire.Reader) {
				_, _ = conn.Write(append(wire.Append(nil, wire.AuthOK, 0, welcome), frames...))
				for { // until the client closes
					if _, err := in.Next(); err != nil {
						return
					}
				}
			})
			w := &world{t: t, server: &Server{}, port: 0}
			cfg := ClientConfig{
				Server: address, CA: filepath.Join(certs, "ca.pem"), Token: secret, Name: "a.test",
				HTTPTo: "127.0.0.1:1", Liveness: w.timings, Backoff: 10 * time.Millisecond, BackoffCap: 50 * time.Millisecond,
			}
			c := runClient(t, cfg)
			eventually(t, "the client ended the session", func() bool { return c.log.has("detector=protocol") })
		})
	}
}

// A client over its limit of streams refuses the next one, and only that.
func TestClientLimit(t *testing.T) {
	noLeak(t)
	h := newHolder(t)
	got := make(chan string, 1)
	address := fakeServer(t, func(conn *tls.Conn, in *wire.Reader) {
		all := wire.Append(nil, wire.AuthOK, 0, welcome)
		all = wire.AppendOpen(all, 1, wire.TCP, "v1")
		all = wire.AppendOpen(all, 2, wire.TCP, "v2")
		all = wire.Append(all, wire.Data, 1, []byte("x"))
		_, _ = conn.Write(all)
		for {
			f, err := in.Next()
			if err != nil {
				return
			}
			if f.Type == wire.Reset {
				code, _ := wire.ParseReason(f.Payload)
				got <- strings.Join([]string{"stream", string(rune('0' + f.Stream)), code.String()}, " ")
			}
		}
	})
	c := runClient(t, ClientConfig{
		Server: address, CA: filepath.Join(certs, "ca.pem"), Token: secret, Name: "a.test", TCPTo: h.address, MaxStreams: 1, Admin: "127.0.0.1:0",
	})
	if reason := take(t, got); reason != "stream 2 limit" {
		t.Errorf("got a RESET of %s", reason)
	}
	metric(t, c.admin.address(), `tunnel_refusals_total{at="stream",reason="limit"} 1`)
	take(t, h.in)
}
