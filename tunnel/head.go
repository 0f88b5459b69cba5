package tunnel

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
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

// readHead reads a request head up to and with its empty line, and returns it
// with what had come after it. It fails with an *httpError, or with the
// connection's error; started says whether anything had come.
func readHead(conn net.Conn) (head, early []byte, started bool, err error) {
	buf := make([]byte, 0, 2<<10)
	seen := 0 // bytes that were looked at
	for {
		if len(buf) == cap(buf) {
			if cap(buf) >= maxHead {
				return nil, nil, true, &httpError{http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("the request head is longer than %d bytes", maxHead)}
			}
			buf = append(make([]byte, 0, min(4*cap(buf), maxHead)), buf...)
		}
		n, err := conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		end := -1
		if i := bytes.Index(buf[max(0, seen-3):], []byte("\r\n\r\n")); i >= 0 {
			end = max(0, seen-3) + i + 4
		}
		for upto := max(end, 0); seen < len(buf) && (end < 0 || seen < upto); seen++ {
			// A line that ends otherwise than its neighbours read it is how
			// requests are smuggled; and without this the end is never seen.
			if buf[seen] == '\n' && (seen == 0 || buf[seen-1] != '\r') {
				return nil, nil, true, badHead("a line does not end with CR LF")
			}
		}
		if end >= 0 {
			return buf[:end], buf[end:], true, nil
		}
		if err != nil {
			return nil, nil, len(buf) > 0, err
		}
	}
}

// request is what the server needs to know of a request head.
type request struct {
	host    string // of Host, in lower case, without port
	forward []byte // the head for the origin
}

// parseHead checks a request head strictly, for what two parsers may read
// differently is how requests are smuggled (RFC 9112, section 11.2), and
// rewrites it for the origin: hop-by-hop headers out, Connection: close or the
// upgrade in, X-Forwarded-* replaced by what we know (we are the edge: what a
// visitor claims is worth nothing).
func parseHead(head []byte, visitor netip.Addr) (*request, error) {
	lines := strings.Split(strings.TrimSuffix(string(head), "\r\n\r\n"), "\r\n")
	method, target, minor, err := requestLine(lines[0])
	if err != nil {
		return nil, err
	}
	h, err := headers(lines[1:])
	if err != nil {
		return nil, err
	}
	if err := framing(h, minor); err != nil {
		return nil, err
	}
	hosts := h.values("host")
	if len(hosts) != 1 {
		return nil, badHead("%d Host headers, want one", len(hosts))
	}
	host, err := hostName(hosts[0])
	if err != nil {
		return nil, err
	}
	if target, err = originForm(method, target, hosts[0]); err != nil {
		return nil, err
	}

	upgrade := minor == 1 && h.has("connection", "upgrade") && len(h.values("upgrade")) > 0
	drop := map[string]bool{
		"connection": true, "keep-alive": true, "proxy-connection": true,
		"upgrade":         !upgrade,
		"x-forwarded-for": true, "x-forwarded-host": true, "x-forwarded-proto": true,
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s %s HTTP/1.%d\r\n", method, target, minor)
	for _, f := range h {
		if !drop[f.name] {
			out.WriteString(f.line)
			out.WriteString("\r\n")
		}
	}
	connection := "close"
	if upgrade {
		connection = "Upgrade"
	}
	fmt.Fprintf(&out, "Connection: %s\r\nX-Forwarded-For: %s\r\nX-Forwarded-Host: %s\r\nX-Forwarded-Proto: http\r\n\r\n",
		connection, visitor, hosts[0])
	return &request{host: host, forward: out.Bytes()}, nil
}

// requestLine reads "GET /path HTTP/1.1".
func requestLine(line string) (method, target string, minor int, err error) {
	parts := strings.Split(line, " ")
	if len(parts) != 3 || !token(parts[0]) || parts[1] == "" {
		return "", "", 0, badHead("the first line is not METHOD TARGET VERSION")
	}
	for _, c := range []byte(parts[1]) {
		if c <= ' ' || c == 0x7f {
			return "", "", 0, badHead("the target holds a control character")
		}
	}
	switch parts[2] {
	case "HTTP/1.1":
		minor = 1
	case "HTTP/1.0":
	default:
		return "", "", 0, &httpError{http.StatusHTTPVersionNotSupported, "only HTTP/1.1 and HTTP/1.0 are spoken here"}
	}
	if parts[0] == http.MethodConnect {
		return "", "", 0, &httpError{http.StatusNotImplemented, "this is not a proxy"}
	}
	return parts[0], parts[1], minor, nil
}

// originForm turns a target in absolute form into origin form, if it names the
// same host.
func originForm(method, target, host string) (string, error) {
	if target[0] == '/' || target == "*" && method == http.MethodOptions {
		return target, nil
	}
	const scheme = "http://"
	if len(target) < len(scheme) || !strings.EqualFold(target[:len(scheme)], scheme) {
		return "", badHead("the target is neither a path nor an http address")
	}
	rest := target[len(scheme):]
	authority := rest
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority = rest[:i]
	}
	if !strings.EqualFold(authority, host) {
		return "", badHead("the target names another host than Host")
	}
	path := rest[len(authority):]
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return path, nil
}

// hostName takes the port off and lowers the case.
func hostName(host string) (string, error) {
	name := host
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		name = host[:i]
		if strings.Trim(host[i+1:], "0123456789") != "" {
			return "", badHead("Host has a bad port")
		}
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if name == "" || strings.ContainsAny(name, " \t,/@?#\\\"<>") {
		return "", badHead("Host is not a host name")
	}
	return name, nil
}

// framing refuses a head that leaves a doubt about where its body ends.
func framing(h fields, minor int) error {
	lengths, codings := h.values("content-length"), h.values("transfer-encoding")
	switch {
	case len(lengths) > 1:
		return badHead("more than one Content-Length")
	case len(codings) > 1:
		return badHead("more than one Transfer-Encoding")
	case len(lengths) > 0 && len(codings) > 0:
		return badHead("both Content-Length and Transfer-Encoding")
	case len(codings) > 0 && minor == 0:
		return badHead("Transfer-Encoding in HTTP/1.0")
	case len(codings) > 0 && !strings.EqualFold(codings[0], "chunked"):
		return badHead("Transfer-Encoding is not chunked")
	case len(lengths) > 0 && (lengths[0] == "" || len(lengths[0]) > 18 || strings.Trim(lengths[0], "0123456789") != ""):
		return badHead("Content-Length is not a number")
	}
	return nil
}

// field is one header: its name in lower case, its value, its whole line.
type field struct{ name, value, line string }

type fields []field

func headers(lines []string) (fields, error) {
	h := make(fields, 0, len(lines))
	for _, line := range lines {
		if line == "" || line[0] == ' ' || line[0] == '\t' {
			return nil, badHead("a header continues on a second line")
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !token(name) {
			return nil, badHead("a header has no proper name")
		}
		value = strings.Trim(value, " \t")
		for _, c := range []byte(value) {
			if c < ' ' && c != '\t' || c == 0x7f {
				return nil, badHead("a header holds a control character")
			}
		}
		h = append(h, field{strings.ToLower(name), value, line})
	}
	return h, nil
}

func (h fields) values(name string) []string {
	var v []string
	for _, f := range h {
		if f.name == name {
			v = append(v, f.value)
		}
	}
	return v
}

// has says whether a header that is a list holds a word.
func (h fields) has(name, word string) bool {
	for _, v := range h.values(name) {
		for one := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.Trim(one, " \t"), word) {
				return true
			}
		}
	}
	return false
}

// token says whether s is a token of RFC 9110, section 5.6.2.
func token(s string) bool {
	const marks = "!#$%&'*+-.^_`|~"
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && strings.IndexByte(marks, c) < 0 {
			return false
		}
	}
	return s != ""
}
