package tunnel

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
)

// A head is refused if two parsers could read it differently.
func TestBadHeads(t *testing.T) {
	const ok = "GET / HTTP/1.1\r\nHost: a.test\r\n"
	for name, c := range map[string]struct {
		head   string
		status int
	}{
		"bare LF in the first line":     {"GET / HTTP/1.1\nHost: a.test\r\n\r\n", 400},
		"bare LF in a header":           {ok + "X: 1\nY: 2\r\n\r\n", 400},
		"bare LF only":                  {"GET / HTTP/1.1\nHost: a.test\n\n", 400},
		"LF first":                      {"\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"bare CR":                       {ok + "X: 1\rY: 2\r\n\r\n", 400},
		"NUL":                           {ok + "X: \x00\r\n\r\n", 400},
		"empty line first":              {"\r\n" + ok + "\r\n", 400},
		"folded header":                 {ok + "X: 1\r\n 2\r\n\r\n", 400},
		"folded with tab":               {ok + "X: 1\r\n\t2\r\n\r\n", 400},
		"space before colon":            {ok + "Content-Length : 1\r\n\r\n", 400},
		"no colon":                      {ok + "nonsense\r\n\r\n", 400},
		"no header name":                {ok + ": x\r\n\r\n", 400},
		"two Content-Lengths":           {ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
		"two equal Content-Lengths":     {ok + "Content-Length: 1\r\ncontent-length: 1\r\n\r\n", 400},
		"list of Content-Lengths":       {ok + "Content-Length: 1, 1\r\n\r\n", 400},
		"signed Content-Length":         {ok + "Content-Length: +1\r\n\r\n", 400},
		"negative Content-Length":       {ok + "Content-Length: -1\r\n\r\n", 400},
		"empty Content-Length":          {ok + "Content-Length:\r\n\r\n", 400},
		"endless Content-Length":        {ok + "Content-Length: 9999999999999999999999\r\n\r\n", 400},
		"both lengths":                  {ok + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		"two Transfer-Encodings":        {ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		"other Transfer-Encoding":       {ok + "Transfer-Encoding: gzip, chunked\r\n\r\n", 400},
		"hidden Transfer-Encoding":      {ok + "Transfer-Encoding: \x0bchunked\r\n\r\n", 400},
		"Transfer-Encoding in HTTP/1.0": {"GET / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		"no Host":                       {"GET / HTTP/1.1\r\n\r\n", 400},
		"two Hosts":                     {ok + "Host: a.test\r\n\r\n", 400},
		"empty Host":                    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
		"list of Hosts":                 {"GET / HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n", 400},
		"Host with path":                {"GET / HTTP/1.1\r\nHost: a.test/x\r\n\r\n", 400},
		"Host with user":                {"GET / HTTP/1.1\r\nHost: x@a.test\r\n\r\n", 400},
		"Host with bad port":            {"GET / HTTP/1.1\r\nHost: a.test:80x\r\n\r\n", 400},
		"other host in target":          {"GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"user in target":                {"GET http://x@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"target of other scheme":        {"GET https://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"target without slash":          {"GET x HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"star without OPTIONS":          {"GET * HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"two spaces":                    {"GET  / HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"tab":                           {"GET\t/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"bad method":                    {"G(T / HTTP/1.1\r\nHost: a.test\r\n\r\n", 400},
		"HTTP/0.9":                      {"GET /\r\n\r\n", 400},
		"HTTP/2":                        {"PRI * HTTP/2.0\r\n\r\n", 505},
		"HTTP/1.2":                      {"GET / HTTP/1.2\r\nHost: a.test\r\n\r\n", 505},
		"CONNECT":                       {"CONNECT a.test:80 HTTP/1.1\r\nHost: a.test\r\n\r\n", 501},
		"too long":                      {ok + "X: " + strings.Repeat("x", maxHead) + "\r\n\r\n", 431},
	} {
		got := 200
		head, _, _, err := readHead(pretend(c.head, false))
		if err == nil {
			_, err = parseHead(head, netip.MustParseAddr("192.0.2.1"))
		}
		if refused := (*httpError)(nil); errors.As(err, &refused) {
			got = refused.status
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got != c.status {
			t.Errorf("%s: got %d, want %d", name, got, c.status)
		}
	}
}

// pretend is a connection from which text is read, byte by byte or at once.
func pretend(text string, dribble bool) net.Conn {
	var r io.Reader = strings.NewReader(text)
	if dribble {
		r = iotest.OneByteReader(r)
	}
	return &readConn{r: r}
}

type readConn struct {
	net.Conn
	r io.Reader
}

func (c *readConn) Read(p []byte) (int, error) { return c.r.Read(p) }

func TestGoodHeads(t *testing.T) {
	const forwarded = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Host: a.test\r\nX-Forwarded-Proto: http\r\n\r\n"
	for in, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n":                                                            "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n" + forwarded,
		"GET http://a.test HTTP/1.1\r\nHost: a.test\r\n\r\n":                                                "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n" + forwarded,
		"GET HTTP://A.test?q HTTP/1.1\r\nHost: a.test\r\n\r\n":                                              "GET /?q HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n" + forwarded,
		"OPTIONS * HTTP/1.1\r\nHost:a.test\r\n\r\n":                                                         "OPTIONS * HTTP/1.1\r\nHost:a.test\r\nConnection: close\r\n" + forwarded,
		"GET / HTTP/1.1\r\nHost: a.test\r\nconnection: x\r\nkeep-alive: 1\r\nProxy-Connection: x\r\n\r\n":   "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n" + forwarded,
		"GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: evil\r\nX-FORWARDED-PROTO: https\r\n\r\n":       "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n" + forwarded,
		"GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: ws\r\n\r\n":                                             "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n" + forwarded,
		"GET / HTTP/1.0\r\nHost: a.test\r\nUpgrade: ws\r\nConnection: upgrade\r\n\r\n":                      "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: close\r\n" + forwarded,
		"GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: ws\r\nConnection: a\r\nConnection: b , UPGRADE\r\n\r\n": "GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: ws\r\nConnection: Upgrade\r\n" + forwarded,
	} {
		for _, dribble := range []bool{false, true} {
			head, early, _, err := readHead(pretend(in+"\nbody\r\n\r\n", dribble))
			if err != nil {
				t.Errorf("%q: %v", in, err)
				continue
			}
			if dribble != (len(early) == 0) || string(head) != in {
				t.Errorf("%q: read as %q with %q after it", in, head, early)
			}
			req, err := parseHead(head, netip.MustParseAddr("192.0.2.1"))
			if err != nil {
				t.Errorf("%q: %v", in, err)
				continue
			}
			if string(req.forward) != want || req.host != "a.test" {
				t.Errorf("%q\ngot  %s %q\nwant a.test %q", in, req.host, req.forward, want)
			}
		}
	}
}

func TestHostNames(t *testing.T) {
	for in, want := range map[string]string{
		"a.test": "a.test", "A.Test.": "a.test", "a.test:8080": "a.test", "[::1]:80": "[::1]", "[::1]": "[::1]",
	} {
		if got, err := hostName(in); got != want || err != nil {
			t.Errorf("%q: got %q, %v; want %q", in, got, err, want)
		}
	}
}

// A head that ends too soon is an error of the connection, not a page.
func TestHeadEndsEarly(t *testing.T) {
	for _, text := range []string{"", "GET / HTTP/1.1\r\nHost: a.te"} {
		_, _, started, err := readHead(pretend(text, false))
		if err != io.EOF || started != (text != "") {
			t.Errorf("%q: got %v, started %v", text, err, started)
		}
	}
}

func FuzzHead(f *testing.F) {
	f.Add("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	f.Add("POST http://a.test/x HTTP/1.0\r\nHost: a.test:1\r\nContent-Length: 3\r\n\r\nabc")
	f.Add("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nearly")
	f.Fuzz(func(t *testing.T, text string) {
		head, early, _, err := readHead(pretend(text, false))
		if err != nil {
			return
		}
		if string(head)+string(early) != text[:len(head)+len(early)] {
			t.Fatal("bytes were lost")
		}
		visitor := netip.MustParseAddr("192.0.2.1")
		req, err := parseHead(head, visitor)
		if err != nil {
			return
		}
		// What we forward, we would accept, and forward as it is but for the
		// headers that we add.
		again, err := parseHead(req.forward, visitor)
		if err != nil || again.host != req.host || len(again.forward) != len(req.forward) {
			t.Fatalf("%q became %q, which is read as %+v, %v", head, req.forward, again, err)
		}
	})
}
