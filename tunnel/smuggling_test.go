package tunnel

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// Nothing that could be a second request in the origin's eyes gets past: not
// behind a body, not behind an upgrade that was declined.
func TestSmuggling(t *testing.T) {
	w := newWorld(t, nil)
	var seen atomic.Value
	seen.Store("")
	address, _ := webOrigin(t, func(out http.ResponseWriter, in *http.Request) {
		body, err := io.ReadAll(in.Body)
		if err != nil {
			return // the head was here before the bad chunk came, and ended the connection
		}
		seen.Store(seen.Load().(string) + fmt.Sprintf("%s %s for=%s body=%s;", in.Method, in.URL.Path, in.Header.Get("X-Forwarded-For"), body))
	})
	w.client(address, nil)
	const evil = "GET /evil HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"
	const head = "POST /a HTTP/1.1\r\nHost: a.test\r\n"
	for name, c := range map[string]struct {
		raw      string
		statuses []int
		seen     string
	}{
		"behind a body":        {head + "Content-Length: 1\r\n\r\nx" + evil, []int{200, 200}, "POST /a for=127.0.0.1 body=x;GET /evil for=127.0.0.1 body=;"},
		"behind chunks":        {head + "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n" + evil, []int{200, 200}, "POST /a for=127.0.0.1 body=x;GET /evil for=127.0.0.1 body=;"},
		"upgrade declined":     {"GET /a HTTP/1.1\r\nHost: a.test\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + evil, []int{200, 200}, "GET /a for=127.0.0.1 body=;GET /evil for=127.0.0.1 body=;"},
		"two lengths":          {head + "Content-Length: 1\r\nContent-Length: 90\r\n\r\nx" + evil, []int{400}, ""},
		"length and chunks":    {head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + evil, []int{400}, ""},
		"folded":               {head + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + evil, []int{400}, ""},
		"bare LF":              {"POST /a HTTP/1.1\nHost: a.test\n\n" + evil, []int{400}, ""},
		"second Host":          {"GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n", []int{400}, ""},
		"absolute, other host": {"GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", []int{400}, ""},
		"bad chunk size":       {head + "Transfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n" + evil, []int{400}, ""},
		"chunk size and more":  {head + "Transfer-Encoding: chunked\r\n\r\n1 1\r\nx\r\n0\r\n\r\n" + evil, []int{400}, ""},
		"padded, extended":     {head + "Transfer-Encoding: chunked\r\n\r\n1;a = b\r\nx\r\n0 \t\r\n\r\n" + evil, []int{200, 200}, "POST /a for=127.0.0.1 body=x;GET /evil for=127.0.0.1 body=;"},
		"chunk with bare LF":   {head + "Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n" + evil, []int{400}, ""},
		"chunk too long":       {head + "Transfer-Encoding: chunked\r\n\r\n1\r\nxGET /evil\r\n0\r\n\r\n" + evil, []int{400}, ""},
		"second is bad":        {head + "Content-Length: 1\r\n\r\nxGET /evil HTTP/1.1\r\nHost : a.test\r\n\r\n", []int{200, 400}, "POST /a for=127.0.0.1 body=x;"},
	} {
		seen.Store("")
		conn := dial(t, w.server.HTTPAddr())
		say(t, conn, c.raw)
		answers := bufio.NewReader(conn)
		for _, status := range c.statuses {
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Errorf("%s: no answer: %v", name, err)
				break
			}
			if resp.StatusCode != status {
				t.Errorf("%s: got %d, want %d", name, resp.StatusCode, status)
			}
			if status == 400 && resp.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: it was the origin that refused it", name)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
		}
		conn.Close()
		eventually(t, "no stream is left", func() bool { return w.streams() == 0 })
		if got := seen.Load().(string); !strings.HasPrefix(c.seen, got) || c.seen != got && c.seen != "" {
			t.Errorf("%s: the origin saw %s", name, got)
		}
	}
}

// A chunk that is malformed: 400 while nothing of the answer is written, also if other
// answers were. One that has begun, or that was the whole answer, is not followed by a
// page: the connection is reset.
func TestBadChunkAfterAnswer(t *testing.T) {
	w := newWorld(t, nil)
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
	w.client(origin(t, func(conn *net.TCPConn) {
		in := bufio.NewReader(conn)
		for {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			if body := req.URL.Path[1:]; body != "" {
				_, _ = io.WriteString(conn, answer+body) // the visitor notices
			}
			_, _ = io.Copy(io.Discard, req.Body)
		}
	}), nil)
	const head = " HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
	for name, c := range map[string]struct {
		answers []string // as much of their bodies as comes
		page    bool
	}{
		"no answer":            {[]string{""}, true},
		"no answer after one":  {[]string{"ok", ""}, true},
		"an answer has begun":  {[]string{"o"}, false},
		"the second has begun": {[]string{"ok", "o"}, false},
		"the answer was whole": {[]string{"ok"}, false},
	} {
		conn := dial(t, w.server.HTTPAddr())
		for i, body := range c.answers {
			if i > 0 {
				say(t, conn, "0\r\n\r\n")
			}
			say(t, conn, "POST /"+body+head)
			if body != "" {
				hear(t, conn, answer+body)
			}
		}
		say(t, conn, "zz\r\n")
		all, err := io.ReadAll(conn)
		if c.page && (err != nil || !strings.HasPrefix(string(all), "HTTP/1.1 400 ")) || !c.page && (err == nil || len(all) > 0) {
			t.Errorf("%s: heard %.40q, %v", name, all, err)
		}
		conn.Close()
	}
	eventually(t, "no stream is left", func() bool { return w.streams() == 0 })
}
