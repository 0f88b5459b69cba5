package tunnel

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The moments at which somebody is told to leave who is just about to do something else.

// A server that leaves wakes whoever waits for a head, also one who was on the way to
// wait: nothing sets another deadline after that.
func TestAwaitIsToldToLeave(t *testing.T) {
	near, _ := tcpPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	release, err := guard(ctx, near, hung)
	if err != nil {
		t.Fatal(err)
	}
	release() // told by now
	raw, err := near.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	f := &front{conn: near, since: time.Now(), patient: hung, held: chunkOf([]byte("GET "))}
	defer f.clear()
	left := make(chan error, 1)
	go func() { left <- f.await(raw) }()
	if err := take(t, left); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("left with %v", err)
	}
}

// slowEnd is the deadlines of a connection on which the end comes late.
type slowEnd struct {
	deadlines
	set  []time.Time
	told chan struct{} // the end may come
}

func (c *slowEnd) SetDeadline(at time.Time) error {
	if at.Equal(past) {
		<-c.told
	}
	c.set = append(c.set, at)
	return nil
}

// The end of a handshake that is over already is not that of what comes next on its
// connection: release waits for who is on the way to tell it.
func TestReleaseWaitsForTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &slowEnd{told: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		release, err := guard(ctx, conn, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		next := time.Now().Add(2 * time.Hour)
		go func() {
			release()
			_ = conn.SetDeadline(next) // never fails
		}()
		synctest.Wait()
		close(conn.told)
		synctest.Wait()
		if n := len(conn.set); n != 3 || conn.set[n-1] != next {
			t.Errorf("deadlines %v, want that of the handshake, the end, %v", conn.set, next)
		}
	})
}

// Released before, it is told nothing, and nobody is waited for.
func TestReleaseBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &slowEnd{told: make(chan struct{})}
		close(conn.told)
		ctx, cancel := context.WithCancel(t.Context())
		release, err := guard(ctx, conn, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		release()
		cancel()
		synctest.Wait()
		if len(conn.set) != 1 {
			t.Errorf("deadlines %v, want that of the handshake", conn.set)
		}
	})
}

// successor is a client with a TCP visitor whose session is being replaced: the
// successor's handshake goes on when pass is called.
func successor(t *testing.T, w *world, backoff time.Duration) (c *testClient, visitor, origin *net.TCPConn, pass func()) {
	t.Helper()
	came, gate := make(chan struct{}, 10), make(chan struct{})
	var conns atomic.Int32
	between := relayed(t, func() {
		n := conns.Add(1)
		if came <- struct{}{}; n > 1 {
			<-gate
		}
	}, w.server.Addr())
	pass = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(pass)
	h := newHolder(t)
	c = w.client(h.address, func(c *ClientConfig) {
		c.Server, c.Handshake, c.Backoff, c.BackoffCap = between, hung, backoff, backoff
	})
	take(t, came)
	visitor = w.visitTCP()
	say(t, visitor, "x")
	origin = take(t, h.in)
	w.mustFind("a.test").sessions()[0].retire("age")
	take(t, came)
	return c, visitor, origin, pass
}

// relayed passes connections on to an address, after before.
func relayed(t *testing.T, before func(), to string) string {
	t.Helper()
	return origin(t, func(in *net.TCPConn) {
		before()
		out, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer out.Close()
		var back sync.WaitGroup
		back.Go(func() {
			_, _ = io.Copy(in, out) // whose end it is does not matter
			in.Close()
		})
		_, _ = io.Copy(out, in)
		out.Close()
		back.Wait()
	})
}

// A session that a client gains while it leaves is told so too, and takes nothing from
// the visitors of the others.
func TestSessionGainedWhileLeaving(t *testing.T) {
	w := newWorld(t, nil)
	c, visitor, origin, pass := successor(t, w, time.Millisecond)
	if !c.Drain() {
		t.Error("nothing to drain with a visitor there")
	}
	pass()
	eventually(t, "the successor has left", func() bool { return c.log.has("msg=logout session=1.0.1 ") })
	say(t, origin, "still here")
	hear(t, visitor, "still here")
	visitor.Close()
	take(t, c.done)
	if c.err != nil || c.log.has("msg=reconnect") {
		t.Errorf("ended with %v", c.err)
	}
}

// A client that leaves does not wait for a session that it would only let go.
func TestLeavingWaitsForNoHandshake(t *testing.T) {
	w := newWorld(t, nil)
	c, visitor, _, _ := successor(t, w, time.Millisecond)
	if !c.Drain() {
		t.Error("nothing to drain with a visitor there")
	}
	visitor.Close()
	take(t, c.done)
}

// One that is being drained goes on when its successor dies, which has a successor too.
func TestDeathOfTheSuccessor(t *testing.T) {
	w := newWorld(t, nil)
	c, visitor, origin, pass := successor(t, w, time.Millisecond)
	old := c.session(0)
	pass()
	eventually(t, "the successor is there", func() bool { return c.session(0) != old })
	c.session(0).end(cause{byHeartbeat, errors.New("no frame")})
	eventually(t, "another one is there", func() bool { return c.log.count("msg=login ") == 3 && c.healthy() })
	say(t, origin, "still here")
	hear(t, visitor, "still here")
	if c.log.has("msg=reconnect") {
		t.Error("the login ended")
	}
}

// With it the login is over, if nothing else lives, also when somebody waits to dial.
func TestDeathAfterTheSuccessor(t *testing.T) {
	w := newWorld(t, nil)
	c, visitor, _, pass := successor(t, w, time.Hour)
	old := c.session(0)
	pass()
	eventually(t, "the successor is there", func() bool { return c.session(0) != old })
	c.session(0).end(cause{byHeartbeat, errors.New("no frame")})
	eventually(t, "a new one is due", func() bool { return c.log.has("again in") })
	visitor.Close()
	eventually(t, "the stay is over", func() bool { return c.log.has("msg=reconnect") })
}
