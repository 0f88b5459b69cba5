package load

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coder/websocket"
)

// wire is one connection with its protocol around it.
type wire struct {
	raw    net.Conn
	tap    *tap
	in     io.Reader // payload from the origin
	out    io.Writer // payload to it; nil where a request has taken all of it
	socket *websocket.Conn
	resp   *http.Response
	// armed stops what ends the connection when the context of its beginning ends.
	armed func() bool
}

// exchange is what the origin is asked to do, over HTTP in the URL's query.
type exchange struct {
	there int   // bytes of the stream in the request's body
	more  int64 // bytes of the stream after their echo; endless: at the pace, for ever
	hold  bool  // then keep the answer open and say nothing
	flow  Flow
}

const endless = -1

// errRefused says that somebody answered, but not the origin.
var errRefused = errors.New("refused")

// aborted is a deadline that has passed.
var aborted = time.Unix(1, 0)

// connect dials and speaks the protocol's beginning. Until disarm, the end of
// ctx ends whatever the wire is doing.
func connect(ctx context.Context, dial Dial, v Visit, e exchange) (*wire, error) {
	raw, err := dial(ctx, "tcp", v.Address)
	if err != nil {
		return nil, err // says "dial" and the address
	}
	w := &wire{raw: raw, tap: &tap{Conn: raw}}
	if t, ok := raw.(interface{ SetKeepAlive(bool) error }); ok {
		// An idle visitor says nothing at all: its probes would count as signs of
		// life at the target, and their failure would end it from this side.
		if err := t.SetKeepAlive(false); err != nil {
			return nil, errors.Join(fmt.Errorf("switch keepalive off: %w", err), raw.Close())
		}
	}
	w.armed = context.AfterFunc(ctx, func() {
		// A deadline instead of a close: the reader's error then is not ErrClosed.
		// It fails only on a closed connection, which has ended anyway.
		_ = raw.SetDeadline(aborted)
	})
	switch v.Protocol {
	case TCP:
		w.in, w.out = w.tap, w.tap
	case WebSocket:
		if e.flow == Upgrading {
			err = w.ask(v)
			break
		}
		err = w.upgrade(ctx, v)
	case HTTP:
		err = w.request(v, e)
	}
	if err == nil && v.Protocol != HTTP && e.flow.letter() != 0 {
		_, err = w.out.Write(appendHeader(nil, e.flow, v.Seed))
	}
	if err != nil {
		w.close()
		return nil, because(ctx, w.classify(err, 0))
	}
	return w, nil
}

// disarm takes the connection out of the hands of ctx. It fails if ctx has ended.
func (w *wire) disarm(ctx context.Context) error {
	if !w.armed() {
		return context.Cause(ctx)
	}
	return nil
}

// close ends the connection at once; what still reads or writes fails.
func (w *wire) close() {
	w.armed()
	// The kernel's complaints about a connection that is already dead are not news:
	// the reader has them.
	_ = w.raw.Close()
	if w.socket != nil {
		_ = w.socket.CloseNow() // gives its buffers back
	}
}

// finish ends the visit, which has received so many bytes, in the protocol's own words and
// waits for the far end's.
func (w *wire) finish(received int64) error {
	switch {
	case w.socket != nil:
		return w.socket.Close(websocket.StatusNormalClosure, "")
	case w.resp == nil:
		if err := w.halfClose(); err != nil {
			return err
		}
	}
	n, err := io.Copy(io.Discard, w.in) // HTTP: checks the last chunk too
	if err != nil {
		return err
	}
	if n > 0 {
		return &CorruptError{Offset: received, Cause: fmt.Errorf("%d bytes more than were sent", n)}
	}
	return nil
}

// upgrade makes the connection a WebSocket. The transport's goroutines end with
// the handshake.
func (w *wire) upgrade(ctx context.Context, v Visit) error {
	var used atomic.Bool
	transport := &http.Transport{
		DisableCompression: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			if used.Swap(true) {
				// The transport tries again when the connection died under the request.
				return nil, fmt.Errorf("%w before the upgrade was answered", io.ErrUnexpectedEOF)
			}
			return w.tap, nil
		},
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	u, err := address(v, "ws", nil)
	if err != nil {
		return err
	}
	socket, resp, err := websocket.Dial(ctx, u.String(), &websocket.DialOptions{HTTPClient: client, Host: v.Host})
	if err != nil {
		if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
			return fmt.Errorf("%w: upgrade answered with %s", errRefused, resp.Status)
		}
		return err
	}
	w.socket = socket
	stream := websocket.NetConn(context.Background(), socket, websocket.MessageBinary)
	w.in, w.out = stream, stream
	return nil
}

// request sends one HTTP request with the first bytes as its body, and reads the
// answer's head.
func (w *wire) request(v Visit, e exchange) error {
	u, err := address(v, "http", url.Values{
		"seed": {strconv.FormatUint(v.Seed, 10)},
		"more": {strconv.FormatInt(e.more, 10)},
		"hold": {strconv.FormatBool(e.hold)},
		"flow": {string(e.flow)},
	})
	if err != nil {
		return err
	}
	body := make([]byte, e.there)
	newStream(v.Seed).next(body)
	req, err := http.NewRequest(http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Host, req.Close = v.Host, true
	req.Header.Set("User-Agent", "halfopen")
	req.Header.Set("Content-Type", "application/octet-stream")
	out := bufio.NewWriterSize(w.tap, chunk)
	switch e.flow {
	case Upload:
		err = w.upload(req, out, body)
	case HalfUp: // announces twice as much as it sends
		err = w.head(req, out, fmt.Sprintf("Content-Length: %d", 2*e.there))
		err = errors.Join(err, ignoreCount(out.Write(body)), out.Flush())
	default:
		err = errors.Join(req.Write(out), out.Flush())
	}
	if err != nil {
		return err
	}
	w.resp, err = http.ReadResponse(bufio.NewReaderSize(w.tap, chunk), req)
	if err != nil {
		return err
	}
	if w.resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: answered with %s", errRefused, w.resp.Status)
	}
	w.in = w.resp.Body // closed with the connection
	return nil
}

// upload sends the head of a request whose body never ends, and the first bytes of that.
// The body goes on as chunks, each written whole.
func (w *wire) upload(req *http.Request, out *bufio.Writer, body []byte) error {
	if err := w.head(req, out, "Transfer-Encoding: chunked"); err != nil {
		return err
	}
	chunks := httputil.NewChunkedWriter(out)
	w.out = writerFunc(func(p []byte) (int, error) {
		n, err := chunks.Write(p)
		return n, errors.Join(err, out.Flush())
	})
	return ignoreCount(w.out.Write(body))
}

// head sends a request without its body: the library writes the two together.
func (w *wire) head(req *http.Request, out *bufio.Writer, framing string) error {
	fmt.Fprintf(out, "POST %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n", req.URL.RequestURI(), req.Host, framing)
	return errors.Join(req.Header.Write(out), ignoreCount(out.WriteString("\r\n")))
}

// ask asks for a WebSocket that the origin will not answer. The key is the one of RFC
// 6455, section 1.3.
func (w *wire) ask(v Visit) error {
	u, err := address(v, "http", url.Values{"flow": {string(Upgrading)}})
	if err != nil {
		return err
	}
	w.in = w.tap
	_, err = fmt.Fprintf(w.tap, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		u.RequestURI(), cmp.Or(v.Host, v.Address))
	return err
}

// halfClose ends this direction of a plain connection.
func (w *wire) halfClose() error {
	half, ok := w.raw.(interface{ CloseWrite() error })
	if !ok {
		return fmt.Errorf("half-close: a %T cannot", w.raw)
	}
	return half.CloseWrite()
}

// ended waits until the far end has ended its direction, with not a byte more.
func (w *wire) ended() error {
	n, err := w.in.Read(make([]byte, 1))
	switch {
	case n > 0:
		return &CorruptError{Offset: first, Cause: errors.New("a byte that nobody sent")}
	case errors.Is(err, io.EOF):
		return nil
	}
	return w.classify(err, first)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func ignoreCount(_ int, err error) error { return err }

// address is the URL of a visit, with more added to the query of its path.
func address(v Visit, scheme string, more url.Values) (*url.URL, error) {
	u, err := url.Parse(v.Path)
	if err != nil {
		return nil, fmt.Errorf("parse path: %w", err)
	}
	u.Scheme, u.Host = scheme, v.Address
	if u.Path == "" {
		u.Path = "/"
	}
	query := u.Query()
	for k, values := range more {
		query[k] = values
	}
	u.RawQuery = query.Encode()
	return u, nil
}

// tap remembers that the connection ended under its protocol.
type tap struct {
	net.Conn
	dry atomic.Bool
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	if err != nil {
		t.dry.Store(true)
	}
	return n, err
}

// classify tells damage from death: what the network or the far end can do to a
// connection is ErrEnded, what cannot be parsed is ErrCorrupt, counted from
// offset. An end in the middle of a frame is death too: the framing does not say
// who cut it.
func (w *wire) classify(err error, offset int64) error {
	var corrupt *CorruptError
	switch {
	case err == nil, errors.As(err, &corrupt), errors.Is(err, errRefused):
		return err
	case ended(err), w.tap.dry.Load(): // libraries hide some ends behind errors of their own
		return fmt.Errorf("%w: %w", ErrEnded, err)
	default:
		return &CorruptError{Offset: offset, Cause: err}
	}
}

// ended tells whether an error is one that a dying connection gives.
func ended(err error) bool {
	var errno syscall.Errno
	var timeout net.Error
	var closing websocket.CloseError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.As(err, &errno) || errors.As(err, &closing) || errors.As(err, &timeout) && timeout.Timeout() ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
