package load

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A whole visit ends where it should: no byte more, and not without an end.
func TestOnceChecksTheEnd(t *testing.T) {
	for _, c := range []struct {
		name, more string // after the echo; then the connection is closed, but for "no end"
		want       error
	}{
		{"one byte more", "x", ErrCorrupt},
		{"no end", "", context.Canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			clean(t)
			l := listen(t)
			done, stay := make(chan struct{}), make(chan struct{})
			ctx, cancel := context.WithCancel(soon(t))
			defer cancel()
			go func() {
				defer close(done)
				conn, err := l.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				if _, err := io.CopyN(conn, conn, whole); err != nil {
					t.Error(err)
				}
				if c.more == "" {
					time.AfterFunc(100*time.Millisecond, cancel) // who takes this for the end is back by then
					<-stay
					return
				}
				if _, err := io.WriteString(conn, c.more); err != nil {
					t.Error(err)
				}
			}()
			if err := Once(ctx, direct, Visit{Protocol: TCP, Address: l.Addr().String(), Seed: 5}); !errors.Is(err, c.want) {
				t.Errorf("Once() = %v, want %v", err, c.want)
			}
			close(stay)
			l.Close()
			<-done
		})
	}
}

// In flight there are always bytes on their way.
func TestBytesOnTheirWay(t *testing.T) {
	for _, p := range []Protocol{WebSocket, TCP} {
		t.Run(string(p), func(t *testing.T) {
			clean(t)
			_, at := origin(t)
			var there, back atomic.Int64
			r := newRelay(t, at[p], func(b []byte, up bool) {
				if up {
					there.Add(int64(len(b)))
				} else {
					back.Add(int64(len(b)))
				}
			})
			v, err := Open(soon(t), direct, Visit{Protocol: p, Address: r.address(), Seed: 1, Flow: Both})
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			if !eventually(func() bool { return back.Load() > 100<<10 }) {
				t.Fatal("no traffic")
			}
			for range 20 {
				var onWay int64
				enough := func() bool {
					b := back.Load() // first: what comes meanwhile only adds to the way
					onWay = there.Load() - b
					return onWay >= floor/2
				}
				if !eventually(enough) || onWay > ceiling+2*chunk {
					t.Errorf("%d bytes on their way, want %d to %d", onWay, floor, ceiling)
				}
				select {
				case <-v.Done():
					t.Fatal(v.Err())
				case <-time.After(pace / 2):
				}
			}
		})
	}
}

func TestClassify(t *testing.T) {
	odd := errors.New("some library's own word for it")
	for _, c := range []struct {
		err  error
		dry  bool
		want error
	}{
		{odd, false, ErrCorrupt},
		{odd, true, ErrEnded}, // the connection had ended under it
		{io.ErrUnexpectedEOF, false, ErrEnded},
		{net.ErrClosed, false, ErrEnded},
		{&CorruptError{}, true, ErrCorrupt},
		{errRefused, false, errRefused},
	} {
		w := &wire{tap: &tap{}}
		w.tap.dry.Store(c.dry)
		if got := w.classify(c.err, 3); !errors.Is(got, c.want) || errors.Is(got, ErrCorrupt) != (c.want == ErrCorrupt) {
			t.Errorf("classify(%v, dry=%v) = %v, want %v", c.err, c.dry, got, c.want)
		}
	}
	if got := (&wire{tap: &tap{}}).classify(odd, 3).Error(); !strings.Contains(got, "offset 3") || !strings.Contains(got, odd.Error()) {
		t.Errorf("classify says %q", got)
	}
}
