package tunnel

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// four logs a client in with four sessions, and returns the login.
func (w *world) four(origin string, set func(*ClientConfig)) (*testClient, *login) {
	w.t.Helper()
	c := w.client(origin, func(c *ClientConfig) {
		c.Sessions = 4
		if set != nil {
			set(c)
		}
	})
	l, _ := w.server.registry.find("a.test")
	if l == nil {
		w.t.Fatal("not logged in")
	}
	return c, l
}

// loads is how many streams each session of the login has, by slot.
func loads(l *login) (n []int64) {
	for _, s := range l.sessions() {
		n = append(n, s.load.Load())
	}
	return n
}

func TestStreamsAreSpread(t *testing.T) {
	w := newWorld(t, nil)
	h := newHolder(t)
	_, l := w.four(h.address, nil)
	visitors := w.visitAll(6)
	for range visitors {
		take(t, h.in)
	}
	if got := loads(l); !slices.Equal(got, []int64{3, 3, 3, 3}) {
		t.Fatalf("twelve streams are spread as %v", got)
	}
	// Who leaves makes room for the next: the least busy session gets it.
	visitors[0].Close()
	take(t, h.out)
	eventually(t, "one is gone", func() bool { return w.streams() == 11 })
	say(t, w.visitTCP(), "x")
	take(t, h.in)
	if got := loads(l); !slices.Equal(got, []int64{3, 3, 3, 3}) {
		t.Errorf("after one left and one came: %v", got)
	}
}

// A session that dies takes its own visitors with it, no others, and is replaced.
func TestOneSessionDies(t *testing.T) {
	w := newWorld(t, nil)
	h := newHolder(t)
	c, l := w.four(h.address, nil)
	visitors := w.visitAll(4)
	for range visitors {
		take(t, h.in)
	}
	old := c.session(2)
	old.end(cause{byKernel, net.ErrClosed})
	for range 2 {
		take(t, h.out)
	}
	eventually(t, "replaced, at both ends", func() bool {
		s := c.session(2)
		return s != nil && s != old && len(l.sessions()) == 4 && w.streams() == 6
	})
	if w.log.has("msg=logout") || w.log.count("msg=login") != 1 {
		t.Errorf("the login ended with one of its sessions:\n%s", w.log.text.String())
	}
	for range 4 {
		say(t, w.visitTCP(), "x")
		take(t, h.in)
	}
	if got := loads(l); slices.Max(got)-slices.Min(got) > 1 {
		t.Errorf("the new session gets none of the new streams: %v", got)
	}
}

// The name goes with the last session, not before.
func TestLastSessionFreesName(t *testing.T) {
	w := newWorld(t, nil)
	login := wire.Login{Name: "a.test", Port: uint16(w.port), Token: secret}
	first, welcome := w.rawJoin(login)
	login.Key, login.Slot = welcome.Key, 7
	second, _ := w.rawJoin(login)
	first.tcp.Close()
	eventually(t, "one session has ended", func() bool { return w.log.has(`msg="session ended"`) })
	visitor := w.visitTCP()
	say(t, visitor, "x")
	second.want(wire.Data)
	second.tcp.Close()
	eventually(t, "the login has ended", func() bool { return w.log.has("msg=logout") })
	if l, _ := w.server.registry.find("a.test"); l != nil {
		t.Error("the name is still taken")
	}
	if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", w.port)); err == nil {
		conn.Close()
		t.Error("the port is still open")
	}
	wantAllEnded(t, []*net.TCPConn{visitor})
}

// rawJoin is rawLogin, and what the server answered.
func (w *world) rawJoin(l wire.Login) (*rawClient, wire.Welcome) {
	w.t.Helper()
	c := rawTLS(w.t, w.server.Addr())
	c.send(wire.Append(nil, wire.Auth, 0, l.Append(nil)))
	return c, wire.ParseWelcome(c.want(wire.AuthOK).Payload)
}

// Joining needs the key of the login that holds the name now.
func TestJoin(t *testing.T) {
	w := newWorld(t, func(c *ServerConfig) { c.MaxSessions = 2 })
	login := wire.Login{Name: "a.test", Port: uint16(w.port), Token: secret}
	first, welcome := w.rawJoin(login)
	if welcome.Most != 2 || welcome.ID != "1.0" {
		t.Errorf("welcomed with %+v", welcome)
	}
	refuse := func(what string, l wire.Login, want wire.Code) {
		t.Helper()
		c := rawTLS(t, w.server.Addr())
		c.send(wire.Append(nil, wire.Auth, 0, l.Append(nil)))
		if code, _ := wire.ParseReason(c.want(wire.Refused).Payload); code != want {
			t.Errorf("%s: refused with %v, want %v", what, code, want)
		}
		c.wantEnd()
	}
	join := login
	join.Key, join.Slot = welcome.Key, 1
	guess := join
	guess.Key[15] ^= 1
	refuse("wrong key", guess, wire.Over)
	other := join
	other.Name, other.Port = "b.test", 0
	refuse("another name", other, wire.Over)
	many := join
	many.Slot = 2
	refuse("a slot too many", many, wire.Limit)
	wrong := join
	wrong.Token = "guess"
	refuse("wrong token", wrong, wire.Denied)

	second, named := w.rawJoin(join)
	again, renamed := w.rawJoin(join) // its slot is taken: the older one must be dead
	second.wantEnd()
	if named.ID != "1.1" || renamed.ID != "1.1.1" { // the name tells them apart
		t.Errorf("the two sessions of a slot are %s and %s", named.ID, renamed.ID)
	}
	if got := len(w.mustFind("a.test").sessions()); got != 2 {
		t.Errorf("%d sessions, want 2", got)
	}
	// A newer login supersedes all of them at once, and nobody joins the old one.
	newer, fresh := w.rawJoin(login)
	first.wantEnd()
	again.wantEnd()
	if fresh.Key == welcome.Key {
		t.Error("two logins have one key")
	}
	refuse("the login before", join, wire.Over)
	say(t, w.visitTCP(), "x")
	newer.want(wire.Data)
	eventually(t, "the old login's teardown is over", func() bool { return w.log.count("msg=logout") == 1 })
	if w.mustFind("a.test").id != 2 {
		t.Error("the old login's teardown took the new one's name")
	}
}

func (w *world) mustFind(name string) *login {
	w.t.Helper()
	l, _ := w.server.registry.find(name)
	if l == nil {
		w.t.Fatalf("%s is not logged in", name)
	}
	return l
}

// When one session dies, its siblings are asked at once: at both ends, and long
// before the heartbeat's next tick.
func TestSiblingsAreAsked(t *testing.T) {
	w := newWorld(t, func(c *ServerConfig) { c.Heartbeat, c.HeartbeatDeadline = time.Hour, 2*time.Hour })
	login := wire.Login{Name: "a.test", Token: secret}
	first, welcome := w.rawJoin(login)
	login.Key, login.Slot = welcome.Key, 1
	second, _ := w.rawJoin(login)
	second.want(wire.Ping) // each session begins with one
	first.tcp.Close()
	second.want(wire.Ping)

	login.Key, login.Slot = wire.Key{}, 0
	c, l := w.four("127.0.0.1:1", nil)
	eventually(t, "the first answers", func() bool { return answered(c) == 4 })
	for slot := 1; slot < 4; slot++ {
		c.session(slot).rtt.Store(0)
	}
	l.sessions()[0].end(cause{byKernel, net.ErrClosed})
	eventually(t, "the client has asked its other sessions", func() bool { return answered(c) >= 3 })
}

// answered is how many sessions of the client know their round trip.
func answered(c *testClient) (n int) {
	for slot := range 4 {
		if s := c.session(slot); s != nil && s.rtt.Load() > 0 {
			n++
		}
	}
	return n
}

// Where heartbeats are off a PING would only stop the kernel's keepalive, which
// does not run while bytes are unacknowledged. Only the first one of a session is
// sent, which measures the round trip.
func TestSiblingsAreNotAskedWithoutHeartbeat(t *testing.T) {
	w := newWorld(t, func(c *ServerConfig) { c.Heartbeat = Off })
	login := wire.Login{Name: "a.test", Port: uint16(w.port), Token: secret}
	first, welcome := w.rawJoin(login)
	login.Key, login.Slot = welcome.Key, 1
	second, _ := w.rawJoin(login)
	second.want(wire.Ping)
	first.tcp.Close()
	eventually(t, "one session has ended", func() bool { return w.log.has(`msg="session ended"`) })
	say(t, w.visitTCP(), "x")
	for {
		f, err := second.frames.Next()
		if err != nil {
			t.Fatal(err)
		}
		if f.Type == wire.Ping {
			t.Error("the other session was asked")
		}
		if f.Type == wire.Data {
			return
		}
	}
}

// A server that has forgotten the login gets a new one as a whole.
func TestLoginAnewAsAWhole(t *testing.T) {
	w := newWorld(t, nil)
	h := newHolder(t)
	c, l := w.four(h.address, nil)
	visitors := w.visitAll(4)
	for range visitors {
		take(t, h.in)
	}
	l.end(cause{byKernel, net.ErrClosed})
	wantAllEnded(t, visitors)
	for range visitors {
		take(t, h.out)
	}
	eventually(t, "all four are back under a new login", func() bool {
		now, _ := w.server.registry.find("a.test")
		return now != nil && now != l && len(now.sessions()) == 4 && c.healthy()
	})
	if err := c.err; err != nil {
		t.Error(err)
	}
}

// A client is told how many sessions it may have, and is whole with those.
func TestFewerSessions(t *testing.T) {
	w := newWorld(t, func(c *ServerConfig) { c.MaxSessions = 2 })
	_, l := w.four("127.0.0.1:1", nil)
	if got := len(l.sessions()); got != 2 {
		t.Errorf("%d sessions, want 2", got)
	}
}
