package tunnel

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime/pprof"
	"strings"
	"testing"
	"time"
)

// Who is told to stop begins nothing any more, and leaves nothing to itself.

// Stopped without any time, the admin pages end with their answers under way.
func TestStopWithoutTime(t *testing.T) {
	w := newWorld(t, nil)
	asker := dial(t, w.server.AdminAddr())
	say(t, asker, "GET /debug/pprof/goroutine?seconds=30 HTTP/1.1\r\nHost: admin\r\n\r\n")
	eventually(t, "the profile is under way", func() bool {
		var dump strings.Builder
		if err := pprof.Lookup("goroutine").WriteTo(&dump, 1); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(dump.String(), "serveDeltaProfile")
	})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = w.server.Stop(ctx) // whether all the rest is gone in no time is not certain
	if _, err := io.Copy(io.Discard, asker); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the asker is still connected")
	}
}

// A client that leaves does not dial for a slot whose session is missing.
func TestLeavingDialsNoMore(t *testing.T) {
	noLeak(t)
	ln := fakeListener(t)
	cfg := (&world{server: &Server{listener: ln}}).config("127.0.0.1:9")
	cfg.Handshake, cfg.Log = 100*time.Millisecond, (&logBook{}).logger()
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := newStay(t.Context(), c)
	defer l.stop(nil)
	c.Drain()
	l.keeper(1)
	if err := ln.SetDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if conn, err := ln.Accept(); err == nil {
		conn.Close()
		t.Error("it has dialled")
	}
}
