package tunnel

import (
	"context"
	"errors"
	"os"
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
