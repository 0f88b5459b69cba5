package tunnel

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// lingering is how long a visitor that got a page may take to read it.
const lingering = time.Second

// serveTCP owns a visitor's connection to a login's public port.
func (s *Server) serveTCP(conn *net.TCPConn, l *login) {
	peer := conn.RemoteAddr().String()
	wear(labels(roleServer, "visitor", peer))
	opts := s.edge(conn)
	st, err := l.open(wire.TCP, peer)
	if err != nil {
		s.log.Debug("visitor refused", "peer", peer, "name", l.name, "reason", err)
		abort(conn)
		_ = conn.Close() // nothing was written
		return
	}
	defer st.release() // after conn is closed: the session's end waits for both
	defer conn.Close()
	wear(st.labels())
	if err := st.carry(conn, opts, nil); err != nil {
		abort(conn)
	}
}

// edge sets the socket options of a visitor's connection and returns what the
// kernel has.
func (s *Server) edge(conn *net.TCPConn) SockOpts {
	opts, err := s.edgeOpts.apply(conn)
	if err != nil {
		s.log.Error("visitor is less watched than it should be", "peer", conn.RemoteAddr().String(), "err", err)
	}
	return opts
}

// serveHTTP owns the connection of an HTTP visitor: one request, or one
// upgrade.
func (s *Server) serveHTTP(conn *net.TCPConn) {
	var st *stream
	defer func() { // after conn is closed: the session's end waits for both
		if st != nil {
			st.release()
		}
	}()
	defer conn.Close()
	peer := conn.RemoteAddr().String()
	wear(labels(roleServer, "visitor", peer))
	opts := s.edge(conn)
	st, head, err := s.route(conn, peer)
	if err == nil {
		err = st.carry(conn, opts, head)
	}
	page := pageFor(st, err)
	if page == nil {
		if err != nil {
			abort(conn)
		}
		return
	}
	if st != nil { // over; the page has a deadline of its own
		st.release()
		st = nil
	}
	if err := s.writePage(conn, page); err != nil {
		s.log.Debug("visitor left before its page", "peer", peer, "page", page, "err", err)
		abort(conn)
	}
}

// route reads the head of a request and opens the stream that it asks for. head
// is what goes first: the head for the origin, and what came after it.
func (s *Server) route(conn *net.TCPConn, peer string) (st *stream, head []byte, err error) {
	if !s.heads.take() {
		return nil, nil, fmt.Errorf("more than %d visitors without a request", s.cfg.MaxPreAuth)
	}
	defer s.heads.leave()
	release, err := guard(s.ctx, conn, s.cfg.Handshake)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	raw, early, started, err := readHead(conn)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) && started && s.ctx.Err() == nil {
			err = &httpError{http.StatusRequestTimeout, fmt.Sprintf("the request head took longer than %v", s.cfg.Handshake)}
		}
		return nil, nil, err
	}
	visitor, err := netip.ParseAddrPort(peer)
	if err != nil {
		return nil, nil, fmt.Errorf("read visitor's address: %w", err)
	}
	req, err := parseHead(raw, visitor.Addr().Unmap())
	if err != nil {
		return nil, nil, err
	}
	l, known := s.registry.find(req.host)
	switch {
	case !known:
		return nil, nil, &httpError{http.StatusNotFound, "there is no such host here"}
	case l == nil:
		return nil, nil, &httpError{http.StatusServiceUnavailable, "the host is known, but its tunnel client is away"}
	}
	st, err = l.open(wire.HTTP, peer)
	if full := (*resetError)(nil); errors.As(err, &full) {
		return nil, nil, &httpError{http.StatusServiceUnavailable, "the host has too many visitors"}
	} else if err != nil {
		return nil, nil, &httpError{http.StatusServiceUnavailable, "the host is known, but its tunnel client has just gone away"}
	}
	wear(st.labels())
	return st, append(req.forward, early...), nil
}

// pageFor is the page that ends a visit that failed before the origin answered
// anything; nil where only closing is left.
func pageFor(st *stream, err error) *httpError {
	var page *httpError
	if errors.As(err, &page) {
		return page
	}
	var reset *resetError
	if !errors.As(err, &reset) || !reset.far || !st.untouched() {
		return nil
	}
	switch reset.code {
	case wire.DialFailed:
		return &httpError{http.StatusBadGateway, "the tunnel client cannot reach its origin"}
	case wire.Limit:
		return &httpError{http.StatusServiceUnavailable, "the host has too many visitors"}
	}
	return nil
}

// untouched says that nothing was written to the visitor.
func (st *stream) untouched() bool {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	return st.written == 0
}

// writePage writes a plain page and lets the visitor read it: a close on top of
// unread bytes would be a RST, which can take the page away.
func (s *Server) writePage(conn *net.TCPConn, page *httpError) error {
	release, err := guard(s.ctx, conn, min(lingering, s.cfg.Handshake))
	if err != nil {
		return err
	}
	defer release()
	body := fmt.Sprintf("%d %s: %s\n", page.status, http.StatusText(page.status), page.text)
	if _, err := fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n%s",
		page.status, http.StatusText(page.status), len(body), body); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	if err := conn.CloseWrite(); err != nil {
		return fmt.Errorf("end page: %w", err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("wait for visitor: %w", err)
	}
	return nil
}
