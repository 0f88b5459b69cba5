package tunnel

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// metric waits until a line of /metrics is as wanted.
func metric(t *testing.T, address, line string) {
	t.Helper()
	last := ""
	defer func() {
		if t.Failed() {
			t.Logf("never %q in\n%s", line, last)
		}
	}()
	eventually(t, line, func() bool {
		_, last = get(t, address, "/metrics")
		return strings.Contains("\n"+last, "\n"+line+"\n")
	})
}

// A visitor that never asks is reset, and hears no reason: the server counts it.
func TestSilentVisitorIsCounted(t *testing.T) {
	w := newWorld(t, func(c *ServerConfig) { c.Handshake = 200 * time.Millisecond })
	visitor := dial(t, w.server.HTTPAddr())
	if _, err := visitor.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v, want a reset", err)
	}
	metric(t, w.server.AdminAddr(), `tunnel_refusals_total{at="visitor",reason="silent"} 1`)
}

// Each gauge goes up with its resource, comes back to its base, and counters
// tell why.
func TestMetrics(t *testing.T) {
	// Without heartbeats, of which one could be unread when the client closes: that is a
	// RST, and the kernel's find.
	w := newWorld(t, func(c *ServerConfig) { c.MaxPreAuth, c.Heartbeat = 50, Off })
	admin := w.server.AdminAddr()
	for _, gauge := range []string{"logins", "names", "ports", "sessions", "streams", "pre_auth_connections", "head_connections", "queued_in_bytes", "queued_out_bytes", "draining_sessions"} {
		metric(t, admin, "tunnel_"+gauge+" 0")
	}
	metric(t, admin, `tunnel_limit{of="pre_auth_connections"} 50`)
	silent, head := dial(t, w.server.Addr()), dial(t, w.server.HTTPAddr())
	metric(t, admin, "tunnel_pre_auth_connections 1")
	metric(t, admin, "tunnel_head_connections 1")
	silent.Close()
	head.Close()
	metric(t, admin, "tunnel_pre_auth_connections 0")
	metric(t, admin, "tunnel_head_connections 0")
	metric(t, admin, `tunnel_refusals_total{at="login",reason="handshake"} 1`)

	h := newHolder(t)
	c := w.client(h.address, nil)
	visitors := w.visitAll(1)
	for range visitors {
		take(t, h.in)
	}
	for _, address := range []string{admin, c.admin.address()} {
		metric(t, address, "tunnel_logins 1")
		metric(t, address, "tunnel_sessions 1")
		metric(t, address, "tunnel_streams 2")
		metric(t, address, "tunnel_logins_total 1")
	}
	metric(t, admin, "tunnel_names 1")
	metric(t, admin, "tunnel_ports 1")
	metric(t, admin, "tunnel_requests_total 2")
	for _, conn := range visitors {
		abort(conn)
		conn.Close()
	}
	metric(t, admin, `tunnel_stream_resets_total{reason="gone"} 2`)
	metric(t, c.admin.address(), "tunnel_streams 0")
	w.request("GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n")
	metric(t, admin, `tunnel_refusals_total{at="visitor",reason="404"} 1`)
	c.end(t)
	metric(t, admin, `tunnel_session_ends_total{detector="peer"} 1`)
	for _, gauge := range []string{"logins", "names", "ports", "sessions", "streams"} {
		metric(t, admin, "tunnel_"+gauge+" 0")
	}
}

// Each limit refuses the one too many, and says why.
func TestLimits(t *testing.T) {
	w := newWorld(t, func(c *ServerConfig) { c.MaxLogins, c.RefuseSameName = 1, true })
	ask := func(name string) (wire.Code, string) {
		c := rawTLS(t, w.server.Addr())
		c.send(wire.Append(nil, wire.Auth, 0, wire.Login{Name: name, Token: secret}.Append(nil)))
		code, text := wire.ParseReason(c.want(wire.Refused).Payload)
		c.wantEnd()
		return code, text
	}
	w.client(newHolder(t).address, nil) // refused at once would be a reset at once
	if code, text := ask("b.test"); code != wire.Limit || text != "1 logins are the most here" {
		t.Errorf("a login too many: %v %s", code, text)
	}
	if code, text := ask("a.test"); code != wire.Busy || text != "the name is taken" {
		t.Errorf("a second login for a name: %v %s", code, text)
	}
	metric(t, w.server.AdminAddr(), `tunnel_refusals_total{at="login",reason="limit"} 1`)
	metric(t, w.server.AdminAddr(), `tunnel_refusals_total{at="login",reason="busy"} 1`)
	if l, _ := w.server.registry.find("a.test"); l == nil || l.port != uint16(w.port) {
		t.Error("the first login lost something")
	}
	conn := w.visitTCP()
	conn.Close()
}

// A TCP visitor is refused because the login's streams are full, or because no session
// takes any: which of the two is counted.
func TestRefusedVisitorIsCounted(t *testing.T) {
	w := newWorld(t, func(c *ServerConfig) { c.MaxStreams = 1 })
	h := newHolder(t)
	c := w.client(h.address, nil)
	say(t, w.visitTCP(), "x")
	take(t, h.in)
	refused := func(reason string) {
		t.Helper()
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", w.port))
		if err == nil { // else reset so soon that the dial saw it
			conn.Close()
		}
		metric(t, w.server.AdminAddr(), `tunnel_refusals_total{at="visitor",reason="`+reason+`"} 1`)
	}
	refused("limit")
	c.Drain()
	eventually(t, "the session is drained", func() bool { return w.server.held().Draining == 1 })
	refused("no session")
}
