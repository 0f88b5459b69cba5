package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// Client is the private side of the tunnel: it dials out and serves what the
// server sends from its origins.
type Client struct {
	cfg ClientConfig
	log *slog.Logger
	tls *tls.Config

	sessionOpts, edgeOpts SockOpts

	room    seats                // for streams
	current atomic.Pointer[stay] // while logged in
	metrics *metrics
	admin   *admin
	ready   bool // was logged in once
	leaving atomic.Bool
}

// ErrRefused is wrapped by the error of [Client.Run] when the server has
// refused the login for good.
var ErrRefused = errors.New("login refused")

// NewClient checks the settings and loads the authority. Errors wrap
// [ErrSetup].
func NewClient(cfg ClientConfig) (*Client, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	roots, err := loadAuthority(cfg.CA)
	if err != nil {
		return nil, err
	}
	secure := &tls.Config{
		RootCAs: roots, ServerName: cfg.ServerName, MinVersion: tls.VersionTLS13,
		DynamicRecordSizingDisabled: true,
		KeyLogWriter:                cfg.KeyLog,
	}
	if cfg.Cert != "" {
		cert, err := loadPair(cfg.Cert, cfg.Key)
		if err != nil {
			return nil, err
		}
		secure.Certificates = []tls.Certificate{*cert}
	}
	c := &Client{
		cfg: cfg,
		log: cfg.Log,
		tls: secure,

		sessionOpts: wanted(cfg.SessionKeepAlive, cfg.SessionUserTimeout),
		edgeOpts:    wanted(cfg.EdgeKeepAlive, cfg.EdgeUserTimeout),
	}
	c.room.most = int64(cfg.MaxStreams)
	c.metrics = newMetrics(c.held, map[string]int{
		"sessions": cfg.Sessions, "streams": cfg.MaxStreams,
		"queued_in_bytes": cfg.MaxQueued << 20, "queued_out_bytes": cfg.MaxQueued << 20,
	})
	return c, nil
}

// Run logs in, serves, and logs in again when a session ends, until ctx ends
// (nil) or the server refuses the login for good (ErrRefused). When it returns
// everything is closed.
func (c *Client) Run(ctx context.Context) error {
	var err error
	if c.admin, err = startAdmin(c.cfg.Admin, roleClient, c.cfg.DebugFree, c.log, c); err != nil {
		return err
	}
	err = c.reconnect(ctx)
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	return errors.Join(err, c.admin.stop(grace))
}

// reconnect is the client's life. The wait before another attempt doubles from
// Backoff to BackoffCap, and begins anew after a login.
func (c *Client) reconnect(ctx context.Context) error {
	wear(labels(roleClient, "connect", c.cfg.Server))
	delay := c.cfg.Backoff
	for {
		served, err := c.attempt(ctx)
		var refused *refusal
		switch {
		case ctx.Err() != nil, c.leaving.Load():
			return nil
		case errors.As(err, &refused) && refused.code == wire.Denied:
			return fmt.Errorf("%w: %w", ErrRefused, err)
		case served:
			delay = c.cfg.Backoff
		}
		wait := jitter(delay)
		c.metrics.reconnects.Inc()
		c.log.Info("reconnect", "in", wait.Round(time.Millisecond), "reason", err)
		delay = min(2*delay, c.cfg.BackoffCap)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// Drain tells the server to send no more visitors, and says whether there are
// any. If so, Run returns when the last has left; its context ends it before.
func (c *Client) Drain() bool {
	c.leaving.Store(true)
	busy := false
	if l := c.current.Load(); l != nil {
		for _, s := range l.sessions() {
			s.drain(true)
			busy = busy || s.load.Load() > 0
		}
	}
	return busy
}

// jitter draws from [d/2, d]: clients that lost their server at the same moment
// must not come back at the same moment.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// attempt is one login, from the first session's dial to the last one's close.
// served says whether there was a login; err is never nil.
func (c *Client) attempt(ctx context.Context) (served bool, err error) {
	l := newStay(ctx, c)
	c.current.Store(l)
	defer c.current.Store(nil)
	return l.run()
}

// dial connects to the server or an origin, within the dial timeout.
func (c *Client) dial(ctx context.Context, address string) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: c.cfg.Dial, KeepAlive: -1} // set afterwards, with our own values
	d.SetMultipathTCP(false)
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// handshake does TLS and AUTH under one deadline, for a slot of a login. The key
// is zero for the first session.
func (c *Client) handshake(ctx context.Context, conn *net.TCPConn, slot uint8, key wire.Key) (*session, wire.Welcome, error) {
	var none wire.Welcome
	if _, err := c.sessionOpts.apply(conn); err != nil {
		c.log.Error("session is less watched than it should be", "server", c.cfg.Server, "err", err)
	}
	release, err := guard(ctx, conn, c.cfg.Handshake)
	if err != nil {
		return nil, none, err
	}
	defer release()
	below, err := newLine(conn)
	if err != nil {
		return nil, none, err
	}
	secure := tls.Client(below, c.tls)
	if err := secure.Handshake(); err != nil {
		return nil, none, fmt.Errorf("shake hands with server: %w", err)
	}
	ask := wire.Login{Slot: slot, Key: key, Name: c.cfg.Name, Port: uint16(c.cfg.Port), Token: c.cfg.Token}
	if _, err := secure.Write(wire.Append(nil, wire.Auth, 0, ask.Append(nil))); err != nil {
		return nil, none, fmt.Errorf("send AUTH: %w", err)
	}
	frames := wire.NewReader(secure)
	f, err := frames.Next()
	if err != nil {
		return nil, none, fmt.Errorf("read answer to AUTH: %w", err)
	}
	switch f.Type {
	case wire.AuthOK:
		welcome := wire.ParseWelcome(f.Payload)
		s := newSession(roleClient, welcome.ID, secure, below, frames, c.cfg.Liveness, &c.room)
		s.slot, s.serve = slot, c.serveOrigin
		s.mostHeld = c.cfg.MaxQueued << 20
		return s, welcome, nil
	case wire.Refused:
		code, text := wire.ParseReason(f.Payload)
		return nil, none, &refusal{code, text}
	}
	return nil, none, fmt.Errorf("%w: %v as answer to AUTH", wire.ErrProtocol, f.Type)
}

// serveOrigin owns a stream that the server opened, and its connection to the
// origin.
func (c *Client) serveOrigin(st *stream) {
	wear(st.labels())
	to := c.cfg.HTTPTo
	if st.kind == wire.TCP {
		to = c.cfg.TCPTo
	}
	if to == "" {
		st.reset(wire.DialFailed, "no origin for this kind of stream")
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if !st.dialing(cancel) {
		return
	}
	// A dial needs a deep stack. Its goroutine ends with it; this one would keep it as
	// long as the stream is there.
	var conn *net.TCPConn
	var err error
	var dialling sync.WaitGroup
	dialling.Go(func() { conn, err = c.dial(ctx, to) })
	dialling.Wait()
	if err != nil {
		c.log.Debug("cannot reach origin", "origin", to, "err", err)
		st.reset(wire.DialFailed, "the origin cannot be reached")
		return
	}
	defer conn.Close()
	opts, err := c.edgeOpts.apply(conn)
	if err != nil {
		c.log.Error("origin is less watched than it should be", "origin", to, "err", err)
	}
	if err := st.carry(conn, opts); err != nil && !drained(err) {
		abort(conn)
	}
}

// Config returns the settings that are in force.
func (c *Client) Config() ClientConfig { return c.cfg }

// healthy answers /healthz: logged in, with every session.
func (c *Client) healthy() bool {
	l := c.current.Load()
	return l != nil && l.whole()
}

// metricsPage answers /metrics.
func (c *Client) metricsPage() http.Handler { return c.metrics.handler() }

// held counts what the client holds.
func (c *Client) held() (h held) {
	l := c.current.Load()
	if l == nil {
		return h
	}
	for _, s := range l.sessions() {
		h.add(s)
	}
	h.Logins = min(1, h.Sessions)
	return h
}

// status answers /sessions.
func (c *Client) status(streams bool) statusPage {
	page := statusPage{Role: roleClient, Held: c.held(), Logins: []loginStatus{}}
	l := c.current.Load()
	if l == nil {
		return page
	}
	if all := l.sessions(); len(all) > 0 {
		status := loginStatus{Name: c.cfg.Name, Port: c.cfg.Port, AgeSeconds: time.Since(l.since).Seconds()}
		for _, s := range all {
			status.Sessions = append(status.Sessions, s.status(c.cfg.Name, c.sessionOpts, streams))
		}
		page.Logins = append(page.Logins, status)
	}
	return page
}
