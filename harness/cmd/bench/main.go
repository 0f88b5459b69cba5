// Bench measures a tunnel beside its peers: other programs that do the same, on
// the same machine, in the same minutes.
//
//	bench ---- visitors ---- server ==== client ---- origin
//	            (bench)      (each peer's own)       (bench)
//
// All of it runs on one host of a lab, over its loopback; only the figures of
// death and of delay need two. In each round every peer is measured once a figure,
// in an order that is drawn anew, so that what disturbs the machine disturbs all of
// them; what counts is the median of the rounds' ratios.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness/lab"
)

// The exit statuses.
const (
	missed  = 1 // a goal was missed
	unfit   = 2 // usage or set-up
	nothing = 3 // nothing was measured
)

// options is what the user chose.
type options struct {
	tunnel, before string
	figures, peers []string
	rounds         int
	quick          bool
	out            string
	window         time.Duration
}

func main() {
	if len(os.Args) > 1 { // the processes of a measurement, on a host already
		switch os.Args[1] {
		case "origin":
			serveOrigin(os.Args[2])
			return
		case "visit":
			visit(os.Args[2:])
			return
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	status := 0
	if err := command(&status).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		status = unfit
	}
	os.Exit(status) // what ctx still holds, the end of the process lets go
}

func command(status *int) *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   "bench",
		Short: "measure the tunnel beside its peers",
		Long: `bench measures the tunnel beside whatever of ssh -R, a pair of haproxy, a pair of
stunnel, frp, rathole and chisel is on PATH, in interleaved rounds on a lab host of
its own, and prints a table of medians and ratios. The table goes to
reports/bench/latest.json too.

Every peer has the same ECDSA P-256 key and AES-128-GCM; the host's congestion
control is reno. Ratios of one run are worth something, absolute figures hardly.

Exit status: 0 all goals met, 1 some missed, 2 usage or set-up, 3 nothing measured.`,
		Example: `  make bench
  bin/bench --quick
  bin/bench --figures bulk-down-32,bulk-up-32 --peers haproxy --rounds 11
  bin/bench --before old/tunnel --figures bulk   # two builds of the tunnel`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if err := lab.Sandbox(); err != nil {
				return err
			}
			s, err := measure(c.Context(), o)
			*status = s
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&o.tunnel, "tunnel", "bin/tunnel", "the tunnel's program")
	f.StringVar(&o.before, "before", "", "another build of the tunnel, measured as a peer named before")
	f.StringSliceVar(&o.figures, "figures", nil, "only figures whose name begins so: "+strings.Join(figureNames(), ", "))
	f.StringSliceVar(&o.peers, "peers", nil, "only these peers: "+strings.Join(peerNames(), ", "))
	f.IntVar(&o.rounds, "rounds", 5, "rounds")
	f.BoolVar(&o.quick, "quick", false, "two short rounds, fewer idle connections: to see that it works, not to quote")
	f.StringVar(&o.out, "out", "reports/bench/latest.json", "where the figures go")
	f.DurationVar(&o.window, "window", 800*time.Millisecond, "how long each measurement counts")
	return c
}

// check refuses what would be silently ignored.
func (o *options) check() error {
	if o.quick {
		o.rounds, o.window = 2, 300*time.Millisecond
	}
	if o.rounds < 1 || o.window < 50*time.Millisecond {
		return errors.New("want at least one round, and a window of at least 50ms")
	}
	for _, want := range o.figures {
		if len(selected([]string{want})) == 0 {
			return fmt.Errorf("no figure begins with %q: choose from %s", want, strings.Join(figureNames(), ", "))
		}
	}
	for _, want := range o.peers {
		if !contains(peerNames(), want) {
			return fmt.Errorf("no peer is named %q: choose from %s", want, strings.Join(peerNames(), ", "))
		}
	}
	for _, program := range []string{o.tunnel, o.before} {
		if program == "" {
			continue
		}
		if _, err := os.Stat(program); err != nil {
			return fmt.Errorf("find the tunnel: %w: 'make build' makes bin/tunnel", err)
		}
	}
	return nil
}

func contains(all []string, one string) bool {
	for _, s := range all {
		if s == one {
			return true
		}
	}
	return false
}
