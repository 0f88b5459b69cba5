package tunnel

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// Sessions are replaced all the time, and no visitor notices: not one request is
// lost, no upgraded connection is cut.
func TestRecycling(t *testing.T) {
	w := newWorld(t, func(c *ServerConfig) { c.MaxAge, c.MaxRequests = 200*time.Millisecond, 50 })
	address, _ := webOrigin(t, func(out http.ResponseWriter, in *http.Request) {
		if in.Header.Get("Upgrade") == "" {
			time.Sleep(5 * time.Millisecond)
			fmt.Fprint(out, in.URL.Path)
			return
		}
		conn, rw, err := out.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		_, _ = io.Copy(conn, rw)
	})
	c := w.client(address, func(c *ClientConfig) { c.Sessions = 2 })
	socket := dial(t, w.server.HTTPAddr())
	say(t, socket, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
	hear(t, socket, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
	var visiting sync.WaitGroup
	for v := range 4 {
		conn := dial(t, w.server.HTTPAddr())
		answers := bufio.NewReader(conn)
		visiting.Go(func() {
			for i := range 120 {
				renew(conn)
				if _, err := fmt.Fprintf(conn, "GET /%d/%d HTTP/1.1\r\nHost: a.test\r\n\r\n", v, i); err != nil {
					t.Errorf("request %d: %v", i, err)
					return
				}
				resp, err := http.ReadResponse(answers, nil)
				if err != nil {
					t.Errorf("request %d: %v", i, err)
					return
				}
				if body, err := io.ReadAll(resp.Body); err != nil || string(body) != fmt.Sprintf("/%d/%d", v, i) {
					t.Errorf("request %d: %d %q, %v", i, resp.StatusCode, body, err)
				}
			}
		})
	}
	visiting.Wait()
	say(t, socket, "still here")
	hear(t, socket, "still here")
	eventually(t, "four sessions were replaced", func() bool { return w.log.count("detector=drain") >= 4 })
	if w.log.has("msg=logout") || c.log.has("msg=reconnect") {
		t.Error("the login ended")
	}
	metric(t, w.server.AdminAddr(), "tunnel_logins 1")
}

// A visitor that is idle when its session is replaced has no stream: it has a place, or
// is let go, and is let go when it goes on to be idle.
func TestIdleVisitorsOfReplacedSession(t *testing.T) {
	w := newWorld(t, func(c *ServerConfig) { c.MaxRequests, c.MaxPreAuth, c.Handshake = 3, 2, hung })
	address, _ := webOrigin(t, func(out http.ResponseWriter, _ *http.Request) { fmt.Fprint(out, "ok") })
	w.client(address, nil)
	type end struct {
		visitor int
		err     error
	}
	heard := make(chan end, 3)
	var conns []*net.TCPConn
	var answers []*bufio.Reader
	answer := func(i int) {
		t.Helper()
		resp, err := http.ReadResponse(answers[i], nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "ok" {
			t.Fatalf("got %d %q, %v", resp.StatusCode, body, err)
		}
	}
	for i := range 3 { // with the third the session is replaced
		conns = append(conns, dial(t, w.server.HTTPAddr()))
		answers = append(answers, bufio.NewReader(conns[i]))
		say(t, conns[i], "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		answer(i)
	}
	for i, r := range answers {
		go func() {
			_, err := r.Peek(1)
			heard <- end{i, err}
		}()
	}
	first := take(t, heard)
	if first.err != io.EOF {
		t.Errorf("the one too many: %v, want an orderly end", first.err)
	}
	metric(t, w.server.AdminAddr(), "tunnel_head_connections 2")
	metric(t, w.server.AdminAddr(), `tunnel_refusals_total{at="visitor",reason="limit"} 1`)
	for i, conn := range conns {
		if i == first.visitor {
			continue
		}
		say(t, conn, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		if next := take(t, heard); next != (end{i, nil}) {
			t.Fatalf("visitor %d, who has a place: %+v", i, next)
		}
		answer(i)
	}
	metric(t, w.server.AdminAddr(), "tunnel_head_connections 0")
}

// Nor may it be idle for ever.
func TestIdleVisitorWithoutStream(t *testing.T) {
	w := newWorld(t, func(c *ServerConfig) { c.MaxRequests, c.Handshake = 1, time.Second })
	address, _ := webOrigin(t, func(out http.ResponseWriter, _ *http.Request) { fmt.Fprint(out, "ok") })
	w.client(address, nil)
	visit := func() (string, error) {
		conn := dial(t, w.server.HTTPAddr())
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n") // if it fails, so does the read
		text, err := io.ReadAll(conn)
		return string(text), err
	}
	text, err := visit()
	for late := 1; late < 5 && w.log.count("visitor has sent no request") == late; late++ {
		text, err = visit() // the machine stood still between the visitor's dial and its request
	}
	if err != nil || !strings.HasSuffix(text, "\r\n\r\nok") {
		t.Errorf("heard %q, %v; want an answer and an orderly end", text, err)
	}
	metric(t, w.server.AdminAddr(), "tunnel_head_connections 0")
}

// A session that is to be replaced dies before its successor is there: its client logs in
// anew, and does not wait for what becomes of the successor.
func TestDeathBeforeTheSuccessor(t *testing.T) {
	w := newWorld(t, nil)
	r := newRelay(t, w.server.Addr())
	c := w.client("127.0.0.1:9", func(c *ClientConfig) { c.Server, c.Handshake = r.address, hung })
	r.silence(true) // the successor's handshake hangs
	s := c.session(0)
	s.mu.Lock()
	s.toldLocked(wire.Replace)
	s.mu.Unlock()
	s.end(cause{byHeartbeat, errors.New("no frame")})
	eventually(t, "the stay is over", func() bool { return c.log.has("msg=reconnect") })
	r.silence(false)
	eventually(t, "logged in again", func() bool { n := c.session(0); return n != nil && n != s })
}

// At the drain deadline those without a request under way are reset, and only
// those.
func TestDrainDeadline(t *testing.T) {
	w := newWorld(t, func(c *ServerConfig) { c.MaxRequests, c.DrainDeadline = 2, 200*time.Millisecond })
	h := newHolder(t)
	w.client(h.address, nil)
	idle := w.visitTCP()
	say(t, idle, "x")
	take(t, h.in)
	slow := dial(t, w.server.HTTPAddr())
	say(t, slow, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n") // the second: the session is to be replaced
	origin := take(t, h.in)
	wantAllEnded(t, []*net.TCPConn{idle})
	take(t, h.out) // all at once: slow, if it were reset, would be by now
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	say(t, origin, answer)
	hear(t, slow, answer)
	eventually(t, "the session ended with its last stream", func() bool { return w.log.has("detector=drain") })
	metric(t, w.server.AdminAddr(), `tunnel_stream_resets_total{reason="drained"} 1`)
	metric(t, w.server.AdminAddr(), `tunnel_stream_resets_total{reason="gone"} 1`)
	metric(t, w.server.AdminAddr(), `tunnel_sessions_recycled_total{reason="requests"} 1`)
	metric(t, w.server.AdminAddr(), "tunnel_sessions 1")
}

// GOAWAY that is read after the session has ended sets no alarm: nobody would stop it.
func TestDrainAfterTheEnd(t *testing.T) {
	w := newWorld(t, func(c *ServerConfig) { c.DrainDeadline = time.Hour })
	c := w.client(newHolder(t).address, nil)
	own := c.session(0)
	own.end(cause{byPeer, errors.New("over")})
	own.mu.Lock()
	defer own.mu.Unlock()
	own.cut = time.Hour
	own.drainLocked()
	if own.cutter != nil {
		t.Error("an alarm is set that nobody stops")
	}
}

// A server that is told to stop takes nobody new, lets requests end, and ends.
func TestServerDrains(t *testing.T) {
	w := newWorld(t, nil)
	h := newHolder(t)
	w.client(h.address, nil)
	slow := dial(t, w.server.HTTPAddr())
	say(t, slow, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	origin := take(t, h.in)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		w.server.Drain(context.Background())
	}()
	for _, address := range []string{w.server.HTTPAddr(), fmt.Sprintf("127.0.0.1:%d", w.port)} {
		eventually(t, "nobody new at "+address, func() bool {
			conn, err := net.Dial("tcp", address)
			if err == nil {
				conn.Close()
			}
			return err != nil
		})
	}
	if code, _ := get(t, w.server.AdminAddr(), "/healthz"); code != 503 {
		t.Errorf("a server that takes nobody is healthy: %d", code)
	}
	select {
	case <-drained:
		t.Fatal("drained with a request under way")
	case <-time.After(100 * time.Millisecond):
	}
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	say(t, origin, answer)
	hear(t, slow, answer)
	if _, err := slow.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the visitor's connection ended with %v", err)
	}
	take(t, drained)
	// One that has too much to do is bounded.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	w.server.Drain(ctx)
}

// Connections that have not logged in are nothing that is under way.
func TestDrainWaitsForNoHandshake(t *testing.T) {
	w := newWorld(t, func(c *ServerConfig) { c.Handshake = hung })
	dial(t, w.server.Addr())   // says nothing
	rawTLS(t, w.server.Addr()) // and sends no AUTH
	eventually(t, "both are there", func() bool { return w.server.held().PreAuth == 2 })
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		w.server.Drain(context.Background())
	}()
	take(t, drained)
}

// A session whose AUTH is read when the server leaves already would hear of that from
// nobody: it does not join.
func TestNoSessionJoinsADrainedLogin(t *testing.T) {
	w := newWorld(t, nil)
	login := wire.Login{Name: "a.test", Port: uint16(w.port), Token: secret}
	c := w.rawLogin(login)
	w.visitTCP() // keeps the session
	c.want(wire.Open)
	l := w.mustFind("a.test")
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		w.server.Drain(context.Background())
	}()
	c.want(wire.GoAway)
	login.Key, login.Slot = l.key, 1
	refused := (*refusal)(nil)
	_, late, err := w.server.authorize(wire.Frame{Type: wire.Auth, Payload: login.Append(nil)}, nil, &line{TCPConn: c.tcp}, nil)
	if !errors.As(err, &refused) || refused.code != wire.Busy {
		t.Errorf("got %v, want busy", err)
	}
	if late != nil {
		l.leave(1, late)
	}
	c.tcp.Close()
	take(t, drained)
}

// A client that is told to stop lets its visitors end, and then ends.
func TestClientDrains(t *testing.T) {
	w := newWorld(t, nil)
	h := newHolder(t)
	c := w.client(h.address, nil)
	visitor := w.visitTCP()
	say(t, visitor, "x")
	origin := take(t, h.in)
	if !c.Drain() {
		t.Error("nothing to drain with a visitor there")
	}
	eventually(t, "the server knows", func() bool { return w.server.held().Draining == 1 })
	if resp, _ := w.request("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"); resp.StatusCode != 503 {
		t.Errorf("who comes gets %d, want 503", resp.StatusCode)
	}
	say(t, origin, "still here")
	hear(t, visitor, "still here")
	visitor.Close()
	select {
	case <-c.done:
	case <-time.After(patience):
		t.Fatal("the client stays without visitors")
	}
	if c.err != nil || c.log.has("msg=reconnect") {
		t.Errorf("ended with %v", c.err)
	}
	idle := w.client(h.address, nil)
	if idle.Drain() {
		t.Error("something to drain without a visitor")
	}
}

// Fifteen minutes, a tenth more or less, pass in no time.
func TestAge(t *testing.T) {
	low, high := time.Hour, time.Duration(0)
	for range 200 {
		d := aging(15 * time.Minute)
		low, high = min(low, d), max(high, d)
	}
	if low < 13*time.Minute+30*time.Second || high > 16*time.Minute+30*time.Second || high-low < time.Minute {
		t.Errorf("ages from %v to %v", low, high)
	}
	synctest.Test(t, func(t *testing.T) {
		s := &session{role: roleServer, streams: map[uint32]*stream{}, wake: make(chan struct{}, 1), cut: time.Hour}
		start := time.Now()
		age := aging(15 * time.Minute)
		time.AfterFunc(age, func() { s.retire("age") })
		time.Sleep(age - time.Second)
		synctest.Wait()
		if s.replaced() {
			t.Errorf("replaced after %v, before %v", time.Since(start), age)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if !s.replaced() || len(s.control) == 0 || wire.Type(s.control[0]) != wire.GoAway {
			t.Errorf("not replaced after %v", time.Since(start))
		}
	})
}

// The drain deadline falls after its hour, on those with no request under way.
func TestDrainHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := &seats{most: 10}
		s := &session{role: roleServer, streams: map[uint32]*stream{}, wake: make(chan struct{}, 1), cut: time.Hour, room: room}
		s.mu.Lock()
		tcp, busy, socket := s.addLocked(1, wire.TCP, ""), s.addLocked(2, wire.HTTP, ""), s.addLocked(3, wire.HTTP, "")
		busy.front = &front{asked: 1, open: true}
		socket.front = &front{asked: 1, raw: true}
		s.mu.Unlock()
		s.drain(false)
		over := func() [3]bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return [3]bool{tcp.over != nil, busy.over != nil, socket.over != nil}
		}
		time.Sleep(time.Hour - time.Second)
		synctest.Wait()
		if got := over(); got != [3]bool{} {
			t.Errorf("reset before the hour: %v", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := over(); got != [3]bool{true, false, true} {
			t.Errorf("reset after the hour: %v", got)
		}
	})
}

// The client's waits double from the first to the longest, each drawn from the
// upper half.
func TestBackoff(t *testing.T) {
	low, high := time.Hour, time.Duration(0)
	for range 200 {
		d := jitter(time.Minute)
		low, high = min(low, d), max(high, d)
	}
	if low < 30*time.Second || high > time.Minute || high-low < 15*time.Second {
		t.Errorf("waits of a minute are %v to %v", low, high)
	}
	synctest.Test(t, func(t *testing.T) {
		book := &logBook{}
		c := &Client{
			cfg: ClientConfig{Server: "unreachable", Backoff: time.Second, BackoffCap: 30 * time.Second, Liveness: Liveness{Dial: time.Second}},
			log: book.logger(), metrics: newMetrics(nil, nil),
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = c.reconnect(ctx) // nil: it was told to stop
		}()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		// 1+2+4+8+16 s, then 30 s each, less up to a half: 23 to 45 attempts.
		if n := book.count("msg=reconnect"); n < 23 || n > 46 {
			t.Errorf("%d attempts in 10 minutes", n)
		}
		cancel()
		<-done
	})
}
