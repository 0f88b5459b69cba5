package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Origin is the local service behind the target. It echoes TCP and WebSocket
// connections, 4 KiB every 20 ms at most, so that a visitor that sends faster
// always has bytes on their way, unless their first bytes are the header of a download
// or an upload; its HTTP is described at ServeHTTP.
type Origin struct {
	http   net.Listener
	tcp    net.Listener
	server *http.Server

	mu      sync.Mutex
	conns   map[*conn]struct{}
	closing chan struct{}
	once    sync.Once
	err     error
	corrupt error            // the first wrong byte of an upload
	checked map[uint64]int64 // bytes of each upload that were right, by its seed
	wait    sync.WaitGroup   // accept loops, connections, hijacked handlers
}

// Serve starts an origin on two listeners, either of which may be nil. Close it.
func Serve(httpListener, tcpListener net.Listener) *Origin {
	o := &Origin{http: httpListener, tcp: tcpListener, conns: make(map[*conn]struct{}), checked: make(map[uint64]int64), closing: make(chan struct{})}
	o.server = &http.Server{
		Handler: o,
		// No timeouts: an idle visitor may stay for hours.
		ConnState: func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				o.wait.Add(1)
			case http.StateClosed, http.StateHijacked:
				o.wait.Done()
			}
		},
	}
	if o.http != nil {
		o.wait.Add(1)
		go func() {
			defer o.wait.Done()
			// Returns when the listener is closed, by Close or by its owner: the
			// visitors notice, there is nobody here to tell.
			_ = o.server.Serve(&listener{Listener: o.http, origin: o})
		}()
	}
	if o.tcp != nil {
		o.wait.Add(1)
		go o.accept()
	}
	return o
}

// Conns is how many connections are open.
func (o *Origin) Conns() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.conns)
}

// Close closes the listeners and all connections, and waits for every goroutine.
// A second call returns what the first did.
func (o *Origin) Close() error {
	o.once.Do(func() {
		o.mu.Lock()
		close(o.closing) // from here on adopt refuses
		o.mu.Unlock()
		errs := []error{o.server.Close()}
		for _, l := range []net.Listener{o.http, o.tcp} {
			if l == nil {
				continue
			}
			if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
		for _, c := range o.open() {
			_ = c.Close() // a connection that the network has killed may complain: it is gone all the same
		}
		o.wait.Wait()
		if err := errors.Join(errs...); err != nil {
			o.err = fmt.Errorf("close origin: %w", err)
		}
	})
	return o.err
}

func (o *Origin) open() []*conn {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := make([]*conn, 0, len(o.conns))
	for c := range o.conns {
		all = append(all, c)
	}
	return all
}

// accept serves the TCP listener.
func (o *Origin) accept() {
	defer o.wait.Done()
	l := &listener{Listener: o.tcp, origin: o}
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors: later there may be some
			if !o.sleep(pace) {
				return
			}
			continue
		}
		o.wait.Add(1)
		go func() {
			defer o.wait.Done()
			defer c.Close()
			o.serve(c)
		}()
	}
}

// echo sends back what comes until the peer leaves or stops sending. Its errors
// are the peer's leaving; the visitor tells what it means.
func (o *Origin) echo(rw io.ReadWriter) {
	buf := make([]byte, chunk)
	var next time.Time
	for {
		n, err := rw.Read(buf)
		if n > 0 {
			if !o.sleep(time.Until(next)) {
				return
			}
			next = time.Now().Add(pace)
			if _, err := rw.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// header is what the first bytes of a connection begin with that is not to be echoed:
// the word, the flow's first letter, and the visit's seed in eight bytes, big-endian.
const (
	headerWord = "halfopen"
	headerSize = len(headerWord) + 1 + 8
)

func appendHeader(b []byte, f Flow, seed uint64) []byte {
	b = append(append(b, headerWord...), f.letter())
	return binary.BigEndian.AppendUint64(b, seed)
}

// serve echoes a connection, or does what its header asks for.
func (o *Origin) serve(rw io.ReadWriter) {
	head := make([]byte, headerSize, chunk)
	n, err := io.ReadAtLeast(rw, head, 1)
	for ; err == nil && n < headerSize && bytes.HasPrefix([]byte(headerWord), head[:min(n, len(headerWord))]); err = nil {
		var more int
		if more, err = rw.Read(head[n:]); err != nil {
			break
		}
		n += more
	}
	if n < headerSize || !bytes.HasPrefix(head, []byte(headerWord)) {
		o.echo(readWriter{io.MultiReader(bytes.NewReader(head[:n]), rw), rw})
		return
	}
	seed := binary.BigEndian.Uint64(head[len(headerWord)+1:])
	body := make([]byte, first)
	if _, err := io.ReadFull(rw, body); err != nil {
		return
	}
	if _, err := rw.Write(body); err != nil {
		return
	}
	asked := head[len(headerWord)]
	switch asked {
	case Upload.letter():
		o.verify(rw, seed, first)
		return
	case MuteOrigin.letter():
		o.hold(rw)
		return
	case MuteVisitor.letter():
		if half, ok := rw.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			_, _ = io.Copy(io.Discard, rw) // until the visitor leaves, or is taken away
		}
		return
	}
	s, buf := newStream(seed), make([]byte, chunk)
	s.next(body)
	rest := pace
	if asked == Stalled.letter() {
		rest, buf = 0, make([]byte, 8*chunk) // until the peer takes no more
	}
	for o.sleep(rest) {
		s.next(buf)
		if _, err := rw.Write(buf); err != nil {
			return
		}
	}
}

// hold keeps a connection and says nothing, also after the far end has ended its
// direction, until the network or the far end takes the connection away.
func (o *Origin) hold(r io.Reader) {
	buf := make([]byte, chunk)
	for o.sleep(pace) {
		if _, err := r.Read(buf); err != nil && !errors.Is(err, io.EOF) {
			return
		}
	}
}

type readWriter struct {
	io.Reader
	io.Writer
}

// verify checks an upload, after its first n bytes, until it ends or a byte is wrong.
func (o *Origin) verify(r io.Reader, seed uint64, n int) {
	c, buf := newChecker(seed), make([]byte, chunk)
	c.stream.next(make([]byte, n))
	for {
		got, err := r.Read(buf)
		if bad := c.check(buf[:got]); bad != nil {
			o.mu.Lock()
			defer o.mu.Unlock()
			if o.corrupt == nil {
				o.corrupt = fmt.Errorf("upload with seed %d: %w", seed, bad)
			}
			return
		}
		o.mu.Lock()
		o.checked[seed] += int64(got)
		o.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Checked is how many bytes of the upload with a seed have come, all of them right.
func (o *Origin) Checked(seed uint64) int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.checked[seed]
}

// Err is the first wrong byte that came in an upload (ErrCorrupt), nil if there was none.
func (o *Origin) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.corrupt
}

// sleep tells whether the origin is still open after d.
func (o *Origin) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-o.closing:
		return false
	}
}

// listener hands out connections that the origin counts.
type listener struct {
	net.Listener
	origin *Origin
}

func (l *listener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, origin: l.origin}
	l.origin.mu.Lock()
	defer l.origin.mu.Unlock()
	select {
	case <-l.origin.closing:
		return nil, errors.Join(net.ErrClosed, raw.Close())
	default:
		l.origin.conns[c] = struct{}{}
		return c, nil
	}
}

// conn is one connection of the origin, counted until it is closed.
type conn struct {
	net.Conn
	origin *Origin
}

func (c *conn) Close() error {
	c.origin.mu.Lock()
	delete(c.origin.conns, c)
	c.origin.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite lets the HTTP server end an answer before a request was read whole.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
