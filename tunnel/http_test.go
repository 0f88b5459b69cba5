package tunnel

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// webOrigin serves with net/http, as most origins do, and counts connections.
func webOrigin(t *testing.T, serve http.HandlerFunc) (address string, connections *atomic.Int64) {
	t.Helper()
	connections = new(atomic.Int64)
	server := httptest.NewUnstartedServer(serve)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), connections
}

// browser is a client that keeps its one connection, as a rule: net/http gives one up
// whose writer stood still. It counts those that it has dialled.
func (w *world) browser() (client *http.Client, dialled *atomic.Int64) {
	dialled = new(atomic.Int64)
	transport := &http.Transport{
		MaxConnsPerHost: 1, ExpectContinueTimeout: patience,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			dialled.Add(1)
			return new(net.Dialer).DialContext(ctx, "tcp", w.server.HTTPAddr())
		},
	}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}, dialled
}

// fetch sends a request and returns the answer and its body.
func fetch(t *testing.T, client *http.Client, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func request1(t *testing.T, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// Requests of every kind on one connection: each is answered by its own answer,
// and all of a visitor go over one connection to the origin.
func TestKeepAlive(t *testing.T) {
	w := newWorld(t, nil)
	address, connections := webOrigin(t, func(out http.ResponseWriter, in *http.Request) {
		sum := sha256.New()
		n, err := io.Copy(sum, in.Body)
		if err != nil {
			return
		}
		out.Header().Set("Trailer", "Sum")
		switch in.URL.Path {
		case "/none":
			out.WriteHeader(http.StatusNoContent)
			return
		case "/cached":
			out.WriteHeader(http.StatusNotModified)
			return
		case "/early":
			out.WriteHeader(http.StatusEarlyHints)
		case "/stream":
			for i := range 5 {
				fmt.Fprintf(out, "part %d,", i)
				out.(http.Flusher).Flush()
			}
		case "/big":
			_, _ = out.Write(make([]byte, 700_000)) // the visitor notices
		}
		fmt.Fprintf(out, "%s %d %x %s", in.Method, n, sum.Sum(nil)[:4], in.Trailer.Get("End"))
		out.Header().Set("Sum", fmt.Sprint(n))
	})
	w.client(address, nil)
	client, dialled := w.browser()
	requests := int64(0)
	big := make([]byte, 1_500_000)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(big) // never fails
	sum := func(p []byte) string { s := sha256.Sum256(p); return fmt.Sprintf("%d %x ", len(p), s[:4]) }
	for range 3 {
		for _, c := range []struct {
			method, path string
			body         io.Reader
			expect       bool
			want         string
		}{
			{"GET", "/", nil, false, "GET " + sum(nil)},
			{"HEAD", "/", nil, false, ""},
			{"POST", "/", bytes.NewReader(big), false, "POST " + sum(big)},
			{"POST", "/", struct{ io.Reader }{bytes.NewReader(big)}, false, "POST " + sum(big)}, // chunked
			{"PUT", "/", bytes.NewReader(big[:10]), true, "PUT " + sum(big[:10])},
			{"GET", "/none", nil, false, ""},
			{"GET", "/cached", nil, false, ""},
			{"GET", "/early", nil, false, "GET " + sum(nil)},
			{"GET", "/stream", nil, false, "part 0,part 1,part 2,part 3,part 4,GET " + sum(nil)},
			{"GET", "/big", nil, false, strings.Repeat("\x00", 700_000) + "GET " + sum(nil)},
		} {
			requests++
			req := request1(t, c.method, "http://a.test"+c.path, c.body)
			if c.expect {
				req.Header.Set("Expect", "100-continue")
			}
			resp, body := fetch(t, client, req)
			if body != c.want {
				t.Errorf("%s %s: got %d %.60q, want %.60q", c.method, c.path, resp.StatusCode, body, c.want)
			}
			if resp.Trailer.Get("Sum") == "" && c.path == "/stream" {
				t.Errorf("%s %s: the trailer is lost", c.method, c.path)
			}
		}
	}
	if to, from := connections.Load(), dialled.Load(); to != from || from > requests/2 {
		t.Errorf("%d connections to the origin, %d from the visitor, for %d requests", to, from, requests)
	}
	// A trailer of the visitor reaches the origin.
	req := request1(t, "POST", "http://a.test/", struct{ io.Reader }{strings.NewReader("x")})
	req.Trailer = http.Header{"End": {"so far"}}
	if _, body := fetch(t, client, req); !strings.HasSuffix(body, " so far") {
		t.Errorf("trailer: got %q", body)
	}
}

// A change of Host on a connection opens a stream to the other host; what comes
// ahead of an answer waits for it.
func TestHostChanges(t *testing.T) {
	w := newWorld(t, nil)
	serve := func(name string) string {
		address, _ := webOrigin(t, func(out http.ResponseWriter, in *http.Request) {
			time.Sleep(10 * time.Millisecond) // the next request is there already
			fmt.Fprintf(out, "%s:%s%s;", name, in.Host, in.URL.Path)
		})
		return address
	}
	w.client(serve("A"), func(c *ClientConfig) { c.Port = 0 })
	w.client(serve("B"), func(c *ClientConfig) { c.Name, c.Port = "b.test", 0 })
	conn := dial(t, w.server.HTTPAddr())
	var all, want strings.Builder
	for i := range 12 {
		host := []string{"a.test", "b.test", "A.test", "b.test:80"}[i%4]
		fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: %s\r\nContent-Length: 3\r\n\r\nabc", i, host)
		fmt.Fprintf(&want, "%s:%s/%d;", strings.ToUpper(host[:1]), host, i)
	}
	say(t, conn, all.String())
	answers := bufio.NewReader(conn)
	var got strings.Builder
	for range 12 {
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(&got, resp.Body); err != nil {
			t.Fatal(err)
		}
	}
	if got.String() != want.String() {
		t.Errorf("got  %s\nwant %s", got.String(), want.String())
	}
	// A host that is not there gets its page after the answers before it.
	say(t, conn, "GET /x HTTP/1.1\r\nHost: a.test\r\n\r\nGET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n")
	for _, status := range []int{200, 404} {
		resp, err := http.ReadResponse(answers, nil)
		if err != nil || resp.StatusCode != status {
			t.Fatalf("got %v, %v; want %d", resp, err, status)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
	}
	conn.Close()
	eventually(t, "no stream is left", func() bool { return w.streams() == 0 })
}

// What an origin must not answer: the visitor of its first request is told, and
// nothing of it is taken for the answer to another request.
func TestBadAnswers(t *testing.T) {
	w := newWorld(t, nil)
	answer := make(chan string, 1)
	w.client(origin(t, func(conn *net.TCPConn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, <-answer)
			_, _ = conn.Read(make([]byte, 1))
		}
	}), nil)
	for text, status := range map[string]int{
		"":                                    0, // closed, but by us
		"SSH-2.0-OpenSSH_9.2\r\n":             502,
		"HTTP/2.0 200 OK\r\n\r\n":             502,
		"HTTP/1.1 2x0 OK\r\n\r\n":             502,
		"HTTP/1.1 200 OK\r\nno colon\r\n\r\n": 502,
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx":                        502,
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n":       502,
		"HTTP/1.1 101 Switching Protocols\r\n\r\n":                                                  502, // nobody asked
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n": 502, // one too many
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxAnswerHead):                               -1,  // begun, then cut
	} {
		answer <- text
		conn := dial(t, w.server.HTTPAddr())
		say(t, conn, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		if text == "" {
			eventually(t, "the origin is asked", func() bool { return len(answer) == 0 })
			conn.Close()
			continue
		}
		all, err := io.ReadAll(conn)
		if status > 0 && !strings.HasPrefix(string(all), fmt.Sprintf("HTTP/1.1 %d ", status)) || status < 0 && err == nil {
			t.Errorf("%.40q: got %.80q, %v", text, all, err)
		}
		conn.Close()
	}
	eventually(t, "no stream is left", func() bool { return w.streams() == 0 })
}

// An origin that closes without an answer: a page for the first request, a plain
// close for those that come on a connection that worked.
func TestNoAnswer(t *testing.T) {
	w := newWorld(t, nil)
	w.client(origin(t, func(conn *net.TCPConn) {
		in := bufio.NewReader(conn)
		for {
			req, err := http.ReadRequest(in)
			if err != nil || req.URL.Path == "/close" {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	}), nil)
	if resp, body := w.request("GET /close HTTP/1.1\r\nHost: a.test\r\n\r\n"); resp.StatusCode != 502 || !strings.Contains(body, "without an answer") {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
	conn := dial(t, w.server.HTTPAddr())
	say(t, conn, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	hear(t, conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	say(t, conn, "GET /close HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if all, err := io.ReadAll(conn); err != nil || len(all) > 0 {
		t.Errorf("got %q, %v", all, err)
	}
}

// A request that came with a long body, just before the answer ahead of it was over:
// there is no room for more, and no room is not less than none.
func TestRoomBehindARequest(t *testing.T) {
	f := &front{held: chunkOf(make([]byte, wire.MaxData)), open: true}
	for _, open := range []bool{true, false} {
		if f.open = open; f.room(wire.MaxData) != 0 {
			t.Errorf("open %v: room for %d bytes", open, f.room(wire.MaxData))
		}
	}
	f = &front{held: chunkOf([]byte("GET / ")), seen: len("GET / ")}
	if n := f.room(wire.MaxData); n != maxHead-len("GET / ") {
		t.Errorf("room for %d bytes of a head", n)
	}
}

// A head that stays half is refused in time also when it is not the first, and an
// idle visitor is not.
func TestLateHead(t *testing.T) {
	const limit = 3 * time.Second // longer than a busy machine stands still between the halves of a head
	w := newWorld(t, func(c *ServerConfig) { c.Handshake = limit })
	address, _ := webOrigin(t, func(out http.ResponseWriter, in *http.Request) { fmt.Fprint(out, in.URL.Path) })
	w.client(address, nil)
	conn := dial(t, w.server.HTTPAddr())
	answers := bufio.NewReader(conn)
	answer := func(want int) {
		t.Helper()
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != want {
			t.Errorf("got %d, %v; want %d", resp.StatusCode, err, want)
		}
	}
	say(t, conn, "GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\n")
	answer(200)
	time.Sleep(limit + 100*time.Millisecond)
	say(t, conn, "GET /2 HTTP/1.1\r\nHo")
	say(t, conn, "st: a.test\r\n\r\n")
	answer(200)
	start := time.Now()
	say(t, conn, "GET /3 HTT")
	answer(408)
	if took := time.Since(start); took < limit {
		t.Errorf("refused after %v", took)
	}
	eventually(t, "no stream is left", func() bool { return w.streams() == 0 })
}

// IPv6 visitors, and hosts.
func TestIPv6(t *testing.T) {
	if ln, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skip("this machine has no IPv6")
	} else {
		ln.Close()
	}
	w := newWorld(t, func(c *ServerConfig) { c.Listen, c.HTTP, c.TCPHost = "[::1]:0", "[::1]:0", "::1" })
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		fmt.Fprintf(out, "for %s", in.Header.Get("X-Forwarded-For"))
	}))
	ln, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	server.Listener.Close()
	server.Listener = ln
	server.Start()
	defer server.Close()
	w.client(ln.Addr().String(), func(c *ClientConfig) { c.ServerName = "tunnel.test" })
	if resp, body := w.request("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"); resp.StatusCode != 200 || body != "for ::1" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
	conn, err := net.Dial("tcp", fmt.Sprintf("[::1]:%d", w.port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	say(t, conn, "GET / HTTP/1.0\r\n\r\n")
	if all, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(all), "for ") {
		t.Errorf("TCP port: got %q, %v", all, err)
	}
}

// A visitor that leaves in the middle of a slow answer, or of an upload: the
// origin knows at once.
func TestVisitorLeaves(t *testing.T) {
	w := newWorld(t, nil)
	left := make(chan error, 1)
	address, _ := webOrigin(t, func(out http.ResponseWriter, in *http.Request) {
		control := http.NewResponseController(out)
		_ = control.EnableFullDuplex() // HTTP/1 can
		_ = control.Flush()            // the visitor waits for it
		_, err := io.Copy(io.Discard, in.Body)
		if err == nil {
			<-in.Context().Done()
			err = in.Context().Err()
		}
		left <- err
	})
	w.client(address, nil)
	for name, text := range map[string]string{
		"waiting":   "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"uploading": "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nabc",
	} {
		for _, reset := range []bool{false, true} {
			conn := dial(t, w.server.HTTPAddr())
			say(t, conn, text)
			eventually(t, "the origin answers", func() bool { return w.streams() == 1 })
			hear(t, conn, "HTTP/1.1 200 OK\r\n")
			if reset {
				abort(conn)
			}
			conn.Close()
			if err := take(t, left); err == nil {
				t.Errorf("%s, reset %v: the origin ended in order", name, reset)
			}
			eventually(t, "no stream is left", func() bool { return w.streams() == 0 })
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false)
	f.Add("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: 1\r\n\r\n", false)
	f.Add("HTTP/1.0 200 OK\r\n\r\nto the end", true)
	f.Add("HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x02hi", false)
	f.Fuzz(func(t *testing.T, text string, toHEAD bool) {
		// Byte by byte or at once, the answer ends at the same place.
		end := func(step int) (int, bool, error) {
			var a answers
			for n := 0; n < len(text); {
				m, done, err := a.feed([]byte(text[n:min(n+step, len(text))]), toHEAD)
				n += m
				if done || err != nil {
					return n, done, err
				}
			}
			return len(text), false, nil
		}
		n1, done1, err1 := end(1)
		n2, done2, err2 := end(1 << 20)
		if done1 != done2 || done1 && n1 != n2 || done1 && err2 != nil {
			t.Fatalf("%q: ends at %d (%v, %v) byte by byte, %d (%v, %v) at once", text, n1, done1, err1, n2, done2, err2)
		}
		if !done2 || n2 == 0 {
			return
		}
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text[:n2])), &http.Request{Method: map[bool]string{true: "HEAD", false: "GET"}[toHEAD]})
		if err != nil || resp.StatusCode < 200 {
			return
		}
		if _, err := io.Copy(io.Discard, resp.Body); errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%q: net/http wants more: %v", text[:n2], err)
		}
	})
}
