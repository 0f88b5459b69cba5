package load

import (
	"bytes"
	"context"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"
)

// direct dials as the lab does, without the namespace.
func direct(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// clean fails the test if it ends with more goroutines than it began with.
func clean(t *testing.T) {
	t.Helper()
	base := runtime.NumGoroutine()
	t.Cleanup(func() {
		if !eventually(func() bool { return runtime.NumGoroutine() <= base }) {
			buf := make([]byte, 1<<20)
			t.Errorf("%d goroutines, began with %d:\n%s", runtime.NumGoroutine(), base, buf[:runtime.Stack(buf, true)])
		}
	})
}

// eventually polls a condition for 10 s at most.
func eventually(ok func() bool) bool {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return ok()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// origin serves on loopback and gives the address for each protocol.
func origin(t *testing.T) (*Origin, map[Protocol]string) {
	t.Helper()
	h, c := listen(t), listen(t)
	o := Serve(h, c)
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
		if n := o.Conns(); n != 0 {
			t.Errorf("closed origin has %d connections", n)
		}
	})
	return o, map[Protocol]string{HTTP: h.Addr().String(), WebSocket: h.Addr().String(), TCP: c.Addr().String()}
}

// relay stands between visitor and origin and may change what passes.
type relay struct {
	l     net.Listener
	mu    sync.Mutex
	conns []net.Conn
	wait  sync.WaitGroup
}

// newRelay passes bytes on to address; edit may change them in place. up is the
// way to the origin.
func newRelay(t *testing.T, address string, edit func(p []byte, up bool)) *relay {
	t.Helper()
	r := &relay{l: listen(t)}
	r.wait.Go(func() {
		for {
			in, err := r.l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", address)
			if err != nil {
				t.Errorf("relay: %v", err)
				in.Close()
				return
			}
			r.mu.Lock()
			r.conns = append(r.conns, in, out)
			r.mu.Unlock()
			r.wait.Go(func() { pass(out, in, true, edit) })
			r.wait.Go(func() { pass(in, out, false, edit) })
		}
	})
	t.Cleanup(func() {
		r.l.Close()
		r.cut()
		r.wait.Wait()
	})
	return r
}

func pass(to, from net.Conn, up bool, edit func([]byte, bool)) {
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if edit != nil && n > 0 {
			edit(buf[:n], up)
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// cut closes all connections.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		c.Close()
	}
}

func (r *relay) address() string { return r.l.Addr().String() }

// flip returns an edit that turns one bit of the byte at offset of the seed's
// stream, one way, once. It finds the place by the bytes around it.
func flip(seed uint64, offset int64, upward bool) func([]byte, bool) {
	s := newStream(seed)
	s.next(make([]byte, offset))
	want := make([]byte, 8)
	s.next(want)
	var mu sync.Mutex
	var done bool
	return func(p []byte, up bool) {
		mu.Lock()
		defer mu.Unlock()
		if i := bytes.Index(p, want); up == upward && !done && i >= 0 {
			p[i] ^= 0x10
			done = true
		}
	}
}
