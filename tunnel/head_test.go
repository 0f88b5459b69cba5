package tunnel

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
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
		_, _, err := parse(c.head, 1<<20)
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

// parse finds and parses the head at the beginning of text, of which step bytes
// come at a time.
func parse(text string, step int) (head string, r request, err error) {
	p, seen := []byte(text), 0
	for have := min(step, len(p)); ; have = min(have+step, len(p)) {
		end, err := headEnd(p[:have], seen)
		if err != nil {
			return "", request{}, err
		}
		if end >= 0 {
			r, err := parseHead(p[:end])
			return text[:end], r, err
		}
		if have == len(p) {
			return "", request{}, io.ErrUnexpectedEOF
		}
		seen = have
	}
}

func TestGoodHeads(t *testing.T) {
	const forwarded = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Host: a.test\r\nX-Forwarded-Proto: http\r\n\r\n"
	const ok = "GET / HTTP/1.1\r\nHost: a.test\r\n"
	for in, want := range map[string]string{
		ok + "\r\n":                      ok,
		ok + "Connection: close\r\n\r\n": ok + "Connection: close\r\n",
		"GET http://a.test HTTP/1.1\r\nHost: a.test\r\n\r\n":                           ok,
		"GET HTTP://A.test?q HTTP/1.1\r\nHost: a.test\r\n\r\n":                         "GET /?q HTTP/1.1\r\nHost: a.test\r\n",
		"OPTIONS * HTTP/1.1\r\nHost:a.test\r\n\r\n":                                    "OPTIONS * HTTP/1.1\r\nHost:a.test\r\n",
		ok + "connection: x\r\nX: 1\r\nkeep-alive: 1\r\nProxy-Connection: x\r\n\r\n":   ok,
		ok + "Connection: host, content-length\r\nContent-Length: 3\r\n\r\n":           ok + "Content-Length: 3\r\n",
		ok + "X-Forwarded-For: evil\r\nX-FORWARDED-PROTO: https\r\n\r\n":               ok,
		ok + "Upgrade: ws\r\n\r\n":                                                     ok,
		ok + "Upgrade: ws\r\nConnection: upgrade\r\nContent-Length: 1\r\n\r\n":         ok + "Content-Length: 1\r\n",
		ok + "Upgrade: ws\r\nConnection: a\r\nConnection: b , UPGRADE\r\n\r\n":         ok + "Upgrade: ws\r\nConnection: Upgrade\r\n",
		"GET / HTTP/1.0\r\nHost: a.test\r\nUpgrade: ws\r\nConnection: upgrade\r\n\r\n": "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: close\r\n",
		"GET / HTTP/1.0\r\nHost: a.test\r\nConnection: Keep-Alive\r\n\r\n":             "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n",
	} {
		want += forwarded
		for _, step := range []int{1, 2, 3, 1 << 20} {
			head, r, err := parse(in+"\nbody\r\n\r\n", step)
			if err != nil || head != in {
				t.Errorf("%q: read as %q, %v", in, head, err)
				continue
			}
			if got := r.forward(nil, []byte(head), netip.MustParseAddr("192.0.2.1")); string(got) != want || string(r.host) != "a.test" {
				t.Errorf("%q\ngot  %s %q\nwant a.test %q", in, r.host, got, want)
			}
		}
	}
}

// A head costs no memory but that of the bytes themselves.
func TestHeadsCostNothing(t *testing.T) {
	head := []byte("GET /some/path?q=1 HTTP/1.1\r\nHost: a.test:8080\r\nUser-Agent: x\r\nAccept: */*\r\nConnection: keep-alive, x-y\r\nX-Y: 1\r\nContent-Length: 12\r\n\r\n")
	out := make([]byte, 0, 4<<10)
	visitor := netip.MustParseAddr("2001:db8::1")
	if n := testing.AllocsPerRun(100, func() {
		end, err := headEnd(head, 0)
		if err != nil || end != len(head) {
			t.Fatal(end, err)
		}
		r, err := parseHead(head)
		if err != nil {
			t.Fatal(err)
		}
		r.forward(out, head, visitor)
	}); n != 0 {
		t.Errorf("%v allocations a head", n)
	}
}

func TestHostNames(t *testing.T) {
	for in, want := range map[string]string{
		"a.test": "a.test", "A.Test.": "A.Test", "a.test:8080": "a.test", "[::1]:80": "[::1]", "[::1]": "[::1]",
	} {
		if got, err := hostName([]byte(in)); string(got) != want || err != nil {
			t.Errorf("%q: got %q, %v; want %q", in, got, err, want)
		}
	}
}

func FuzzHead(f *testing.F) {
	f.Add("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	f.Add("POST http://a.test/x HTTP/1.0\r\nHost: a.test:1\r\nContent-Length: 3\r\n\r\nabc")
	f.Add("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nearly")
	f.Add("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: te\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		head, r, err := parse(text, 1<<20)
		if dribbled, _, again := parse(text, 1); (err == nil) != (again == nil) || dribbled != head {
			t.Fatalf("%q: %v at once, %v byte by byte", text, err, again)
		}
		if err != nil {
			return
		}
		// What we forward, we would accept, and forward as it is but for the
		// headers that we add; and so does the standard library.
		visitor := netip.MustParseAddr("192.0.2.1")
		forward := r.forward(nil, []byte(head), visitor)
		if len(forward) > len(head)+moreHead {
			t.Fatalf("%q grew by %d", head, len(forward)-len(head))
		}
		_, again, err := parse(string(forward), 1<<20)
		if err != nil || !bytes.EqualFold(again.host, r.host) || again.body != r.body || len(again.forward(nil, forward, visitor)) != len(forward) {
			t.Fatalf("%q became %q, which is read as %+v, %v", head, forward, again, err)
		}
		if std, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(forward))); err == nil {
			if n := std.ContentLength; r.body.kind == noBody && n > 0 || r.body.kind == sizedBody && n != r.body.left || r.body.kind == chunkedKind && n != -1 {
				t.Fatalf("%q: our body is %+v, net/http's has %d bytes", forward, r.body, n)
			}
		}
	})
}
