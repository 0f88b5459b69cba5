package tunnel

import (
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
)

// maxHead is the longest request head, in bytes.
const maxHead = 32 << 10

// httpError is a request that gets a plain page instead of an answer from the
// origin.
type httpError struct {
	status int
	text   string
}

func (e *httpError) Error() string { return fmt.Sprintf("%d: %s", e.status, e.text) }

func badHead(format string, args ...any) *httpError {
	return &httpError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// headEnd returns where the head at the beginning of p ends, -1 if more of it
// has to come. seen bytes were looked at before. It refuses a line that ends
// otherwise than with CR LF: one that its neighbours read in another way is how
// requests are smuggled.
func headEnd(p []byte, seen int) (int, error) {
	for {
		i := bytes.IndexByte(p[seen:], '\n')
		if i < 0 {
			break
		}
		at := seen + i
		if at == 0 || p[at-1] != '\r' {
			return 0, badHead("a line does not end with CR LF")
		}
		if at >= maxHead {
			break
		}
		if at >= 3 && p[at-2] == '\n' {
			return at + 1, nil
		}
		if at == 1 {
			return 0, badHead("the request begins with an empty line")
		}
		seen = at + 1
	}
	if len(p) >= maxHead {
		return 0, &httpError{http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("the request head is longer than %d bytes", maxHead)}
	}
	return -1, nil
}

// request is what the server needs to know of a request head. Its slices are
// parts of the head.
type request struct {
	method, target, authority []byte // authority is the value of Host
	host                      []byte // of authority, without port, in the visitor's case
	minor                     int    // of HTTP/1.x
	body                      body
	upgrade                   bool // to another protocol, if the origin likes
	last                      bool // the visitor wants the connection closed after the answer

	lengths, codings, hosts int
	upgrades, close, keep   bool
	options                 [4][]byte // values of Connection
	connections             int
}

// parseHead checks a request head, as headEnd has found it, strictly: what two
// parsers may read differently is how requests are smuggled (RFC 9112, section
// 11.2). It allocates nothing.
func parseHead(head []byte) (request, error) {
	var r request
	line, rest := cutLine(head)
	if err := r.readLine(line); err != nil {
		return r, err
	}
	for line, rest = cutLine(rest); len(line) > 0; line, rest = cutLine(rest) {
		name, value, err := field(line)
		if err != nil {
			return r, err
		}
		if err := r.readField(name, value); err != nil {
			return r, err
		}
	}
	return r, r.check()
}

// cutLine splits off the first line, without its CR LF.
func cutLine(p []byte) (line, rest []byte) {
	i := bytes.IndexByte(p, '\n')
	return p[:i-1], p[i+1:]
}

// readLine reads "GET /path HTTP/1.1".
func (r *request) readLine(line []byte) error {
	var version []byte
	var ok1, ok2 bool
	r.method, line, ok1 = bytes.Cut(line, []byte(" "))
	r.target, version, ok2 = bytes.Cut(line, []byte(" "))
	if !ok1 || !ok2 || !token(r.method) || len(r.target) == 0 || bytes.IndexByte(version, ' ') >= 0 {
		return badHead("the first line is not METHOD TARGET VERSION")
	}
	for _, c := range r.target {
		if c <= ' ' || c == 0x7f {
			return badHead("the target holds a control character")
		}
	}
	switch string(version) {
	case "HTTP/1.1":
		r.minor = 1
	case "HTTP/1.0":
	default:
		return &httpError{http.StatusHTTPVersionNotSupported, "only HTTP/1.1 and HTTP/1.0 are spoken here"}
	}
	if string(r.method) == http.MethodConnect {
		return &httpError{http.StatusNotImplemented, "this is not a proxy"}
	}
	return nil
}

// field splits a header line.
func field(line []byte) (name, value []byte, err error) {
	if line[0] == ' ' || line[0] == '\t' {
		return nil, nil, badHead("a header continues on a second line")
	}
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || !token(name) {
		return nil, nil, badHead("a header has no proper name")
	}
	value = bytes.Trim(value, " \t")
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return nil, nil, badHead("a header holds a control character")
		}
	}
	return name, value, nil
}

// readField notes what a header says about the connection and the body.
func (r *request) readField(name, value []byte) error {
	switch {
	case is(name, "host"):
		r.hosts++
		r.authority = value
	case is(name, "content-length"):
		r.lengths++
		var ok bool
		if r.body, ok = sized(value); !ok {
			return badHead("Content-Length is not a number")
		}
	case is(name, "transfer-encoding"):
		r.codings++
		if !is(value, "chunked") {
			return badHead("Transfer-Encoding is not chunked")
		}
		r.body = chunkedBody()
	case is(name, "upgrade"):
		r.upgrades = true
	case is(name, "connection"):
		if r.connections == len(r.options) {
			return badHead("more than %d Connection headers", len(r.options))
		}
		r.options[r.connections] = value
		r.connections++
		r.close = r.close || listed(value, []byte("close"))
		r.keep = r.keep || listed(value, []byte("keep-alive"))
		r.upgrade = r.upgrade || listed(value, []byte("upgrade"))
	}
	return nil
}

// check refuses a head that leaves a doubt about where it goes or where its body
// ends.
func (r *request) check() (err error) {
	switch {
	case r.lengths > 1:
		return badHead("more than one Content-Length")
	case r.codings > 1:
		return badHead("more than one Transfer-Encoding")
	case r.lengths > 0 && r.codings > 0:
		return badHead("both Content-Length and Transfer-Encoding")
	case r.codings > 0 && r.minor == 0:
		return badHead("Transfer-Encoding in HTTP/1.0")
	case r.hosts != 1:
		return badHead("%d Host headers, want one", r.hosts)
	}
	if r.host, err = hostName(r.authority); err != nil {
		return err
	}
	if r.target, err = originForm(r.method, r.target, r.authority); err != nil {
		return err
	}
	// With a body there would be two things after the head: no upgrade then.
	r.upgrade = r.upgrade && r.upgrades && r.minor == 1 && r.body.done()
	r.last = r.close || r.minor == 0 && !r.keep
	return nil
}

// originForm turns a target in absolute form into origin form, if it names the
// same host.
func originForm(method, target, authority []byte) ([]byte, error) {
	if target[0] == '/' || len(target) == 1 && target[0] == '*' && string(method) == http.MethodOptions {
		return target, nil
	}
	const scheme = "http://"
	if len(target) < len(scheme) || !is(target[:len(scheme)], scheme) {
		return nil, badHead("the target is neither a path nor an http address")
	}
	rest := target[len(scheme):]
	path := rest[len(rest):]
	if i := bytes.IndexAny(rest, "/?"); i >= 0 {
		rest, path = rest[:i], rest[i:]
	}
	if !bytes.EqualFold(rest, authority) {
		return nil, badHead("the target names another host than Host")
	}
	return path, nil // a "/" may be missing: forward writes it
}

// hostName takes port and final dot off.
func hostName(authority []byte) ([]byte, error) {
	name := authority
	if i := bytes.LastIndexByte(authority, ':'); i >= 0 && !bytes.HasSuffix(authority, []byte("]")) {
		name = authority[:i]
		if port := authority[i+1:]; len(port) > 5 || len(bytes.Trim(port, "0123456789")) > 0 {
			return nil, badHead("Host has a bad port")
		}
	}
	name = bytes.TrimSuffix(name, []byte("."))
	if len(name) == 0 || len(name) > 255 || bytes.ContainsAny(name, " \t,/@?#\\\"<>") {
		return nil, badHead("Host is not a host name")
	}
	return name, nil
}

// forward appends the head for the origin to dst: hop-by-hop headers out,
// Connection as the visitor means it, X-Forwarded-* replaced by what we know (we
// are the edge: what a visitor claims is worth nothing).
func (r *request) forward(dst, head []byte, visitor netip.Addr) []byte {
	dst = append(append(dst, r.method...), ' ')
	if len(r.target) == 0 || r.target[0] == '?' {
		dst = append(dst, '/')
	}
	dst = append(dst, r.target...)
	dst = append(append(dst, " HTTP/1."...), byte('0'+r.minor), '\r', '\n')
	_, rest := cutLine(head)
	for line, rest := cutLine(rest); len(line) > 0; line, rest = cutLine(rest) {
		if name := line[:bytes.IndexByte(line, ':')]; !r.drops(name) {
			dst = append(append(dst, line...), "\r\n"...)
		}
	}
	switch {
	case r.upgrade:
		dst = append(dst, "Connection: Upgrade\r\n"...)
	case r.last:
		dst = append(dst, "Connection: close\r\n"...)
	case r.minor == 0:
		dst = append(dst, "Connection: keep-alive\r\n"...)
	}
	dst = append(dst, "X-Forwarded-For: "...)
	dst = visitor.AppendTo(dst)
	dst = append(dst, "\r\nX-Forwarded-Host: "...)
	dst = append(dst, r.authority...)
	return append(dst, "\r\nX-Forwarded-Proto: http\r\n\r\n"...)
}

// drops says whether a header is not for the origin: RFC 9110, section 7.6.1,
// and what forward writes itself.
func (r *request) drops(name []byte) bool {
	switch {
	case is(name, "connection"), is(name, "keep-alive"), is(name, "proxy-connection"),
		is(name, "x-forwarded-for"), is(name, "x-forwarded-host"), is(name, "x-forwarded-proto"):
		return true
	case is(name, "upgrade"):
		return !r.upgrade
	case is(name, "host"), is(name, "content-length"), is(name, "transfer-encoding"):
		return false // whatever Connection says
	}
	for _, value := range r.options[:r.connections] {
		if listed(value, name) {
			return true
		}
	}
	return false
}

// is compares without case; word is in lower case.
func is(p []byte, word string) bool {
	if len(p) != len(word) {
		return false
	}
	for i, c := range p {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// listed says whether a comma-separated list holds a word.
func listed(list, word []byte) bool {
	for more := true; more; {
		var one []byte
		one, list, more = bytes.Cut(list, []byte(","))
		if bytes.EqualFold(bytes.Trim(one, " \t"), word) {
			return true
		}
	}
	return false
}

// token says whether p is a token of RFC 9110, section 5.6.2.
func token(p []byte) bool {
	for _, c := range p {
		if !tokens[c] {
			return false
		}
	}
	return len(p) > 0
}

// tokens are the bytes of a token.
var tokens = func() (set [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		set[c] = true
	}
	return set
}()
