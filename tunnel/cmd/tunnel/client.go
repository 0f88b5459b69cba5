package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/halfopen/halfopen/tunnel"
)

// clientSide is 'tunnel client'.
func clientSide() side {
	var cfg tunnel.ClientConfig
	var drain time.Duration
	c := &cobra.Command{
		Use:   "client",
		Short: "Run the private side, beside your service",
		Long: `Run the private side: it dials the server and passes HTTP visitors of --name on to --http-to
and TCP visitors of --port on to --tcp-to.

It holds several sessions, TLS connections that share the visitors; one that dies takes its own
with it and is replaced. It reconnects for ever, but ends with exit code 1 if the server refuses
its token. /healthz of its admin pages is 200 only while it is logged in with all sessions.
SIGTERM ends it at any moment: it takes no new
visitor, and those of now may stay for up to --drain; a second one ends it at once.`,
		Args: usageArgs(cobra.NoArgs),
	}
	f := c.Flags()
	f.StringVar(&cfg.Server, "server", "", "the tunnel server, HOST:PORT")
	f.StringVar(&cfg.CA, "ca", "", "authority that signed the server's certificate, PEM file")
	f.StringVar(&cfg.ServerName, "server-name", "", "name in the server's certificate (the host of --server)")
	f.StringVar(&cfg.Cert, "cert", "", "certificate to show to a server that wants one, PEM file")
	f.StringVar(&cfg.Key, "key", "", "its key, PEM file")
	f.StringVar(&cfg.Token, "token", "", "the secret (environment: TUNNEL_TOKEN, which ps does not show)")
	f.StringVar(&cfg.Name, "name", "", "host name under which HTTP visitors come")
	f.IntVar(&cfg.Port, "port", 0, "public TCP port; 0 for none")
	f.StringVar(&cfg.HTTPTo, "http-to", "", "your HTTP service, HOST:PORT")
	f.StringVar(&cfg.TCPTo, "tcp-to", "", "your TCP service, HOST:PORT")
	f.StringVar(&cfg.Admin, "admin", "127.0.0.1:6060", "where the admin pages are, on loopback; empty for none")
	f.Var(newCount(&cfg.Sessions, 4), "sessions", "TLS connections to the server that share the streams")
	f.Var(newCount(&cfg.MaxStreams, 4096), "max-streams", "streams that the server may open")
	f.Var(newCount(&cfg.MaxQueued, 64), "max-queued", "MiB that may wait in one session, in each direction")
	f.BoolVar(&cfg.DebugFree, "debug-free", false, "offer /debug/free, which collects garbage and gives memory back")
	livenessFlags(f, &cfg.Liveness)
	backoffFlags(f, &cfg)
	drainFlag(c, &drain)
	log := logFlags(c)
	configFlags(c)
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
		client, err := tunnel.NewClient(cfg)
		if err != nil {
			return err
		}
		if log.file != nil { // else SIGHUP ends the client, as the end of a terminal should
			defer onHangup(func() { log.reopen(cfg.Log) })()
		}
		ended := make(chan error, 1)
		ctx, stop := context.WithCancel(context.WithoutCancel(c.Context()))
		defer stop()
		go func() { ended <- client.Run(ctx) }()
		select {
		case err := <-ended:
			return err
		case <-c.Context().Done():
		}
		if client.Drain() {
			draining, forced := secondSignal(drain)
			cfg.Log.Info("drain", "at most", max(drain, 0), "a second signal", "stops at once")
			defer forced()
			select {
			case err := <-ended:
				return err
			case <-draining.Done():
			}
		}
		stop()
		select {
		case err := <-ended:
			return err
		case <-time.After(stopping):
			return errors.New("stop client: some connections did not end in time")
		}
	}
	return side{c, func() error {
		if _, err := log.options(); err != nil {
			return err
		}
		client, err := tunnel.NewClient(cfg)
		if err == nil {
			cfg = client.Config()
		}
		return err
	}}
}
