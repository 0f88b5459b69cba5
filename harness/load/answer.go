package load

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/coder/websocket"
)

// limit is the largest request body that the origin echoes.
const limit = 1 << 20

// ServeHTTP answers any path. A WebSocket is echoed. Of other requests the body
// is echoed (1 MiB at most), and the query says what follows:
//
//	seed=N   of the stream; it goes on at the offset where the body ended
//	more=N   so many bytes of the stream; -1: 4 KiB every 20 ms, for ever
//	hold=B   true: then say nothing, and end when the peer leaves (long poll)
//	flow=F   upload: the body does not end; its first 1 KiB is echoed, the rest checked
//	         half up: as much of the body as comes is echoed; half down: half of an answer
//	         stalled: the stream goes on as fast as it is taken
//	upgrade=N the N-th of BadUpgrades is the answer, and then the end
//
// The answer's body ends there.
func (o *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	flow := Flow(r.URL.Query().Get("flow"))
	switch {
	case r.URL.Query().Has("upgrade"):
		o.mislead(w, r)
		return
	case flow == Upgrading:
		select {
		case <-r.Context().Done():
		case <-o.closing:
		}
		return
	case strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		o.socket(w, r)
		return
	case flow == Upload:
		o.take(w, r, first)
		return
	case flow == HalfUp:
		o.take(w, r, first/2)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		http.Error(w, fmt.Sprintf("read body: %v", err), http.StatusBadRequest)
		return
	}
	ask, seed, err := parse(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	control := http.NewResponseController(w)
	// A peer that has left frees a write that its full buffers hold.
	defer context.AfterFunc(r.Context(), func() {
		_ = control.SetWriteDeadline(aborted) // fails on a closed connection only
	})()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // proxies shall pass the first bytes on
	if flow == HalfDown {
		w.Header().Set("Content-Length", strconv.Itoa(2*len(body)))
	}
	if _, err := w.Write(body); err != nil {
		return // the peer has left
	}
	s := newStream(seed)
	s.next(make([]byte, len(body)))
	buf := make([]byte, chunk)
	for ask.more != 0 {
		n := int64(chunk)
		if ask.more != endless {
			n = min(n, ask.more)
			ask.more -= n
		}
		s.next(buf[:n])
		if _, err := w.Write(buf[:n]); err != nil {
			return
		}
		rest := pace
		if flow == Stalled {
			rest = 0
		}
		if ask.more == endless && (control.Flush() != nil || !o.sleep(rest) || r.Context().Err() != nil) {
			return
		}
	}
	if ask.hold && control.Flush() == nil {
		select {
		case <-r.Context().Done():
		case <-o.closing:
		}
	}
}

// BadUpgrades are answers to an upgrade that are none: a local service may be broken, or
// not the one that was meant.
var BadUpgrades = []string{
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
	"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 101 Switching Protocols\r\n\r\n", // to what?
	"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
	"HTTP/1.1 101 Switching Protocols\r\nConnection: Upg", // and no more
	"HTTP/1.1 999999999999 \x00\r\n\r\n",
	"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03", // a TLS server, it seems
	"",
}

// mislead answers an upgrade badly.
func (o *Origin) mislead(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.URL.Query().Get("upgrade"))
	if err != nil || n < 0 || n >= len(BadUpgrades) {
		http.Error(w, "no such upgrade", http.StatusBadRequest)
		return
	}
	o.wait.Add(1) // the server stops counting a connection that is taken from it
	defer o.wait.Done()
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // the peer has left
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, BadUpgrades[n]) // the peer may have left
}

// take answers a request whose body does not end, once its first n bytes have come.
func (o *Origin) take(w http.ResponseWriter, r *http.Request, n int) {
	_, seed, err := parse(r)
	control := http.NewResponseController(w)
	body := make([]byte, n)
	if err == nil {
		err = control.EnableFullDuplex()
	}
	if err == nil {
		_, err = io.ReadFull(r.Body, body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	if _, err := w.Write(body); err != nil || control.Flush() != nil {
		return // the peer has left
	}
	o.verify(r.Body, seed, n)
}

func parse(r *http.Request) (ask exchange, seed uint64, err error) {
	query := r.URL.Query()
	if s := query.Get("seed"); s != "" {
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			return ask, 0, fmt.Errorf("parse seed: %w", err)
		}
	}
	if s := query.Get("more"); s != "" {
		if ask.more, err = strconv.ParseInt(s, 10, 64); err != nil {
			return ask, 0, fmt.Errorf("parse more: %w", err)
		}
		if ask.more < endless {
			return ask, 0, fmt.Errorf("parse more: %d is negative", ask.more)
		}
	}
	if s := query.Get("hold"); s != "" {
		if ask.hold, err = strconv.ParseBool(s); err != nil {
			return ask, 0, fmt.Errorf("parse hold: %w", err)
		}
	}
	return ask, seed, nil
}

func (o *Origin) socket(w http.ResponseWriter, r *http.Request) {
	// Counted before the connection is taken from the server, which stops counting
	// it then.
	o.wait.Add(1)
	defer o.wait.Done()
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // any Origin header may come
	if err != nil {
		return // Accept has answered
	}
	defer c.CloseNow()
	rw := websocket.NetConn(context.Background(), c, websocket.MessageBinary)
	o.serve(readWriter{unmasked{rw}, rw})
}

// unmasked leaves out what comes with an error: of a frame that the end of its
// connection has cut off, the library gives the bytes as they came, still masked.
type unmasked struct{ io.Reader }

func (u unmasked) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	if err != nil {
		return 0, err
	}
	return n, nil
}
