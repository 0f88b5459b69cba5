package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/halfopen/halfopen/tunnel"
)

// stopping is how long ending everything may take; a signal ends the process
// within 2 s, whatever happens.
const stopping = 1800 * time.Millisecond

func serverCommand() *cobra.Command {
	var cfg tunnel.ServerConfig
	var rights tokens
	c := &cobra.Command{
		Use:   "server",
		Short: "Run the public side",
		Long: `Run the public side: clients log in at --listen, HTTP visitors come to --http and are
told apart by Host, TCP visitors come to the port that a client's token allows.

Each --token binds a secret to host names and TCP ports, for example
  --token s3cret=app.example,www.app.example,9000
Only a hash of it is kept. A client that logs in again under a name supersedes the old login.

The admin pages (loopback only): /healthz, /sessions, /debug/pprof/. SIGTERM ends it.`,
		Args: usageArgs(cobra.NoArgs),
	}
	f := c.Flags()
	f.StringVar(&cfg.Listen, "listen", "0.0.0.0:4443", "where clients log in, IP:PORT")
	f.StringVar(&cfg.HTTP, "http", "0.0.0.0:8080", "where HTTP visitors come, IP:PORT")
	f.StringVar(&cfg.TCPHost, "tcp-host", "0.0.0.0", "address on which the clients' public TCP ports are opened")
	f.StringVar(&cfg.Admin, "admin", "127.0.0.1:6060", "where the admin pages are, on loopback; empty for none")
	f.StringVar(&cfg.Cert, "cert", "", "certificate, PEM file ('tunnel cert' makes one)")
	f.StringVar(&cfg.Key, "key", "", "its key, PEM file")
	f.Var(&rights, "token", "a client's secret and its rights; repeatable")
	f.BoolVar(&cfg.DebugFree, "debug-free", false, "offer /debug/free, which collects garbage and gives memory back")
	livenessFlags(f, &cfg.Liveness)
	logger := logFlags(c)
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{tokenError(err)} })
	c.RunE = func(c *cobra.Command, _ []string) (err error) {
		if cfg.Log, err = logger(); err != nil {
			return err
		}
		cfg.Tokens = rights
		s, err := tunnel.NewServer(cfg)
		if err != nil {
			return err
		}
		if err := s.Start(); err != nil {
			return err
		}
		<-c.Context().Done()
		cfg.Log.Info("stop")
		ctx, cancel := context.WithTimeout(context.Background(), stopping)
		defer cancel()
		return s.Stop(ctx)
	}
	return c
}

func clientCommand() *cobra.Command {
	var cfg tunnel.ClientConfig
	c := &cobra.Command{
		Use:   "client",
		Short: "Run the private side, beside your service",
		Long: `Run the private side: it dials the server and passes HTTP visitors of --name on to --http-to
and TCP visitors of --port on to --tcp-to.

It reconnects for ever, but ends with exit code 1 if the server refuses its token. /healthz of
its admin pages is 200 only while it is logged in. SIGTERM ends it at any moment.`,
		Args: usageArgs(cobra.NoArgs),
	}
	f := c.Flags()
	f.StringVar(&cfg.Server, "server", "", "the tunnel server, HOST:PORT")
	f.StringVar(&cfg.CA, "ca", "", "authority that signed the server's certificate, PEM file")
	f.StringVar(&cfg.ServerName, "server-name", "", "name in the server's certificate (the host of --server)")
	f.StringVar(&cfg.Token, "token", "", "the secret (environment: TUNNEL_TOKEN, which ps does not show)")
	f.StringVar(&cfg.Name, "name", "", "host name under which HTTP visitors come")
	f.IntVar(&cfg.Port, "port", 0, "public TCP port; 0 for none")
	f.StringVar(&cfg.HTTPTo, "http-to", "", "your HTTP service, HOST:PORT")
	f.StringVar(&cfg.TCPTo, "tcp-to", "", "your TCP service, HOST:PORT")
	f.StringVar(&cfg.Admin, "admin", "127.0.0.1:6060", "where the admin pages are, on loopback; empty for none")
	f.BoolVar(&cfg.DebugFree, "debug-free", false, "offer /debug/free, which collects garbage and gives memory back")
	livenessFlags(f, &cfg.Liveness)
	backoffFlags(f, &cfg)
	logger := logFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) (err error) {
		if cfg.Log, err = logger(); err != nil {
			return err
		}
		if cfg.Token == "" {
			cfg.Token = os.Getenv("TUNNEL_TOKEN")
		}
		client, err := tunnel.NewClient(cfg)
		if err != nil {
			return err
		}
		ended := make(chan error, 1)
		go func() { ended <- client.Run(c.Context()) }()
		select {
		case err := <-ended:
			return err
		case <-c.Context().Done():
		}
		select {
		case err := <-ended:
			return err
		case <-time.After(stopping):
			return errors.New("stop client: some connections did not end in time")
		}
	}
	return c
}

func certCommand() *cobra.Command {
	var dir string
	var hosts []string
	var force bool
	c := &cobra.Command{
		Use:   "cert",
		Short: "Make a development certificate",
		Long: `Make a development certificate: cert.pem and key.pem for 'tunnel server', and ca.pem for
'tunnel client'. The key of the authority is thrown away; to add a host, make all anew.`,
		Args: usageArgs(cobra.NoArgs),
	}
	f := c.Flags()
	f.StringVar(&dir, "dir", ".", "where the files go")
	f.StringArrayVar(&hosts, "host", nil, "name or IP address by which clients reach the server; repeatable")
	f.BoolVar(&force, "force", false, "overwrite files")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := tunnel.WriteCerts(dir, hosts, force); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "wrote ca.pem, cert.pem and key.pem to %s\n", dir)
		return nil
	}
	return c
}
