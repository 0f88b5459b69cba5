package tunnel

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// mixedFor is how long TestMixedTraffic runs: go test ./tunnel -run MixedTraffic -mixed 10m
var mixedFor = flag.Duration("mixed", 1500*time.Millisecond, "how long the mixed traffic with random kills runs")

// bytesOf is an endless text that only one visitor has: what arrives from another
// visitor, or at another place, differs.
func bytesOf(id uint64) io.Reader {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], id)
	return rand.NewChaCha8(seed)
}

// mixedOrigin echoes TCP connections, whose first byte is 'E', and answers
// "GET /ID/LENGTH" with the bytes of ID; a POST with its own body.
func mixedOrigin(conn *net.TCPConn) {
	r := bufio.NewReader(conn)
	if first, err := r.Peek(1); err != nil || first[0] == 'E' {
		_, _ = io.Copy(conn, r)
		return
	}
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		if req.Method == http.MethodGet {
			var id uint64
			var n int
			if _, err := fmt.Sscanf(req.URL.Path, "/%d/%d", &id, &n); err != nil {
				return
			}
			body = make([]byte, n)
			_, _ = io.ReadFull(bytesOf(id), body) // never fails
		}
		if _, err := fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
			return
		}
	}
}

// mixed is the traffic: visitors that come again and again, and check every byte
// that they get. Their connections may end at any moment; never with other bytes.
type mixed struct {
	t       *testing.T
	tcp     string
	http    string
	ids     atomic.Uint64
	checked atomic.Int64 // bytes
	broken  atomic.Int64 // connections that ended early
}

// echo sends the visitor's bytes in pieces and compares what comes back.
func (m *mixed) echo(random *rand.Rand) error {
	conn, err := net.Dial("tcp", m.tcp)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	id := m.ids.Add(1)
	total := random.IntN(300_000)
	var late time.Duration
	if random.IntN(2) == 0 { // a visitor who begins to read late, into a small buffer
		_ = conn.(*net.TCPConn).SetReadBuffer(64 << 10)
		total += 3_000_000
		late = time.Duration(random.IntN(100)) * time.Millisecond
	}
	var unsent error
	var sending sync.WaitGroup
	sending.Go(func() {
		text := io.MultiReader(bytes.NewReader([]byte("E")), bytesOf(id))
		for left := total + 1; left > 0; {
			piece := make([]byte, min(left, 1+random.IntN(90_000)))
			_, _ = io.ReadFull(text, piece) // never fails
			if _, unsent = conn.Write(piece); unsent != nil {
				return
			}
			left -= len(piece)
		}
		_ = conn.(*net.TCPConn).CloseWrite() // the peer may be gone
	})
	time.Sleep(late)
	n, err := m.compare(conn, io.MultiReader(bytes.NewReader([]byte("E")), bytesOf(id)), id)
	sending.Wait()
	if errors.Is(unsent, syscall.ECONNRESET) {
		return unsent // the RST, which the kernel tells once; after a FIN it would be EPIPE
	}
	if err == nil && n != total+1 { // who was cut short must be able to tell: by a RST
		m.t.Errorf("visitor %d got an orderly end after %d of %d bytes; writing: %v", id, n, total+1, unsent)
	}
	return err
}

// compare reads until the end and fails the test at the first wrong byte.
func (m *mixed) compare(conn io.Reader, want io.Reader, id uint64) (n int, err error) {
	buf, should := make([]byte, 32<<10), make([]byte, 32<<10)
	for {
		k, err := conn.Read(buf)
		_, _ = io.ReadFull(want, should[:k]) // never fails
		if !bytes.Equal(buf[:k], should[:k]) {
			m.t.Errorf("visitor %d got bytes that are not its own, at %d", id, n)
			return n, io.ErrUnexpectedEOF
		}
		n += k
		m.checked.Add(int64(k))
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// ask sends some requests on one connection.
func (m *mixed) ask(random *rand.Rand) error {
	conn, err := net.Dial("tcp", m.http)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	answers := bufio.NewReader(conn)
	for range 1 + random.IntN(5) {
		id, n := m.ids.Add(1), random.IntN(200_000)
		request := "GET /" + strconv.FormatUint(id, 10) + "/" + strconv.Itoa(n) + " HTTP/1.1\r\nHost: a.test\r\n\r\n"
		if random.IntN(2) == 0 {
			body := make([]byte, n)
			_, _ = io.ReadFull(bytesOf(id), body) // never fails
			request = fmt.Sprintf("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n%s", n, body)
		}
		if _, err := io.WriteString(conn, request); err != nil {
			return err
		}
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("answered %s", resp.Status)
		}
		got, err := m.compare(resp.Body, bytesOf(id), id)
		if err != nil {
			return err
		}
		if int64(got) != resp.ContentLength || got != n {
			m.t.Errorf("visitor %d got %d of %d bytes as a whole answer", id, got, n)
		}
	}
	return nil
}

// Mixed traffic while server, client, single sessions and the path between them
// die at random: no byte that arrives is wrong, no stream gets another's bytes, no
// answer that is called whole is short, and nothing is left.
func TestMixedTraffic(t *testing.T) {
	// A server comes back to its ports: none of those that the kernel gives to visitors.
	w := newWorld(t, func(c *ServerConfig) {
		public := int(c.Tokens[0].Ports[0])
		own, web := public, public
		for own == public || web == public || own == web {
			own, web = freePort(t), freePort(t)
		}
		c.Listen, c.HTTP = fmt.Sprintf("127.0.0.1:%d", own), fmt.Sprintf("127.0.0.1:%d", web)
	})
	listen, front := w.server.Addr(), w.server.HTTPAddr()
	r := newRelay(t, listen)
	at := origin(t, mixedOrigin)
	cfg := w.config(at)
	cfg.Server, cfg.Sessions = r.address, 4
	client := runClient(t, cfg)
	eventually(t, "client logged in", client.healthy)
	m := &mixed{t: t, tcp: fmt.Sprintf("127.0.0.1:%d", w.port), http: front}

	ctx, stop := context.WithCancel(context.Background())
	var visitors sync.WaitGroup
	defer visitors.Wait() // none of them outlives the test, also if it fails
	defer stop()
	end := time.Now().Add(*mixedFor)
	for i := range 12 {
		visitors.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 7))
			for ctx.Err() == nil {
				visit := m.echo
				if i%2 == 0 {
					visit = m.ask
				}
				if visit(random) != nil {
					m.broken.Add(1)
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
	random := rand.New(rand.NewPCG(1, 2))
	kills := 0
	for time.Now().Before(end) {
		time.Sleep(time.Duration(50+random.IntN(300)) * time.Millisecond)
		kills++
		switch random.IntN(4) {
		case 0:
			r.crash()
		case 1:
			if s := client.session(random.IntN(4)); s != nil {
				s.end(cause{byKernel, net.ErrClosed})
			}
		case 2:
			client.end(t)
			client = runClient(t, cfg)
		case 3:
			stopServer(t, w.server)
			var err error
			again := w.server.cfg
			again.Listen, again.HTTP, again.Admin = listen, front, ""
			again.Cert, again.Key = filepath.Join(certs, "cert.pem"), filepath.Join(certs, "key.pem")
			if w.server, err = NewServer(again); err != nil {
				t.Fatal(err)
			}
			if err := w.server.Start(); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "client back", client.healthy)
	stop()
	visitors.Wait()
	eventually(t, "HTTP visitors are served", func() bool { return m.ask(random) == nil })
	eventually(t, "TCP visitors are served", func() bool { return m.echo(random) == nil })
	eventually(t, "no stream is left", func() bool { return w.streams() == 0 })
	t.Logf("%d bytes checked, %d connections, %d cut short, %d kills", m.checked.Load(), m.ids.Load(), m.broken.Load(), kills)
}
