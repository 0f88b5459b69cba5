package load

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

var protocols = []Protocol{HTTP, WebSocket, TCP}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// each runs a test for every protocol, idle and in flight.
func each(t *testing.T, test func(t *testing.T, v Visit)) {
	for i, p := range protocols {
		for _, flow := range []Flow{Idle, Both, Download, Upload} {
			name := string(p) + "/" + cmp.Or(string(flow), "idle")
			t.Run(name, func(t *testing.T) {
				clean(t)
				test(t, Visit{Protocol: p, Host: "a.example", Path: "/some/path?kept=1", Seed: uint64(4711 + i), Flow: flow})
			})
		}
	}
}

func ended1(t *testing.T, v *Visitor) error {
	t.Helper()
	select {
	case <-v.Done():
		return v.Err()
	case <-time.After(10 * time.Second):
		t.Fatal("the visitor has not noticed for 10 s")
		return nil
	}
}

func TestVisitorAndOrigin(t *testing.T) {
	each(t, func(t *testing.T, v Visit) {
		o, at := origin(t)
		v.Address = at[v.Protocol]
		visitor, err := Open(soon(t), direct, v)
		if err != nil {
			t.Fatal(err)
		}
		if n := o.Conns(); n != 1 {
			t.Errorf("origin has %d connections, want 1", n)
		}
		if _, port, err := net.SplitHostPort(visitor.Local()); err != nil || port == "0" {
			t.Errorf("Local() = %q", visitor.Local())
		}
		if v.Flow != Idle {
			if !eventually(func() bool { return visitor.Bytes() > 200<<10 }) {
				t.Errorf("only %d bytes in 10 s", visitor.Bytes())
			}
		} else {
			// Silence: nothing more is counted, and the visitor stays.
			select {
			case <-visitor.Done():
			case <-time.After(5 * pace):
			}
			if n := visitor.Bytes(); n != 2*first {
				t.Errorf("an idle visitor has checked %d bytes, want %d", n, 2*first)
			}
		}
		select {
		case <-visitor.Done():
			t.Fatalf("ended by itself: %v", visitor.Err())
		default:
		}
		if err := visitor.Err(); err != nil {
			t.Errorf("Err() before the end = %v", err)
		}
		if err := visitor.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
		if err := visitor.Err(); !errors.Is(err, ErrLeft) {
			t.Errorf("Err() = %v, want ErrLeft", err)
		}
		if err := visitor.Close(); err != nil {
			t.Errorf("second Close() = %v", err)
		}
		if !eventually(func() bool { return o.Conns() == 0 }) {
			t.Errorf("the visitor has left, the origin still holds %d connections", o.Conns())
		}
	})
}

func TestVisitorNoticesOriginClosing(t *testing.T) {
	each(t, func(t *testing.T, v Visit) {
		o, at := origin(t)
		v.Address = at[v.Protocol]
		visitor, err := Open(soon(t), direct, v)
		if err != nil {
			t.Fatal(err)
		}
		defer visitor.Close()
		if err := o.Close(); err != nil {
			t.Error(err)
		}
		if err := ended1(t, visitor); !errors.Is(err, ErrEnded) || errors.Is(err, ErrCorrupt) {
			t.Errorf("Err() = %v, want ErrEnded", err)
		}
	})
}

func TestVisitorNoticesCut(t *testing.T) {
	each(t, func(t *testing.T, v Visit) {
		o, at := origin(t)
		r := newRelay(t, at[v.Protocol], nil)
		v.Address = r.address()
		visitor, err := Open(soon(t), direct, v)
		if err != nil {
			t.Fatal(err)
		}
		defer visitor.Close()
		r.cut()
		if err := ended1(t, visitor); !errors.Is(err, ErrEnded) || errors.Is(err, ErrCorrupt) {
			t.Errorf("Err() = %v, want ErrEnded", err)
		}
		if !eventually(func() bool { return o.Conns() == 0 }) {
			t.Errorf("the origin still holds %d connections", o.Conns())
		}
	})
}

func TestCorruptByteIsFound(t *testing.T) {
	const at = 50_000
	for _, c := range []struct {
		protocol Protocol
		up       bool
	}{{HTTP, false}, {WebSocket, false}, {TCP, false}, {TCP, true}} { // WebSockets are masked on the way up
		t.Run(fmt.Sprintf("%s/up=%v", c.protocol, c.up), func(t *testing.T) {
			clean(t)
			_, address := origin(t)
			v := Visit{Protocol: c.protocol, Seed: 7, Flow: Both}
			v.Address = newRelay(t, address[c.protocol], flip(v.Seed, at, c.up)).address()
			visitor, err := Open(soon(t), direct, v)
			if err != nil {
				t.Fatal(err)
			}
			err = ended1(t, visitor)
			var corrupt *CorruptError
			if !errors.Is(err, ErrCorrupt) || !errors.As(err, &corrupt) || corrupt.Offset != at || corrupt.Got^corrupt.Want != 0x10 {
				t.Errorf("Err() = %v, want ErrCorrupt at %d", err, at)
			}
			if err := visitor.Close(); !errors.Is(err, ErrCorrupt) {
				t.Errorf("Close() = %v, want ErrCorrupt", err)
			}
		})
	}
}

// A wrong byte of an upload is the origin's to find.
func TestCorruptUpload(t *testing.T) {
	const at = 50_000
	for _, p := range []Protocol{TCP, HTTP} { // WebSockets are masked on the way up
		t.Run(string(p), func(t *testing.T) {
			clean(t)
			o, address := origin(t)
			v := Visit{Protocol: p, Seed: 7, Flow: Upload}
			v.Address = newRelay(t, address[p], flip(v.Seed, at, true)).address()
			visitor, err := Open(soon(t), direct, v)
			if err != nil {
				t.Fatal(err)
			}
			defer visitor.Close()
			var corrupt *CorruptError
			if !eventually(func() bool { return o.Err() != nil }) || !errors.As(o.Err(), &corrupt) || corrupt.Offset != at {
				t.Errorf("Err() = %v, want ErrCorrupt at %d", o.Err(), at)
			}
		})
	}
}

// The end of a connection may cut a frame off: what came of it is no wrong byte.
func TestCutFrameIsNotCorrupt(t *testing.T) {
	clean(t)
	o, address := origin(t)
	v := Visit{Protocol: WebSocket, Seed: 7, Flow: Upload, Address: address[WebSocket]}
	w, err := connect(soon(t), direct, v, exchange{there: first, hold: true, flow: v.Flow})
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	s := newStream(v.Seed)
	if err := w.send(s, first); err != nil {
		t.Fatal(err)
	}
	if err := w.receive(newChecker(v.Seed), first); err != nil {
		t.Fatal(err)
	}
	part := make([]byte, 100)
	s.next(part)
	mask := [4]byte{1, 2, 3, 4}
	for i := range part {
		part[i] ^= mask[i%4]
	}
	frame := append([]byte{0x82, 0x80 | 126, chunk >> 8, chunk & 0xff}, mask[:]...) // RFC 6455, section 5.2
	if _, err := w.raw.Write(append(frame, part...)); err != nil {
		t.Fatal(err)
	}
	w.close()
	if !eventually(func() bool { return o.Conns() == 0 }) {
		t.Errorf("the origin still holds %d connections", o.Conns())
	}
	if err := o.Err(); err != nil {
		t.Errorf("Err() = %v, want none", err)
	}
}

// A wrong byte in the first round, and in a whole visit, on either way.
func TestCorruptByteBeforeOpenReturns(t *testing.T) {
	for _, p := range protocols {
		for _, up := range []bool{false, true} {
			if p == WebSocket && up {
				continue // masked
			}
			t.Run(fmt.Sprintf("%s/up=%v", p, up), func(t *testing.T) {
				clean(t)
				_, address := origin(t)
				v := Visit{Protocol: p, Seed: 7}
				v.Address = newRelay(t, address[p], flip(v.Seed, 1000, up)).address()
				if _, err := Open(soon(t), direct, v); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "offset 1000") {
					t.Errorf("Open() = %v, want ErrCorrupt at 1000", err)
				}
				v.Address = newRelay(t, address[p], flip(v.Seed, 9000, up)).address()
				if err := Once(soon(t), direct, v); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "offset 9000") {
					t.Errorf("Once() = %v, want ErrCorrupt at 9000", err)
				}
			})
		}
	}
}

// Damage to what is around the payload is damage too.
func TestCorruptFraming(t *testing.T) {
	for _, c := range []struct {
		protocol Protocol
		spoil    func(p []byte) bool // tells whether it found its place
	}{
		{HTTP, func(p []byte) bool { // the length of a chunk
			found := bytes.HasPrefix(p, []byte("1000\r\n"))
			if found {
				p[0] = 'z'
			}
			return found
		}},
		{WebSocket, func(p []byte) bool { // a binary frame of 4096 bytes gets a reserved bit
			i := bytes.Index(p, []byte{0x82, 126, 0x10, 0})
			if i >= 0 {
				p[i] |= 0x40
			}
			return i >= 0
		}},
	} {
		t.Run(string(c.protocol), func(t *testing.T) {
			clean(t)
			_, address := origin(t)
			done := false
			r := newRelay(t, address[c.protocol], func(p []byte, up bool) {
				if !up && !done {
					done = c.spoil(p)
				}
			})
			visitor, err := Open(soon(t), direct, Visit{Protocol: c.protocol, Address: r.address(), Seed: 1, Flow: Both})
			if err != nil {
				t.Fatal(err)
			}
			defer visitor.Close()
			var corrupt *CorruptError
			if err := ended1(t, visitor); !errors.As(err, &corrupt) || corrupt.Cause == nil {
				t.Errorf("Err() = %v, want a *CorruptError with a cause", err)
			}
		})
	}
}

// A byte that nobody sent must not pass for silence.
func TestIdleVisitorRefusesBytes(t *testing.T) {
	clean(t)
	l := listen(t)
	defer l.Close()
	wait := make(chan struct{})
	go func() {
		defer close(wait)
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		buf := make([]byte, first+1)
		for n := 0; n < first; {
			m, err := c.Read(buf[n:first])
			if err != nil {
				t.Error(err)
				return
			}
			n += m
		}
		s := newStream(9)
		s.next(buf) // one byte more than was sent, and even the right one
		if _, err := c.Write(buf); err != nil {
			t.Error(err)
		}
	}()
	visitor, err := Open(soon(t), direct, Visit{Protocol: TCP, Address: l.Addr().String(), Seed: 9})
	if err != nil {
		t.Fatal(err)
	}
	if err := ended1(t, visitor); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Err() = %v, want ErrCorrupt", err)
	}
	if err := visitor.Close(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Close() = %v, want ErrCorrupt", err)
	}
	<-wait
}

func TestOnce(t *testing.T) {
	for _, p := range protocols {
		t.Run(string(p), func(t *testing.T) {
			clean(t)
			o, at := origin(t)
			if err := Once(soon(t), direct, Visit{Protocol: p, Address: at[p], Seed: 3}); err != nil {
				t.Error(err)
			}
			if !eventually(func() bool { return o.Conns() == 0 }) {
				t.Errorf("the origin still holds %d connections", o.Conns())
			}
		})
		t.Run(string(p)+"/dead port", func(t *testing.T) {
			clean(t)
			l := listen(t)
			l.Close()
			err := Once(soon(t), direct, Visit{Protocol: p, Address: l.Addr().String()})
			if err == nil || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), l.Addr().String()) || errors.Is(err, ErrCorrupt) {
				t.Errorf("Once() = %v", err)
			}
		})
		t.Run(string(p)+"/mute", func(t *testing.T) { // accepts and says nothing
			clean(t)
			l := listen(t)
			defer l.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			for _, err := range []error{
				Once(ctx, direct, Visit{Protocol: p, Address: l.Addr().String()}),
				func() error { _, err := Open(ctx, direct, Visit{Protocol: p, Address: l.Addr().String()}); return err }(),
			} {
				if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrCorrupt) {
					t.Errorf("got %v, want the deadline", err)
				}
			}
		})
		t.Run(string(p)+"/slams", func(t *testing.T) { // accepts and closes
			clean(t)
			l := listen(t)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					c.Close()
				}
			}()
			err := Once(soon(t), direct, Visit{Protocol: p, Address: l.Addr().String()})
			if !errors.Is(err, ErrEnded) || errors.Is(err, ErrCorrupt) {
				t.Errorf("Once() = %v, want ErrEnded", err)
			}
			l.Close()
			<-done
		})
	}
}

// A tunnel without its client answers with a page of its own.
func TestAnotherAnswer(t *testing.T) {
	clean(t)
	l := listen(t)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "client away", http.StatusServiceUnavailable)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // ends with Close below
	}()
	for _, p := range []Protocol{HTTP, WebSocket} {
		_, err := Open(soon(t), direct, Visit{Protocol: p, Address: l.Addr().String()})
		if err == nil || !strings.Contains(err.Error(), "503") || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrEnded) {
			t.Errorf("%s: Open() = %v, want the 503", p, err)
		}
	}
	server.Close()
	<-done
}

func TestBadVisit(t *testing.T) {
	for _, v := range []Visit{{Protocol: "gopher"}, {Protocol: HTTP, Path: "%zz"}} {
		if _, err := Open(t.Context(), direct, v); err == nil || errors.Is(err, ErrCorrupt) {
			t.Errorf("Open(%v) = %v", v, err)
		}
		if err := Once(t.Context(), direct, v); err == nil || errors.Is(err, ErrCorrupt) {
			t.Errorf("Once(%v) = %v", v, err)
		}
	}
}

// The stream does not depend on how it is cut into reads.
func TestStreamInPieces(t *testing.T) {
	want := make([]byte, 10_000)
	newStream(1).next(want)
	s, got := newStream(1), make([]byte, 0, len(want))
	for n := 1; len(got) < len(want); n = n%13 + 1 {
		p := make([]byte, min(n, len(want)-len(got)))
		s.next(p)
		got = append(got, p...)
	}
	if !bytes.Equal(got, want) {
		t.Error("the same seed gives other bytes when it is read in pieces")
	}
	other := make([]byte, len(want))
	newStream(2).next(other)
	if bytes.Equal(other[:32], want[:32]) {
		t.Error("two seeds give the same bytes")
	}
}

// Twenty-four busy visitors must leave the machine to the target.
func BenchmarkInFlight24(b *testing.B) {
	h, c := net.Listener(nil), net.Listener(nil)
	var err error
	if h, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		b.Fatal(err)
	}
	if c, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		b.Fatal(err)
	}
	o := Serve(h, c)
	defer o.Close()
	var all []*Visitor
	for i := range 24 {
		v := Visit{Protocol: protocols[i%3], Address: h.Addr().String(), Seed: uint64(i), Flow: Both}
		if v.Protocol == TCP {
			v.Address = c.Addr().String()
		}
		visitor, err := Open(b.Context(), direct, v)
		if err != nil {
			b.Fatal(err)
		}
		defer visitor.Close()
		all = append(all, visitor)
	}
	start, began := cpu(b), time.Now()
	for b.Loop() {
		time.Sleep(pace)
	}
	var total int64
	for _, v := range all {
		total += v.Bytes()
	}
	b.ReportMetric(100*float64(cpu(b)-start)/float64(time.Since(began)), "%cpu")
	b.ReportMetric(float64(total)/time.Since(began).Seconds()/1e6, "MB/s")
}
