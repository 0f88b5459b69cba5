package tunnel

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// Server is the public side of the tunnel.
type Server struct {
	cfg      ServerConfig
	log      *slog.Logger
	tls      *tls.Config
	cert     atomic.Pointer[tls.Certificate]
	registry *registry
	metrics  *metrics

	sessionOpts, edgeOpts SockOpts

	ctx      context.Context // ends at Stop
	cancel   context.CancelFunc
	serving  context.Context // ends at Drain, or Stop
	leave    context.CancelFunc
	loops    sync.WaitGroup // accept loops of the two listeners
	handlers sync.WaitGroup // every accepted connection

	preAuth, heads seats        // connections before AUTHOK, visitors before the end of their head
	ids            atomic.Int64 // logins so far

	listener, web *net.TCPListener
	admin         *admin
}

// NewServer checks the settings and loads the certificate. Errors wrap
// [ErrSetup].
func NewServer(cfg ServerConfig) (*Server, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg:         cfg,
		log:         cfg.Log,
		sessionOpts: wanted(cfg.SessionKeepAlive, cfg.SessionUserTimeout),
		edgeOpts:    wanted(cfg.EdgeKeepAlive, cfg.EdgeUserTimeout),
	}
	tokens, err := s.load()
	if err != nil {
		return nil, err
	}
	s.registry = newRegistry(tokens, cfg.MaxLogins, cfg.RefuseSameName)
	s.metrics = newMetrics(s.held, map[string]int{
		"logins": cfg.MaxLogins, "sessions": cfg.MaxSessions, "streams": cfg.MaxStreams,
		"queued_in_bytes": cfg.MaxQueued << 20, "queued_out_bytes": cfg.MaxQueued << 20,
		"pre_auth_connections": cfg.MaxPreAuth, "head_connections": cfg.MaxPreAuth,
	})
	s.tls = &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.cert.Load(), nil },
		MinVersion:     tls.VersionTLS13,
		// A ticket would be one more thing to write in a handshake.
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true,
		KeyLogWriter:                cfg.KeyLog,
	}
	if cfg.ClientCA != "" {
		if s.tls.ClientCAs, err = loadAuthority(cfg.ClientCA); err != nil {
			return nil, err
		}
		s.tls.ClientAuth = tls.RequireAndVerifyClientCert
	}
	s.preAuth.most, s.heads.most = int64(cfg.MaxPreAuth), int64(cfg.MaxPreAuth)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.serving, s.leave = context.WithCancel(s.ctx)
	return s, nil
}

// load reads the files that may change while the server runs: the certificate,
// which it puts in place if all of them can be read, and the tokens, which it
// returns with those of the settings.
func (s *Server) load() ([]Token, error) {
	tokens := s.cfg.Tokens
	if s.cfg.TokenFile != "" {
		more, err := ReadTokens(s.cfg.TokenFile)
		if err != nil {
			return nil, err
		}
		tokens = slices.Concat(tokens, more)
	}
	cert, err := loadPair(s.cfg.Cert, s.cfg.Key)
	if err != nil {
		return nil, err
	}
	s.cert.Store(cert)
	return tokens, nil
}

// Reload reads the token file and the certificate again. Logins whose token has
// lost its right end; what stays keeps its connections. After an error nothing
// has changed.
func (s *Server) Reload() error {
	tokens, err := s.load()
	if err != nil {
		return fmt.Errorf("reload: the old tokens and certificate stay in use: %w", err)
	}
	s.registry.replace(tokens)
	s.log.Info("reloaded", "tokens", len(tokens))
	return nil
}

// Start opens the listeners and returns. After an error nothing is open. Stop
// must follow a nil error.
func (s *Server) Start() (err error) {
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.listener, err = listen(s.cfg.Listen, "--listen"); err != nil {
		return err
	}
	if s.web, err = listen(s.cfg.HTTP, "--http"); err != nil {
		return err
	}
	if s.admin, err = startAdmin(s.cfg.Admin, roleServer, s.cfg.DebugFree, s.log, s); err != nil {
		return err
	}
	s.loops.Go(func() {
		wear(labels(roleServer, "accept", s.listener.Addr().String()))
		acceptLoop(s.ctx, s.listener, s.log, s.metrics, func(conn *net.TCPConn) {
			s.handlers.Go(func() { s.serveSession(conn) })
		})
	})
	s.loops.Go(func() {
		wear(labels(roleServer, "accept", s.web.Addr().String()))
		acceptLoop(s.ctx, s.web, s.log, s.metrics, func(conn *net.TCPConn) {
			s.handlers.Go(func() { s.serveHTTP(conn) })
		})
	})
	s.log.Info("ready", "listen", s.listener.Addr().String(), "http", s.web.Addr().String(), "admin", s.admin.address())
	return nil
}

// close closes the listeners that are open.
func (s *Server) close() {
	for _, ln := range []*net.TCPListener{s.listener, s.web} {
		if ln != nil {
			_ = ln.Close() // fails only when closed already
		}
	}
}

// Drain takes no new client, visitor or stream from now on, tells the clients so,
// and waits until the streams of now have ended, or ctx ends. Stop must follow.
func (s *Server) Drain(ctx context.Context) {
	s.leave()
	s.close()
	s.registry.close()
	for _, l := range s.registry.all() {
		l.drain()
	}
	drained := make(chan struct{})
	go func() { // ends with Stop at the latest
		defer close(drained)
		s.loops.Wait()
		s.handlers.Wait()
	}()
	select {
	case <-drained:
	case <-ctx.Done():
	}
}

// Stop ends everything and waits until it is gone, or ctx ends.
func (s *Server) Stop(ctx context.Context) error {
	s.cancel()
	s.close()
	err := s.admin.stop(ctx)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		s.loops.Wait()
		s.handlers.Wait()
	}()
	select {
	case <-gone:
		return err
	case <-ctx.Done():
		return fmt.Errorf("stop server: some connections did not end in time: %w", ctx.Err())
	}
}

// Addr returns where clients log in, HTTPAddr where HTTP visitors come,
// AdminAddr where the admin pages are ("" without).
func (s *Server) Addr() string      { return s.listener.Addr().String() }
func (s *Server) HTTPAddr() string  { return s.web.Addr().String() }
func (s *Server) AdminAddr() string { return s.admin.address() }

// serveSession owns a connection of a client, from accept to close.
func (s *Server) serveSession(conn *net.TCPConn) {
	defer conn.Close()
	peer := conn.RemoteAddr().String()
	wear(labels(roleServer, "handshake", peer))
	l, own, err := s.admit(conn)
	if err != nil {
		level := slog.LevelDebug // scans and garbage are not news
		if refused := (*refusal)(nil); errors.As(err, &refused) {
			level = slog.LevelInfo
		}
		s.metrics.refused(err)
		s.log.Log(s.ctx, level, "login refused", "peer", peer, "reason", err)
		return
	}
	s.serveLogin(l, own)
}

// serveLogin runs a session that a login has accepted until it ends. With the
// last one the login is over, and everything that belonged to it is gone, except
// the session's connection.
func (s *Server) serveLogin(l *login, own *session) {
	if s.cfg.MaxAge != Off {
		old := after(aging(s.cfg.MaxAge), func() { own.retire("age") })
		defer old.stop()
	}
	why := own.run(s.ctx)
	s.metrics.ended(why)
	message := "session ended"
	if l.leave(own.slot, own) {
		message = "logout"
		s.registry.release(l)
		l.accepting.Wait()
	}
	if !why.orderly() {
		abort(own.raw)
	}
	s.log.Info(message, "name", l.name, "session", own.id, "peer", own.peer,
		"after", time.Since(own.born).Round(time.Millisecond), "detector", why.detector, "reason", why.err)
}

// admit does the handshake of a new connection, TLS and AUTH under one
// deadline. Every session that it returns is in its slot of the login and has to
// be served.
func (s *Server) admit(conn *net.TCPConn) (*login, *session, error) {
	if !s.preAuth.take() {
		abort(conn)
		return nil, nil, fmt.Errorf("%w: more than %d connections that have not logged in", errSeats, s.cfg.MaxPreAuth)
	}
	defer s.preAuth.leave()
	if _, err := s.sessionOpts.apply(conn); err != nil {
		s.log.Error("session is less watched than it should be", "peer", conn.RemoteAddr().String(), "err", err)
	}
	release, err := guard(s.serving, conn, s.cfg.Handshake)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	below, err := newLine(conn)
	if err != nil {
		return nil, nil, err
	}
	secure := tls.Server(below, s.tls)
	if err := secure.Handshake(); err != nil {
		return nil, nil, fmt.Errorf("shake hands: %w", err)
	}
	frames := wire.NewReader(secure)
	f, err := frames.Next()
	if err != nil {
		return nil, nil, fmt.Errorf("read AUTH: %w", err)
	}
	l, own, err := s.authorize(f, secure, below, frames)
	refused := (*refusal)(nil)
	if errors.As(err, &refused) {
		if _, err := secure.Write(wire.AppendReason(nil, wire.Refused, 0, refused.code, refused.text)); err != nil {
			return nil, nil, fmt.Errorf("refuse login (%w): %w", refused, err)
		}
	}
	return l, own, err
}

// authorize answers AUTH: a session in its slot of a login, with AUTHOK as the
// first frame that it will send, or a *refusal.
func (s *Server) authorize(f wire.Frame, secure *tls.Conn, below *line, frames *wire.Reader) (*login, *session, error) {
	if f.Type != wire.Auth {
		return nil, nil, fmt.Errorf("%w: %v before AUTH", wire.ErrProtocol, f.Type)
	}
	ask, err := wire.ParseLogin(f.Payload)
	if err != nil {
		return nil, nil, &refusal{wire.Denied, err.Error()}
	}
	token := digest(sha256.Sum256([]byte(ask.Token)))
	if err := s.registry.permit(token, ask.Name, ask.Port); err != nil {
		return nil, nil, &refusal{wire.Denied, err.Error()}
	}
	if int(ask.Slot) >= s.cfg.MaxSessions {
		return nil, nil, &refusal{wire.Limit, fmt.Sprintf("%d sessions a login", s.cfg.MaxSessions)}
	}
	session := func(l *login) *session {
		own := newSession(roleServer, l.sessionID(ask.Slot), secure, below, frames, s.cfg.Liveness, &l.room)
		own.slot, own.metrics = ask.Slot, s.metrics
		own.most, own.cut = s.cfg.MaxRequests, s.cfg.DrainDeadline
		own.mostHeld = s.cfg.MaxQueued << 20
		own.control = wire.Append(nil, wire.AuthOK, 0, wire.Welcome{Key: l.key, Most: uint8(s.cfg.MaxSessions), ID: own.id}.Append(nil))
		return own
	}
	if ask.Key == (wire.Key{}) {
		return s.login(ask, token, session)
	}
	l, _ := s.registry.find(ask.Name)
	if l == nil || !l.has(ask.Key) {
		return nil, nil, &refusal{wire.Over, "the login is over"}
	}
	own := session(l)
	if err := l.join(own.slot, own); err != nil {
		return nil, nil, err
	}
	s.log.Info("session joins", "name", l.name, "session", own.id, "peer", own.peer)
	return l, own, nil
}

// login makes a new login with its first session, and opens its port.
func (s *Server) login(ask wire.Login, token digest, first func(*login) *session) (*login, *session, error) {
	l := newLogin(s.ids.Add(1), ask, token, s.cfg.MaxStreams)
	own := first(l)
	l.slots[own.slot] = own // nobody else has the login yet
	old, err := s.registry.take(l, s.cfg.TCPHost)
	if denied := (*refusal)(nil); errors.As(err, &denied) {
		return nil, nil, denied
	} else if err != nil {
		return nil, nil, &refusal{wire.Busy, err.Error()}
	}
	if l.ln != nil {
		l.accepting.Go(func() {
			wear(sessionLabels(roleServer, "accept", strconv.FormatInt(l.id, 10), l.ln.Addr().String()))
			acceptLoop(s.ctx, l.ln, s.log, s.metrics, func(conn *net.TCPConn) {
				s.handlers.Go(func() { s.serveTCP(conn, l) })
			})
		})
	}
	attrs := []any{"name", l.name, "port", l.port, "session", own.id, "peer", own.peer}
	if old != nil {
		attrs = append(attrs, "supersedes", old.id)
	}
	s.metrics.logins.Inc()
	s.log.Info("login", attrs...)
	return l, own, nil
}

// Config returns the settings that are in force.
func (s *Server) Config() ServerConfig { return s.cfg }

// healthy answers /healthz: the server listens from Start to Drain, or Stop.
func (s *Server) healthy() bool { return s.serving.Err() == nil }

// metricsPage answers /metrics.
func (s *Server) metricsPage() http.Handler { return s.metrics.handler() }

// held counts what the server holds.
func (s *Server) held() held {
	h := held{PreAuth: int(s.preAuth.taken.Load()), Heads: int(s.heads.taken.Load())}
	h.Names, h.Ports = s.registry.taken()
	for _, l := range s.registry.all() {
		h.Logins++
		for _, one := range l.sessions() {
			h.add(one)
		}
	}
	return h
}

// status answers /sessions.
func (s *Server) status(streams bool) statusPage {
	page := statusPage{
		Role:   roleServer,
		Held:   s.held(),
		Logins: []loginStatus{},
	}
	for _, l := range s.registry.all() {
		status := loginStatus{Name: l.name, Port: int(l.port), AgeSeconds: time.Since(l.since).Seconds()}
		for _, one := range l.sessions() {
			status.Sessions = append(status.Sessions, one.status(l.name, s.sessionOpts, streams))
		}
		page.Logins = append(page.Logins, status)
	}
	slices.SortFunc(page.Logins, compare)
	return page
}
