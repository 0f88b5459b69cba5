package tunnel

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
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
	st, err := l.open(wire.TCP, peer, nil)
	if err != nil {
		reason := "no session"
		if full := (*resetError)(nil); errors.As(err, &full) {
			reason = full.code.String()
		}
		s.metrics.refusals.WithLabelValues("visitor", reason).Inc()
		s.log.Debug("visitor refused", "peer", peer, "name", l.name, "reason", err)
		abort(conn)
		_ = conn.Close() // nothing was written
		return
	}
	defer st.release() // after conn is closed: the session's end waits for both
	defer conn.Close()
	wear(st.labels())
	s.metrics.requests.Inc()
	if err := st.carry(conn, opts); err != nil {
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

// serveHTTP owns the connection of an HTTP visitor, with one stream after the
// other.
func (s *Server) serveHTTP(conn *net.TCPConn) {
	var st *stream
	defer func() { // after conn is closed: the session's end waits for both
		if st != nil {
			st.release()
		}
	}()
	defer conn.Close()
	peer := conn.RemoteAddr()
	wear(labels(roleServer, "visitor", peer.String()))
	opts := s.edge(conn)
	f := &front{conn: conn, visitor: peer.(*net.TCPAddr).AddrPort().Addr().Unmap(), patient: s.cfg.Handshake}
	defer f.clear()
	for first := true; ; first = false {
		err := s.await(f, first)
		if err == nil {
			st, err = s.route(f)
		}
		if err == nil {
			err = st.carry(conn, opts)
		}
		if st.answeredBefore(err) {
			err = nil
		}
		page := pageFor(st, err)
		if page == nil && err != nil && !errors.Is(err, errMoved) {
			if !errors.Is(err, errEnd) {
				abort(conn)
			}
			return
		}
		if st != nil { // over; what follows has a deadline of its own
			st.release()
			st = nil
		}
		switch {
		case page != nil:
			s.metrics.refusals.WithLabelValues("visitor", strconv.Itoa(page.status)).Inc()
			err = s.writePage(conn, page)
		case err == nil:
			err = s.linger(conn)
		default:
			wear(labels(roleServer, "visitor", peer.String()))
			continue
		}
		if err != nil {
			s.log.Debug("visitor left before its last page", "peer", peer, "err", err)
			abort(conn)
		}
		return
	}
}

// await reads the head of a visitor's next request: its first, or the one that goes
// to another session than those before. No stream holds the visitor meanwhile: it
// takes a place, and has the handshake's limit. Between two requests its connection
// may be closed.
func (s *Server) await(f *front, first bool) error {
	if f.end > 0 {
		return nil
	}
	if !s.heads.take() {
		s.metrics.refusals.WithLabelValues("visitor", wire.Limit.String()).Inc()
		if !first {
			return errEnd
		}
		return fmt.Errorf("%w: more than %d visitors without a request", errSeats, s.cfg.MaxPreAuth)
	}
	defer s.heads.leave()
	f.since = time.Now()
	raw, err := f.conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("await request: %w", err)
	}
	release, err := guard(s.serving, f.conn, f.patient)
	if err != nil {
		return err
	}
	defer release()
	err = f.await(raw)
	switch {
	case !errors.Is(err, os.ErrDeadlineExceeded):
	case s.serving.Err() != nil:
		return errEnd // we leave, between two requests
	case f.held != nil:
		return f.late()
	case !first:
		return errEnd
	default: // it hears no more than RST: somebody must be able to tell why
		s.metrics.refusals.WithLabelValues("visitor", "silent").Inc()
		s.log.Debug("visitor has sent no request", "peer", f.conn.RemoteAddr(), "for", f.patient)
	}
	return err
}

// route opens the stream that the head in f asks for.
func (s *Server) route(f *front) (*stream, error) {
	if err := f.enter(); err != nil {
		return nil, err
	}
	l, known := s.registry.find(f.host)
	switch {
	case !known:
		return nil, &httpError{http.StatusNotFound, "there is no such host here"}
	case l == nil:
		return nil, &httpError{http.StatusServiceUnavailable, "the host is known, but its tunnel client is away"}
	}
	st, err := l.open(wire.HTTP, f.conn.RemoteAddr().String(), f)
	if full := (*resetError)(nil); errors.As(err, &full) {
		return nil, &httpError{http.StatusServiceUnavailable, "the host has too many visitors"}
	} else if err != nil {
		return nil, &httpError{http.StatusServiceUnavailable, "the host is known, but its tunnel client has just gone away"}
	}
	wear(st.labels())
	return st, nil
}

// answeredBefore says that the far end has reset a stream behind a whole answer, as when an
// origin refuses a large upload and closes on top of the rest: that is the tail of the
// answer, and a RST could take it away from the visitor.
func (st *stream) answeredBefore(err error) bool {
	var reset *resetError
	if st == nil || !errors.As(err, &reset) || !reset.far {
		return false
	}
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	return st.front.asked > 0 && !st.front.open && !st.front.raw
}

// pageFor is the page that ends a visit that failed before the origin answered
// anything; nil where only closing is left.
func pageFor(st *stream, err error) *httpError {
	var page *httpError
	refused := errors.As(err, &page)
	if st == nil {
		return page
	}
	var reset *resetError
	if !refused && !errors.As(err, &reset) {
		return nil
	}
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	switch {
	case refused && st.answeringLocked():
		return nil
	case refused:
		return page
	case st.front.failed != nil:
		return st.front.failed
	case !reset.far || !st.unansweredLocked():
		return nil
	case reset.code == wire.DialFailed:
		return &httpError{http.StatusBadGateway, "the tunnel client cannot reach its origin"}
	case reset.code == wire.Limit:
		return &httpError{http.StatusServiceUnavailable, "the host has too many visitors"}
	}
	return nil
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
	return s.lingerUntil(conn)
}

// linger lets a visitor read what it was sent last.
func (s *Server) linger(conn *net.TCPConn) error {
	release, err := guard(s.ctx, conn, min(lingering, s.cfg.Handshake))
	if err != nil {
		return err
	}
	defer release()
	return s.lingerUntil(conn)
}

// lingerUntil ends our direction and waits for the visitor's end, or the
// connection's deadline.
func (s *Server) lingerUntil(conn *net.TCPConn) error {
	if err := conn.CloseWrite(); err != nil {
		return fmt.Errorf("end answer: %w", err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("wait for visitor: %w", err)
	}
	return nil
}
