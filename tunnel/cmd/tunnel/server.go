package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/halfopen/halfopen/tunnel"
)

// stopping is how long ending everything may take; a signal ends the process
// within 2 s, whatever happens. Only tests change it: their machine may stand still.
var stopping = 1800 * time.Millisecond

// serverSide is 'tunnel server'.
func serverSide() side {
	var cfg tunnel.ServerConfig
	var rights tokens
	var drain time.Duration
	c := &cobra.Command{
		Use:   "server",
		Short: "Run the public side",
		Long: `Run the public side: clients log in at --listen, HTTP visitors come to --http and are
told apart by Host, TCP visitors come to the port that a client's token allows.

Each --token binds a secret to host names and TCP ports, for example
  --token s3cret=app.example,www.app.example,9000
Only a hash of it is kept. --token-file has more, one a line, hashed already by 'tunnel token'; SIGHUP
reads it and the certificate again, and ends the logins whose token has lost its right. A client that logs in again under a name supersedes the old login.

The admin pages (loopback only): /healthz, /metrics, /sessions, /debug/pprof/; 'tunnel status' shows them. A session does not live for ever: after --max-age the client is asked for a successor, and the old
one ends with its last stream; no request is cut. SIGTERM drains for up to --drain and ends; a
second one ends at once.`,
		Args: usageArgs(cobra.NoArgs),
	}
	f := c.Flags()
	f.StringVar(&cfg.Listen, "listen", "0.0.0.0:4443", "where clients log in, IP:PORT")
	f.StringVar(&cfg.HTTP, "http", "0.0.0.0:8080", "where HTTP visitors come, IP:PORT")
	f.StringVar(&cfg.TCPHost, "tcp-host", "0.0.0.0", "address on which the clients' public TCP ports are opened")
	f.StringVar(&cfg.Admin, "admin", "127.0.0.1:6060", "where the admin pages are, on loopback; empty for none")
	f.StringVar(&cfg.Cert, "cert", "", "certificate, PEM file ('tunnel cert' makes one)")
	f.StringVar(&cfg.Key, "key", "", "its key, PEM file")
	f.StringVar(&cfg.ClientCA, "client-ca", "", "clients must show a certificate signed by this authority, PEM file")
	f.StringVar(&cfg.TokenFile, "token-file", "", "more tokens, hashed, one a line; SIGHUP reads it again")
	f.Var(&rights, "token", "a client's secret and its rights; repeatable (environment: TUNNEL_TOKENS, separated by spaces)")
	f.Var(newCount(&cfg.MaxLogins, 1024), "max-logins", "clients that may be logged in")
	f.Var(newCount(&cfg.MaxPreAuth, 1024), "max-pre-auth", "connections that have not logged in yet, and visitors without a request")
	f.Var(&sameName{&cfg.RefuseSameName}, "same-name", "a second login for a name that is taken is to supersede the first, or is refused: supersede or refuse")
	f.Var(newCount(&cfg.MaxSessions, 16), "max-sessions", "sessions that one login may have")
	f.Var(newCount(&cfg.MaxStreams, 4096), "max-streams", "streams that one login may have")
	f.Var(newCount(&cfg.MaxQueued, 64), "max-queued", "MiB that may wait in one session, in each direction")
	f.BoolVar(&cfg.DebugFree, "debug-free", false, "offer /debug/free, which collects garbage and gives memory back")
	livenessFlags(f, &cfg.Liveness)
	f.Var(&span{&cfg.MaxAge, true, "15m"}, "max-age", "replace a session so old, a tenth more or less; 0 switches it off")
	f.IntVar(&cfg.MaxRequests, "max-requests", 0, "replace a session after so many requests; 0 for any number")
	f.Var(&span{&cfg.DrainDeadline, true, "1h"}, "drain-deadline", "then reset streams without a request under way after so long; 0 for never")
	drainFlag(c, &drain)
	log := logFlags(c)
	configFlags(c)
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{tokenError(err)} })
	c.RunE = func(c *cobra.Command, _ []string) (err error) {
		if _, err := settle(c); err != nil {
			return err
		}
		if cfg.Log, err = log.open(c.ErrOrStderr()); err != nil {
			return err
		}
		defer log.close()
		keys, done, err := keyLog(cfg.Log)
		if err != nil {
			return err
		}
		defer done()
		cfg.KeyLog = keys
		cfg.Tokens = rights
		s, err := tunnel.NewServer(cfg)
		if err != nil {
			return err
		}
		defer onHangup(func() {
			log.reopen(cfg.Log)
			if err := s.Reload(); err != nil {
				cfg.Log.Error(err.Error())
			}
		})()
		if err := s.Start(); err != nil {
			return err
		}
		<-c.Context().Done()
		draining, forced := secondSignal(drain)
		cfg.Log.Info("drain", "at most", max(drain, 0), "a second signal", "stops at once")
		s.Drain(draining)
		forced()
		cfg.Log.Info("stop")
		ctx, cancel := context.WithTimeout(context.Background(), stopping)
		defer cancel()
		return s.Stop(ctx)
	}
	return side{c, func() error {
		cfg.Tokens = rights
		if _, err := log.options(); err != nil {
			return err
		}
		s, err := tunnel.NewServer(cfg)
		if err == nil {
			cfg = s.Config()
		}
		return err
	}}
}
