package tunnel

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// httpOrigin answers with what it was asked.
func httpOrigin(t *testing.T) string {
	return origin(t, func(conn *net.TCPConn) {
		req, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		sum := sha256.New()
		n, err := io.Copy(sum, req.Body)
		if err != nil {
			return
		}
		body := fmt.Sprintf("%s %s host=%s for=%s fwdhost=%s proto=%s close=%v te=%q n=%d sum=%x",
			req.Method, req.RequestURI, req.Host, strings.Join(req.Header.Values("X-Forwarded-For"), ";"),
			req.Header.Get("X-Forwarded-Host"), req.Header.Get("X-Forwarded-Proto"),
			req.Close, req.TransferEncoding, n, sum.Sum(nil)[:4])
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
	})
}

func TestHTTP(t *testing.T) {
	w := newWorld(t, nil)
	w.client(httpOrigin(t), nil)
	none := fmt.Sprintf("%x", sha256.New().Sum(nil)[:4])
	big := strings.Repeat("0123456789abcdef", 100_000) // several windows
	bigSum := sha256.Sum256([]byte(big))
	for head, want := range map[string]string{
		"GET /x?y=1 HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n": "GET /x?y=1 host=a.test for=127.0.0.1 fwdhost=a.test proto=http close=false te=[] n=0 sum=" + none,
		"GET http://A.test:8080/abs HTTP/1.1\r\nHost: A.test:8080\r\n\r\n":                                                           "GET /abs host=A.test:8080 for=127.0.0.1 fwdhost=A.test:8080 proto=http close=false te=[] n=0 sum=" + none,
		"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n":                                 fmt.Sprintf("POST / host=a.test for=127.0.0.1 fwdhost=a.test proto=http close=false te=[\"chunked\"] n=3 sum=%x", func() []byte { s := sha256.Sum256([]byte("abc")); return s[:4] }()),
		fmt.Sprintf("POST / HTTP/1.0\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n%s", len(big), big):                                fmt.Sprintf("POST / host=a.test for=127.0.0.1 fwdhost=a.test proto=http close=true te=[] n=%d sum=%x", len(big), bigSum[:4]),
	} {
		resp, body := w.request(head)
		if resp.StatusCode != 200 || body != want {
			t.Errorf("%.40q\ngot  %d %s\nwant 200 %s", head, resp.StatusCode, body, want)
		}
	}
	eventually(t, "no stream is left", func() bool { return w.streams() == 0 })
}

func TestUpgradeKeepsEarlyBytes(t *testing.T) {
	w := newWorld(t, nil)
	heads := make(chan string, 1)
	w.client(origin(t, func(conn *net.TCPConn) {
		r := bufio.NewReader(conn)
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		heads <- fmt.Sprint(req.Header["Connection"], req.Header["Upgrade"])
		// The first frames of the origin ride on its answer.
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly-down")
		_, _ = io.Copy(conn, r) // until the visitor ends
	}), nil)
	conn := dial(t, w.server.HTTPAddr())
	say(t, conn, "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\nearly-up")
	hear(t, conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly-down")
	hear(t, conn, "early-up")
	if got := take(t, heads); got != "[Upgrade] [websocket]" {
		t.Errorf("the origin got Connection and Upgrade %s", got)
	}
	for i := range 3 {
		say(t, conn, fmt.Sprint("frame ", i))
		hear(t, conn, fmt.Sprint("frame ", i))
	}
}

func TestTCPHalfClose(t *testing.T) {
	w := newWorld(t, nil)
	w.client(origin(t, func(conn *net.TCPConn) {
		all, err := io.ReadAll(conn) // only the visitor's FIN ends this
		if err == nil {
			fmt.Fprintf(conn, "got %d", len(all))
		}
	}), nil)
	conn := w.visitTCP()
	say(t, conn, strings.Repeat("x", 300_000))
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(conn); err != nil || string(all) != "got 300000" {
		t.Errorf("got %q, %v", all, err)
	}
	eventually(t, "no stream is left", func() bool { return w.streams() == 0 })
}

// The other half first: an origin that has ended still hears the visitor.
func TestOriginHalfCloses(t *testing.T) {
	w := newWorld(t, nil)
	heard := make(chan string, 1)
	w.client(origin(t, func(conn *net.TCPConn) {
		_, _ = io.WriteString(conn, "bye")
		_ = conn.CloseWrite()
		all, _ := io.ReadAll(conn)
		heard <- string(all)
	}), nil)
	conn := w.visitTCP()
	if all, err := io.ReadAll(conn); err != nil || string(all) != "bye" {
		t.Fatalf("got %q, %v", all, err)
	}
	say(t, conn, "still here")
	conn.Close()
	if got := take(t, heard); got != "still here" {
		t.Errorf("the origin heard %q", got)
	}
}

// lasting is for a connection that moves much, or waits long: it has a deadline all the
// same, for what does not come to an end.
func lasting(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(hung)); err != nil {
		t.Fatal(err)
	}
}

// Twenty visitors at once, both directions at once, every byte checked.
func TestManyBothWays(t *testing.T) {
	w := newWorld(t, nil)
	w.client(origin(t, echo), nil)
	var wg sync.WaitGroup
	for i := range 20 {
		conn := w.visitTCP()
		lasting(t, conn)
		sent := make([]byte, 700_000)
		random := rand.NewChaCha8([32]byte{byte(i)})
		_, _ = random.Read(sent) // never fails
		wg.Go(func() {
			for p := sent; len(p) > 0; {
				n, err := conn.Write(p[:min(len(p), 1+len(p)%70_000)])
				if err != nil {
					t.Errorf("visitor %d: %v", i, err)
					return
				}
				p = p[n:]
			}
			if err := conn.CloseWrite(); err != nil {
				t.Errorf("visitor %d: %v", i, err)
			}
		})
		wg.Go(func() {
			got, err := io.ReadAll(conn)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("visitor %d: got %d of %d bytes, %v", i, len(got), len(sent), err)
			}
		})
	}
	wg.Wait()
	eventually(t, "no stream is left", func() bool { return w.streams() == 0 })
}

func TestPages(t *testing.T) {
	w := newWorld(t, func(c *ServerConfig) { c.MaxStreams = 1 })
	const get = "GET / HTTP/1.1\r\nHost: %s\r\n\r\n"
	page := func(host string, status int) {
		t.Helper()
		resp, body := w.request(fmt.Sprintf(get, host))
		if resp.StatusCode != status || !strings.HasPrefix(body, fmt.Sprint(status)) {
			t.Errorf("%s: got %d %q, want %d", host, resp.StatusCode, body, status)
		}
	}
	page("nobody.test", 404)
	page("a.test", 503)
	w.client(fmt.Sprintf("127.0.0.1:%d", freePort(t)), nil)
	page("a.test", 502)
	page("A.TEST.:80", 502)
	page("b.test", 503)
	holder := newHolder(t)
	w.client(holder.address, func(c *ClientConfig) { c.Name, c.Port = "b.test", 0 })
	say(t, dial(t, w.server.HTTPAddr()), fmt.Sprintf(get, "b.test"))
	take(t, holder.in)
	page("b.test", 503) // one stream is the limit here
}

// holder is an origin that listens and says nothing.
type holder struct {
	address string
	in      chan *net.TCPConn // connections, after their first byte
	out     chan error        // how they ended
}

func newHolder(t *testing.T) *holder {
	h := &holder{in: make(chan *net.TCPConn, 100), out: make(chan error, 100)}
	h.address = origin(t, func(conn *net.TCPConn) {
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			h.out <- err
			return
		}
		h.in <- conn
		_, err := io.Copy(io.Discard, conn)
		h.out <- err
	})
	return h
}

func TestResetsTravel(t *testing.T) {
	w := newWorld(t, nil)
	h := newHolder(t)
	w.client(h.address, nil)

	visitor := w.visitTCP()
	say(t, visitor, "x")
	take(t, h.in)
	abort(visitor)
	visitor.Close()
	if err := take(t, h.out); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the visitor's reset reached the origin as %v", err)
	}

	visitor = w.visitTCP()
	say(t, visitor, "x")
	conn := take(t, h.in)
	abort(conn)
	conn.Close()
	if _, err := visitor.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the origin's reset reached the visitor as %v", err)
	}
	eventually(t, "no stream is left", func() bool { return w.streams() == 0 })
}

// A service that answers and closes on top of an unread request resets the
// connection. The answer must arrive all the same.
func TestAnswerBeforeReset(t *testing.T) {
	w := newWorld(t, nil)
	// Not more than the first window of a connection: all is sent when the origin closes,
	// and what was not would go with the RST.
	answer := strings.Repeat("answer", 10_000)
	w.client(origin(t, func(conn *net.TCPConn) {
		_, _ = conn.Read(make([]byte, 1)) // the rest of the request stays unread
		_, _ = io.WriteString(conn, answer)
	}), nil)
	for range 50 {
		visitor := w.visitTCP()
		say(t, visitor, strings.Repeat("request", 1000))
		got, err := io.ReadAll(visitor)
		if string(got) != answer {
			t.Fatalf("got %d of %d bytes, then %v", len(got), len(answer), err)
		}
	}
	eventually(t, "no stream is left", func() bool { return w.streams() == 0 })
}

// A visitor resets while the origin takes nothing: for want of credit the server
// may not read from the visitor, and must notice all the same.
func TestResetWithoutCredit(t *testing.T) {
	w := newWorld(t, nil)
	begun, ended := make(chan struct{}), make(chan bool, 1)
	w.client(origin(t, func(conn *net.TCPConn) {
		_ = conn.SetReadBuffer(4 << 10) // the smaller, the sooner full
		_, _ = conn.Read(make([]byte, 1))
		close(begun)
		dead := false // asked but once: the kernel tells it once
		until(func() bool { dead = isBroken(conn); return dead })
		ended <- dead
	}), nil)
	visitor := w.visitTCP()
	w.flood(visitor)
	take(t, begun) // else the reset may overtake the dial, and end that
	abort(visitor)
	visitor.Close()
	if !take(t, ended) {
		t.Error("the origin's connection lives on")
	}
	eventually(t, "no stream is left", func() bool { return w.streams() == 0 })
}

// A visitor resets after it has ended its direction: nothing is left to read.
func TestResetAfterFIN(t *testing.T) {
	w := newWorld(t, nil)
	ended, heard := make(chan bool, 1), make(chan struct{})
	w.client(origin(t, func(conn *net.TCPConn) {
		_, _ = io.Copy(io.Discard, conn)
		close(heard)
		dead := false // asked but once: the kernel tells it once
		until(func() bool { dead = isBroken(conn); return dead })
		ended <- dead
	}), nil)
	visitor := w.visitTCP()
	say(t, visitor, "x")
	if err := visitor.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	take(t, heard)
	abort(visitor)
	visitor.Close()
	if !take(t, ended) {
		t.Error("the origin's connection lives on")
	}
	eventually(t, "no stream is left", func() bool { return w.streams() == 0 })
}

// isBroken says whether a connection is dead, without reading from it.
func isBroken(conn *net.TCPConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return true
	}
	dead := false
	err = raw.Control(func(fd uintptr) { dead = broken(int(fd)) != nil })
	return err != nil || dead
}

// flood writes until the server may not read more for want of credit.
func (w *world) flood(conn *net.TCPConn) {
	w.t.Helper()
	var writing sync.WaitGroup
	writing.Go(func() {
		for total := 0; total < 1<<28; {
			n, err := conn.Write(make([]byte, 1<<20))
			total += n
			if err != nil {
				return
			}
		}
		w.t.Error("the flood is taken")
	})
	eventually(w.t, "a stream wants credit", func() bool { return w.blocked() == 1 })
	if err := conn.SetWriteDeadline(past); err != nil {
		w.t.Fatal(err)
	}
	writing.Wait()
}

// blocked is how many streams of the server may not read for want of credit.
func (w *world) blocked() int {
	n := 0
	for _, l := range w.server.registry.all() {
		for _, s := range l.sessions() {
			s.mu.Lock()
			for _, st := range s.streams {
				if st.blocked && st.credit == 0 {
					n++
				}
			}
			s.mu.Unlock()
		}
	}
	return n
}
