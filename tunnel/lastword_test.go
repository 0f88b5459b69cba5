package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// What is said last is heard: a session that is drained ends when all of it is sent.

// gated is the TLS of a session whose writes wait for the test.
type gated struct {
	net.Conn
	pass chan struct{}
}

func (g gated) Write(p []byte) (int, error) {
	<-g.pass
	return g.Conn.Write(p)
}

// The last stream of a drained session ends while somebody writes to it.
func TestDrainedWhileFlushing(t *testing.T) {
	for name, c := range map[string]struct {
		begin func(st *stream) // what is being written meanwhile
		end   func(st *stream)
		want  string
	}{
		"its end waits": {
			func(*stream) {},
			func(st *stream) { st.reset(wire.Drained, "moved") },
			"PING 0,RESET 1",
		},
		"its last words wait": {
			func(st *stream) {
				st.s.mu.Lock()
				defer st.s.mu.Unlock()
				st.pushLocked(chunkOf([]byte("last words")))
			},
			func(st *stream) { st.reset(wire.Gone, "closed") },
			"PING 0,DATA 1,RESET 1",
		},
		"its end is being written": {
			func(st *stream) {
				st.s.mu.Lock()
				defer st.s.mu.Unlock()
				st.pushLocked(chunkOf([]byte("last words")))
				st.eof, st.shut = true, true
			},
			func(*stream) {},
			"PING 0,DATA 1,FIN 1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, peer, out := bubbledSession(t, Liveness{Heartbeat: Off, HeartbeatDeadline: Off, Flush: Off})
				pass := make(chan struct{})
				s.conn = gated{s.conn, pass}
				s.last = 1
				s.mu.Lock()
				st := s.addLocked(1, wire.TCP, "visitor")
				s.mu.Unlock()
				c.begin(st)
				why := make(chan cause, 1)
				go func() { why <- s.run(t.Context()) }()
				synctest.Wait() // in a write
				s.drain(false)
				c.end(st)
				st.release()
				synctest.Wait()
				select {
				case <-s.ended:
					t.Errorf("ended with %v while somebody writes", s.cause)
				default:
				}
				close(pass)
				synctest.Wait()
				s.end(cause{byShutdown, errors.New("it does not end")}) // no cause, if it has one
				peer.Close()
				if got := <-why; got.detector != byDrain {
					t.Errorf("ended by %s", got.detector)
				}
				heard := ""
				for i, f := range frames(t, out.heard(t)) {
					if i > 0 {
						heard += ","
					}
					heard += fmt.Sprint(f.Type, " ", f.Stream)
				}
				if heard != c.want {
					t.Errorf("the peer heard %s, want %s", heard, c.want)
				}
			})
		})
	}
}

// So it is when a pump flushes, which nobody wakes afterwards.
func TestDrainedWhilePumpFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, out := bubbledSession(t, Liveness{Flush: Off})
		pass := make(chan struct{})
		s.conn = gated{s.conn, pass}
		s.last = 1
		s.mu.Lock()
		st := s.addLocked(1, wire.TCP, "visitor")
		st.eof, st.shut = true, true
		st.queueLocked()
		s.mu.Unlock()
		go s.flushNow()
		synctest.Wait() // in a write
		s.drain(false)
		st.release()
		s.mu.Lock()
		if s.cause != nil {
			t.Errorf("ended with %v while somebody writes", s.cause)
		}
		s.mu.Unlock()
		close(pass)
		synctest.Wait()
		if all := frames(t, out.heard(t)); len(all) != 1 || all[0].Type != wire.Fin {
			t.Errorf("the peer heard %v, want FIN", all)
		}
		select {
		case <-s.ended:
		default:
			t.Error("does not end when all is sent")
		}
	})
}

// A peer that asks all the time holds nobody: the session ends with what was under way.
func TestDrainedWhileAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, peer, _ := bubbledSession(t, Liveness{Heartbeat: Off, HeartbeatDeadline: Off, Flush: Off})
		pass := make(chan struct{})
		s.conn = gated{s.conn, pass}
		why := make(chan cause, 1)
		go func() { why <- s.run(t.Context()) }()
		synctest.Wait() // in a write
		s.drain(false)
		go func() { _, _ = peer.Write(wire.Append(nil, wire.Ping, 0, make([]byte, 8))) }() // until peer closes
		synctest.Wait()                                                                    // the answer waits
		pass <- struct{}{}
		synctest.Wait()
		select {
		case <-s.ended:
		default:
			t.Error("goes on for a PING")
		}
		close(pass)
		s.end(cause{byShutdown, errors.New("it does not end")}) // no cause, if it has one
		peer.Close()
		<-why
	})
}

// A client that has nothing under way is told that the server leaves.
func TestIdleClientIsTold(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client("127.0.0.1:9", nil)
	s := c.session(0)
	w.server.Drain(context.Background())
	take(t, s.ended)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.away {
		t.Errorf("the session ended with %v, and no GOAWAY", s.cause)
	}
}

// deaf is a connection whose peer takes nothing: who writes waits for the deadline.
type deaf struct {
	bubbledRaw
	deadline net.Conn
}

func (d deaf) Write(f func(fd uintptr) bool) error {
	for !f(uintptr(d.fd)) {
		if _, err := d.deadline.Write([]byte{0}); err != nil { // nobody reads
			return err
		}
	}
	return nil
}

// A peer that takes nothing holds nobody longer than a write may take.
func TestDrainOfADeafPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const flush = 16 * time.Second
		s, peer, out := bubbledSession(t, Liveness{Heartbeat: Off, HeartbeatDeadline: Off, Flush: flush})
		s.line.raw = deaf{bubbledRaw{out}, s.deadlines.(net.Conn)}
		for err := error(nil); err == nil; { // until the kernel has no room
			_, err = out.Write(make([]byte, 4<<10))
		}
		for err := error(nil); err == nil; {
			_, err = out.Write([]byte{0})
		}
		why := make(chan cause, 1)
		go func() { why <- s.run(t.Context()) }()
		synctest.Wait() // in a write
		start := time.Now()
		s.drain(true)
		if got := <-why; got.detector != byFlush || time.Since(start) != flush {
			t.Errorf("ended by %s after %v", got.detector, time.Since(start))
		}
		peer.Close()
	})
}

// A stream has its front from the first moment: whoever drains the session looks at it.
func TestRoutedWhileDrained(t *testing.T) {
	w := newWorld(t, nil)
	c := w.rawLogin(wire.Login{Name: "a.test", Token: secret})
	s := w.session("a.test")
	const head = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
	near, _ := tcpPair(t)
	f := &front{conn: near, held: chunkOf([]byte(head)), end: len(head)}
	defer f.clear()
	routed := make(chan error, 1)
	var st *stream
	go func() {
		var err error
		st, err = w.server.route(f)
		routed <- err
	}()
	eventually(t, "the stream is there", func() bool { return s.load.Load() == 1 })
	s.drain(false)
	s.cutIdle() // and its request is under way
	if err := take(t, routed); err != nil {
		t.Fatal(err)
	}
	if err := st.ending(); err != nil {
		t.Errorf("cut: %v", err)
	}
	st.release()
	c.wantEnd()
}
