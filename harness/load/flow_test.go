package load

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// states are the flows in which a connection stands still, or half of it.
var states = []Visit{
	{Protocol: HTTP, Flow: Stalled}, {Protocol: WebSocket, Flow: Stalled}, {Protocol: TCP, Flow: Stalled},
	{Protocol: TCP, Flow: HalfClosed}, {Protocol: TCP, Flow: MuteOrigin}, {Protocol: TCP, Flow: MuteVisitor}, {Protocol: WebSocket, Flow: Upgrading}, {Protocol: HTTP, Flow: HalfUp}, {Protocol: HTTP, Flow: HalfDown},
}

func TestStates(t *testing.T) {
	for _, v := range states {
		t.Run(string(v.Protocol)+"/"+string(v.Flow), func(t *testing.T) {
			clean(t)
			o, at := origin(t)
			v.Address, v.Seed = at[v.Protocol], 9
			visitor, err := Open(soon(t), direct, v)
			if err != nil {
				t.Fatal(err)
			}
			if !eventually(func() bool { return o.Conns() == 1 }) {
				t.Errorf("origin has %d connections", o.Conns())
			}
			before := visitor.Bytes()
			select {
			case <-visitor.Done():
				t.Fatalf("ended by itself: %v", visitor.Err())
			case <-time.After(8 * pace):
			}
			if flows := v.Flow == HalfClosed; flows && !eventually(func() bool { return visitor.Bytes() > before }) || !flows && visitor.Bytes() > before {
				t.Errorf("%d bytes, then %d", before, visitor.Bytes())
			}
			if err := visitor.Close(); err != nil || !errors.Is(visitor.Err(), ErrLeft) {
				t.Errorf("Close() = %v, Err() = %v", err, visitor.Err())
			}
			// A FIN that was said before is not said again: a mute origin hears nothing of it.
			if v.Flow != MuteOrigin && !eventually(func() bool { return o.Conns() == 0 }) {
				t.Errorf("the visitor has left, the origin still holds %d connections", o.Conns())
			}
		})
	}
}

// A reader that has stopped blocks who writes to it: what it has taken stays the same.
func TestStalledTakesNoMore(t *testing.T) {
	clean(t)
	o, _ := origin(t)
	near, far := net.Pipe() // takes what is read of it, and no more
	defer far.Close()
	o.wait.Add(1)
	go func() {
		defer o.wait.Done()
		o.serve(far)
	}()
	go func() {
		_, _ = near.Write(append(appendHeader(nil, Stalled, 5), make([]byte, first)...))
	}()
	check := newChecker(5)
	buf := make([]byte, first)
	if _, err := near.Read(buf); err != nil { // the echo
		t.Fatal(err)
	}
	check.stream.next(buf)
	for n := 0; n < 1<<20; {
		got, err := near.Read(buf)
		if err != nil || check.check(buf[:got]) != nil {
			t.Fatalf("after %d bytes: %v", n, err)
		}
		n += got
	}
	near.Close()
}

func TestStatesThatAProtocolHasNot(t *testing.T) {
	for _, v := range []Visit{{Protocol: TCP, Flow: Upgrading}, {Protocol: HTTP, Flow: HalfClosed}, {Protocol: WebSocket, Flow: HalfUp}, {Protocol: TCP, Flow: "x"}} {
		v.Address = "127.0.0.1:1"
		if _, err := Open(t.Context(), direct, v); err == nil || !strings.Contains(err.Error(), "flow") {
			t.Errorf("%+v: %v", v, err)
		}
	}
}
