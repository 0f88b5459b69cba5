package tunnel

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// A returning client gets its name and port at once, though the server still
// believes in the old login; and when the old one is torn down, they stay.
func TestTakeover(t *testing.T) {
	w := newWorld(t, nil)
	login := wire.Login{Name: "a.test", Port: uint16(w.port), Token: secret}
	old := w.rawLogin(login)
	visitor := w.visitTCP()
	say(t, visitor, "x")
	old.want(wire.Data)

	h := newHolder(t)
	c := w.client(h.address, nil)
	old.wantEnd()
	wantAllEnded(t, []*net.TCPConn{visitor})
	eventually(t, "the old login's teardown is over", func() bool { return w.log.has("detector=takeover") })

	if l, _ := w.server.registry.find("a.test"); l == nil || l.sessions()[0].id != c.session(0).id {
		t.Error("the old login's teardown took the new one's name")
	}
	say(t, w.visitTCP(), "x")
	take(t, h.in)
	say(t, dial(t, w.server.HTTPAddr()), "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	take(t, h.in)
	if w.log.count("msg=logout") != 1 || c.log.has("msg=logout") {
		t.Error("more than the old login ended")
	}
}

// Logins for one name in a row, and then their ends: the last one has it.
func TestTakeoverStorm(t *testing.T) {
	w := newWorld(t, nil)
	login := wire.Login{Name: "a.test", Port: uint16(w.port), Token: secret}
	var last *rawClient
	for range 20 {
		last = w.rawLogin(login)
	}
	eventually(t, "all others are gone", func() bool { return w.log.count("detector=takeover") == 19 })
	say(t, w.visitTCP(), "x")
	last.want(wire.Data)
	last.tcp.Close()
	eventually(t, "the last is gone", func() bool { return w.log.count("msg=logout") == 20 })
	if l, known := w.server.registry.find("a.test"); l != nil || !known {
		t.Error("the name is still taken")
	}
	if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", w.port)); err == nil {
		conn.Close()
		t.Error("the port is still open")
	}
	if resp, _ := w.request("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"); resp.StatusCode != 503 {
		t.Errorf("got %d, want 503", resp.StatusCode)
	}
}

// Another name may not take the port; the same client may change its port.
func TestPortBelongsToName(t *testing.T) {
	w := newWorld(t, nil)
	login := wire.Login{Name: "a.test", Port: uint16(w.port), Token: secret}
	w.rawLogin(login)
	thief := rawTLS(t, w.server.Addr())
	login.Name = "b.test"
	thief.send(wire.Append(nil, wire.Auth, 0, login.Append(nil)))
	if code, _ := wire.ParseReason(thief.want(wire.Refused).Payload); code != wire.Busy {
		t.Errorf("refused with %v, want busy", code)
	}
	thief.wantEnd()
	login.Name, login.Port = "a.test", 0
	w.rawLogin(login)
	login.Name, login.Port = "b.test", uint16(w.port)
	b := w.rawLogin(login)
	say(t, w.visitTCP(), "x")
	b.want(wire.Data)
}

// A port that another process holds is refused, for now: the client goes on.
func TestPortInUse(t *testing.T) {
	w := newWorld(t, nil)
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", w.port))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c := runClient(t, w.config("127.0.0.1:1"))
	eventually(t, "refused twice", func() bool { return c.log.count("port taken") >= 2 })
	if l, _ := w.server.registry.find("a.test"); l != nil {
		t.Error("a refused login holds the name")
	}
	ln.Close()
	eventually(t, "logged in", c.healthy)
}

func TestRefusedForGood(t *testing.T) {
	for name, wrong := range map[string]func(*ClientConfig){
		"token": func(c *ClientConfig) { c.Token = "guess" },
		"name":  func(c *ClientConfig) { c.Name = "other.test" },
		"port":  func(c *ClientConfig) { c.Port = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			cfg := w.config("127.0.0.1:1")
			wrong(&cfg)
			c := runClient(t, cfg)
			select {
			case <-c.done:
			case <-time.After(patience):
				t.Fatal("the client goes on")
			}
			if !errors.Is(c.err, ErrRefused) {
				t.Errorf("got %v, want ErrRefused", c.err)
			}
			if w.log.has(secret) || w.log.has("guess") || c.log.has(secret) || c.log.has("guess") {
				t.Error("a secret was logged")
			}
		})
	}
}

// Whoever never finishes its handshake is dropped: without a byte, in the middle
// of TLS, after TLS, with garbage; and an HTTP visitor in the middle of a head.
func TestUnfinishedHandshakes(t *testing.T) {
	const limit = 5 * time.Second // longer than a busy machine stands still in a handshake
	w := newWorld(t, func(c *ServerConfig) { c.Handshake = limit })
	start := time.Now()
	tcp := map[string]net.Conn{}
	for _, name := range []string{"silent", "half of a hello", "garbage", "silent visitor", "half of a head"} {
		address := w.server.Addr()
		if strings.Contains(name, "visitor") || strings.Contains(name, "head") {
			address = w.server.HTTPAddr()
		}
		tcp[name] = dial(t, address)
	}
	say(t, tcp["half of a hello"], "\x16\x03\x01\x02\x00\x01\x00")
	say(t, tcp["garbage"], strings.Repeat("GET / HTTP/1.1\r\n\r\n", 10))
	say(t, tcp["half of a head"], "GET / HTTP/1.1\r\nHost: a.te")
	tcp["no AUTH"] = rawTLS(t, w.server.Addr()).tcp
	half := rawTLS(t, w.server.Addr())
	half.send(wire.AppendHeader(nil, wire.Auth, 0, 100))
	tcp["half of AUTH"] = half.tcp
	early := rawTLS(t, w.server.Addr())
	early.send(wire.Append(nil, wire.Ping, 0, make([]byte, 8)))
	tcp["PING before AUTH"] = early.tcp
	for name, conn := range tcp {
		renew(conn)
		all, err := io.ReadAll(conn)
		if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
			t.Errorf("%s: not dropped", name)
		}
		if name == "half of a head" && !strings.HasPrefix(string(all), "HTTP/1.1 408 ") {
			t.Errorf("%s: answered %q", name, all)
		}
	}
	if took := time.Since(start); took < limit {
		t.Errorf("all dropped after %v, want %v", took, limit)
	}
	eventually(t, "no place is taken", func() bool {
		return w.server.preAuth.taken.Load() == 0 && w.server.heads.taken.Load() == 0
	})
}

func TestPreAuthLimit(t *testing.T) {
	w := newWorld(t, func(c *ServerConfig) { c.MaxPreAuth = 2 })
	for range 2 {
		dial(t, w.server.Addr())
		dial(t, w.server.HTTPAddr())
	}
	eventually(t, "all places are taken", func() bool {
		return w.server.preAuth.taken.Load() == 2 && w.server.heads.taken.Load() == 2
	})
	for _, address := range []string{w.server.Addr(), w.server.HTTPAddr()} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			continue // reset so soon that the dial saw it
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, err = conn.Read(make([]byte, 1))
		if ne := net.Error(nil); err == nil || errors.As(err, &ne) && ne.Timeout() {
			t.Errorf("%s: one too many is kept: %v", address, err)
		}
		conn.Close()
	}
}
