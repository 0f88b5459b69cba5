// Command tunnel makes a local service reachable through a public server.
//
// Exit codes: 0 it was told to stop; 1 it failed, or the server refused the
// client; 2 the settings or the machine must change first (usage, a missing
// file, a port in use).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/halfopen/halfopen/tunnel"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// usageError is a mistake on the command line.
type usageError struct{ error }

// run is main without the process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:   "tunnel",
		Short: "Make a local service reachable through a public server",
		Long: `Make a local service reachable through a public server.

  visitor --TCP/HTTP/WebSocket--> tunnel server ==TLS 1.3==> tunnel client --TCP--> your service

Try it on one machine:

  tunnel cert --dir /tmp/t --host 127.0.0.1
  tunnel server --listen 127.0.0.1:4443 --http 127.0.0.1:8080 --tcp-host 127.0.0.1 \
      --cert /tmp/t/cert.pem --key /tmp/t/key.pem --token s3cret=app.example,9000
  tunnel client --server 127.0.0.1:4443 --ca /tmp/t/ca.pem --token s3cret --name app.example \
      --http-to 127.0.0.1:3000 --port 9000 --tcp-to 127.0.0.1:22 --admin 127.0.0.1:6061
  curl -H 'Host: app.example' http://127.0.0.1:8080/`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return usageError{errors.New("say what to run: server, client, check, status, cert, token or version")}
		},
	}
	server, client := serverSide(), clientSide()
	root.AddCommand(server.command, client.command, checkCommand(), statusCommand(), certCommand(), tokenCommand(), versionCommand())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	return report(stderr, command, err)
}

// report tells an error in one line, or in one line a mistake of a config file,
// and returns the exit code.
func report(stderr io.Writer, command *cobra.Command, err error) int {
	var lines interface{ Unwrap() []error }
	if errors.As(err, &lines) && errors.As(lines.Unwrap()[0], new(*fileError)) {
		for _, one := range lines.Unwrap() {
			fmt.Fprintf(stderr, "%s: %v\n", command.CommandPath(), one)
		}
		return 2
	}
	text := strings.Join(strings.Fields(err.Error()), " ")
	var usage usageError
	switch {
	case errors.As(err, &usage), strings.HasPrefix(text, "unknown command"), strings.HasPrefix(text, "required flag"):
		fmt.Fprintf(stderr, "%s: %s; see '%s --help'\n", command.CommandPath(), text, command.CommandPath())
		return 2
	case errors.Is(err, tunnel.ErrSetup):
		fmt.Fprintf(stderr, "%s: %s\n", command.CommandPath(), text)
		return 2
	}
	fmt.Fprintf(stderr, "%s: %s\n", command.CommandPath(), text)
	return 1
}

// usageArgs marks errors of an argument check.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}
