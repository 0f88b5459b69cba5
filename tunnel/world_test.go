package tunnel

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// patience is how long a test waits for what must happen; nothing waits so long
// when all is well.
const patience = 8 * time.Second

// certs is the folder of the certificates that all tests share.
var certs string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "tunnel-test-")
	if err == nil {
		certs = dir
		err = WriteCerts(dir, []string{"127.0.0.1", "tunnel.test"}, false)
	}
	code := 1
	if err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// eventually polls until ok, or fails the test.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// take receives, or fails the test.
func take[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came in time")
		panic("not reached")
	}
}

// until is eventually for goroutines that are not the test's: no failure.
func until(ok func() bool) {
	for end := time.Now().Add(patience); !ok() && time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
	}
}

// noLeak fails the test if, after all its other cleanups, it has more goroutines
// or sockets than now.
func noLeak(t *testing.T) {
	t.Helper()
	goroutines, sockets := runtime.NumGoroutine(), openSockets(t)
	t.Cleanup(func() {
		end := time.Now().Add(hung)
		for runtime.NumGoroutine() > goroutines || openSockets(t) > sockets {
			if time.Now().After(end) {
				var dump bytes.Buffer
				_ = pprof.Lookup("goroutine").WriteTo(&dump, 1) // to memory
				t.Fatalf("left behind: %d goroutines (had %d), %d sockets (had %d)\n%s",
					runtime.NumGoroutine(), goroutines, openSockets(t), sockets, &dump)
			}
			time.Sleep(2 * time.Millisecond)
		}
	})
}

// openSockets counts the sockets of this process. (Other descriptors come and go:
// the runtime's, and the pipes that io.Copy keeps for splice.)
func openSockets(t *testing.T) int {
	t.Helper()
	const dir = "/proc/self/fd/"
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, fd := range list {
		// One that is gone by now was the listing's own.
		if to, err := os.Readlink(dir + fd.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// logBook keeps log lines.
type logBook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBook) has(part string) bool { return b.count(part) > 0 }

func (b *logBook) count(part string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.text.String(), part)
}

func (b *logBook) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

const secret = "test-secret-1"

// world is a server, clients and an origin on loopback.
type world struct {
	t       *testing.T
	server  *Server
	log     *logBook // the server's
	port    int      // public TCP port that the token allows
	timings Liveness
}

// newWorld starts a server whose token allows the names a.test and b.test and
// one port.
func newWorld(t *testing.T, set func(*ServerConfig)) *world {
	t.Helper()
	noLeak(t)
	w := &world{t: t, log: &logBook{}, port: freePort(t)}
	token, err := ParseToken(fmt.Sprintf("%s=a.test,b.test,%d", secret, w.port))
	if err != nil {
		t.Fatal(err)
	}
	cfg := ServerConfig{
		Listen: "127.0.0.1:0", HTTP: "127.0.0.1:0", TCPHost: "127.0.0.1", Admin: "127.0.0.1:0",
		Cert: filepath.Join(certs, "cert.pem"), Key: filepath.Join(certs, "key.pem"),
		Tokens: []Token{token}, Log: w.log.logger(),
	}
	if set != nil {
		set(&cfg)
	}
	w.timings = cfg.Liveness
	w.server, err = NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopServer(t, w.server) })
	return w
}

// hung is how long something may take that must come to an end by itself. It is no
// measure of speed: a loaded machine may need a good part of it.
const hung = time.Minute

// stopServer stops a server and demands that it comes to an end.
func stopServer(t *testing.T, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hung)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		var dump bytes.Buffer
		_ = pprof.Lookup("goroutine").WriteTo(&dump, 1) // to memory
		t.Errorf("%v\n%s", err, &dump)
	}
}

// freePort returns a port that was free a moment ago, and is none of those that
// the kernel gives to outgoing connections (from 32768 by default).
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 20_000 + rand.IntN(12_000)
		if ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			ln.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// testClient is a running client.
type testClient struct {
	*Client
	log  *logBook
	stop context.CancelFunc
	done chan struct{}
	err  error // after done
}

// config is the settings of a client of this world. It has one session, so that
// a test knows which one its visitors go through.
func (w *world) config(origin string) ClientConfig {
	return ClientConfig{
		Server: w.server.Addr(), CA: filepath.Join(certs, "ca.pem"), Token: secret,
		Name: "a.test", Port: w.port, HTTPTo: origin, TCPTo: origin,
		Admin: "127.0.0.1:0", Liveness: w.timings, Sessions: 1,
		Backoff: 10 * time.Millisecond, BackoffCap: 50 * time.Millisecond,
	}
}

// session is the one in a slot, nil if there is none.
func (c *testClient) session(slot int) *session {
	l := c.current.Load()
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if slot >= len(l.slots) {
		return nil
	}
	return l.slots[slot]
}

// runClient starts a client; the test's end stops it.
func runClient(t *testing.T, cfg ClientConfig) *testClient {
	t.Helper()
	c := &testClient{log: &logBook{}, done: make(chan struct{})}
	cfg.Log = c.log.logger()
	var err error
	if c.Client, err = NewClient(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.stop = cancel
	go func() {
		defer close(c.done)
		c.err = c.Run(ctx)
	}()
	t.Cleanup(func() { c.end(t) })
	return c
}

// end stops the client and demands that it comes to an end.
func (c *testClient) end(t *testing.T) {
	t.Helper()
	c.stop()
	select {
	case <-c.done:
	case <-time.After(hung):
		var dump bytes.Buffer
		_ = pprof.Lookup("goroutine").WriteTo(&dump, 1) // to memory
		t.Fatalf("client does not stop\n%s", &dump)
	}
}

// client starts a client that is logged in when it returns.
func (w *world) client(origin string, set func(*ClientConfig)) *testClient {
	w.t.Helper()
	cfg := w.config(origin)
	if set != nil {
		set(&cfg)
	}
	c := runClient(w.t, cfg)
	eventually(w.t, "client logged in", c.healthy)
	return c
}

// origin listens and serves each connection in a goroutine that closes it.
func origin(t *testing.T, serve func(*net.TCPConn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			wg.Go(func() {
				serve(conn.(*net.TCPConn))
				conn.Close()
				mu.Lock()
				delete(open, conn)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for conn := range open {
			conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return ln.Addr().String()
}

// echo sends back what it gets, and ends when the visitor does.
func echo(conn *net.TCPConn) {
	if _, err := io.Copy(conn, conn); err == nil {
		_ = conn.CloseWrite() // the peer may be gone
	}
}

// dial connects as a visitor would; every read and write has a deadline, from now or from
// the last say or hear.
func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	renew(conn)
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// renew gives what is read and written next its own time.
func renew(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(patience)) // fails only on a closed connection, which fails by itself
}

func (w *world) visitTCP() *net.TCPConn {
	w.t.Helper()
	return dial(w.t, fmt.Sprintf("127.0.0.1:%d", w.port))
}

// say writes, hear reads exactly that.
func say(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	renew(conn)
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatalf("say %.20q: %v", text, err)
	}
}

func hear(t *testing.T, from io.Reader, want string) {
	t.Helper()
	if conn, ok := from.(net.Conn); ok {
		renew(conn)
	}
	got := make([]byte, len(want))
	if n, err := io.ReadFull(from, got); err != nil || string(got) != want {
		t.Fatalf("heard %q, %v; want %q", got[:n], err, want)
	}
}

// request sends a raw head and reads the answer.
func (w *world) request(head string) (*http.Response, string) {
	w.t.Helper()
	conn := dial(w.t, w.server.HTTPAddr())
	defer conn.Close()
	say(w.t, conn, head)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		w.t.Fatalf("read answer to %.40q: %v", head, err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("read body of the answer to %.40q: %v", head, err)
	}
	return resp, string(body)
}

// streams is how many streams the server has.
func (w *world) streams() int {
	n := 0
	for _, l := range w.server.registry.all() {
		for _, s := range l.sessions() {
			s.mu.Lock()
			n += len(s.streams)
			s.mu.Unlock()
		}
	}
	return n
}

// rawClient is a client that breaks rules: the test speaks for it.
type rawClient struct {
	t      *testing.T
	tcp    *net.TCPConn
	conn   *tls.Conn
	frames *wire.Reader
}

// rawTLS connects and does the TLS handshake only.
func rawTLS(t *testing.T, address string) *rawClient {
	t.Helper()
	pem, err := NewClient(ClientConfig{Server: address, CA: filepath.Join(certs, "ca.pem"), Token: "x", Name: "x", HTTPTo: "x:1"})
	if err != nil {
		t.Fatal(err)
	}
	tcp := dial(t, address)
	conn := tls.Client(tcp, pem.tls)
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return &rawClient{t, tcp, conn, wire.NewReader(conn)}
}

// rawLogin logs in.
func (w *world) rawLogin(l wire.Login) *rawClient {
	w.t.Helper()
	c := rawTLS(w.t, w.server.Addr())
	c.send(wire.Append(nil, wire.Auth, 0, l.Append(nil)))
	c.want(wire.AuthOK)
	return c
}

func (c *rawClient) send(frames []byte) {
	c.t.Helper()
	renew(c.tcp)
	if _, err := c.conn.Write(frames); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// want reads up to the next frame of a type.
func (c *rawClient) want(typ wire.Type) wire.Frame {
	c.t.Helper()
	renew(c.tcp)
	for {
		f, err := c.frames.Next()
		if err != nil {
			c.t.Fatalf("want %v: %v", typ, err)
		}
		if f.Type == typ {
			return f
		}
	}
}

// wantEnd reads until the server closes the connection.
func (c *rawClient) wantEnd() {
	c.t.Helper()
	renew(c.tcp)
	for {
		if _, err := c.frames.Next(); err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				c.t.Fatal("the server keeps the connection")
			}
			return
		}
	}
}
