// Calibrate measures how often the rules that judge a soak are wrong: on servers that
// are healthy, and on servers that leak.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/target"
)

// steadyPackage is the server that trials run on.
const steadyPackage = "github.com/halfopen/halfopen/harness/testtarget/steady"

func main() {
	o := options{}
	root := &cobra.Command{
		Use:   "calibrate",
		Short: "measure how often the rules that judge a soak are wrong",
		Long: `calibrate runs trials: fast cycles (connections on the loopback of a host of
their own, ended by FIN and RST, 20 to 50 ms each) on a built-in server, real
processes that are healthy in one of five ways, or leak in one of six. Each trial
is judged by the rules of a soak, and the table says how often they raised a
false alarm, how often they found the leak, and what that excludes.

Trials are stored. A further call goes on where the last one ended; with all
trials done it prints the table again, judged by the rules as they are now.

Exit status: 0 no false alarm and nothing missed; 1 a false alarm, or a leak that
was missed; 2 usage or set-up; 3 trials are missing yet.`,
		Example: `  calibrate                      # all that is missing, about an hour
  calibrate --limit 10m          # ten minutes of it
  calibrate --only "2 KB a cycle" --only plain
  calibrate --table              # what is stored, and run nothing`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			status, err := o.run(cmd.Context())
			if err != nil {
				return err
			}
			os.Exit(status)
			return nil
		},
	}
	f := root.Flags()
	f.DurationVar(&o.limit, "limit", 0, "begin no further trial after this time; no limit if 0")
	f.StringArrayVar(&o.only, "only", nil, "only the experiment with this name; may be repeated")
	f.StringVar(&o.out, "out", "", "folder of the trials (default reports/calibrate of the main module)")
	f.BoolVar(&o.table, "table", false, "run nothing, and print the table of what is stored")
	root.AddCommand(burnCommand(), enduranceCommand())
	root.CompletionOptions.DisableDefaultCmd = true
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "calibrate:", err)
		os.Exit(2)
	}
}

type options struct {
	limit time.Duration
	only  []string
	out   string
	table bool
}

func (o *options) check() error {
	if o.limit < 0 {
		return errors.New("limit must not be negative")
	}
	for _, name := range o.only {
		if !slices.ContainsFunc(plan, func(x experiment) bool { return x.name == name }) {
			return fmt.Errorf("only %q: there is no such experiment; the table names them", name)
		}
	}
	return nil
}

func (o *options) run(ctx context.Context) (_ int, err error) {
	if err := o.check(); err != nil {
		return 0, err
	}
	root, err := harness.ModuleRoot()
	if err != nil {
		return 0, err
	}
	if o.out == "" {
		o.out = filepath.Join(root, "reports", "calibrate")
	}
	if !o.table {
		if err := lab.Sandbox(); err != nil {
			return 0, err
		}
	}
	s, err := openStore(o.out)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.file.Close()) }()
	if !o.table {
		if err := o.fill(ctx, root, s); err != nil {
			return 0, err
		}
	}
	rows := table(s.done)
	if err := errors.Join(print(os.Stdout, rows), save(o.out, rows)); err != nil {
		return 0, err
	}
	return status(rows), nil
}

// fill runs the trials that are missing, one of each experiment in turn, so that the
// table says something of all of them early.
func (o *options) fill(ctx context.Context, root string, s *store) (err error) {
	b, err := prepare(ctx, root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.lab.Close()) }()
	began := time.Now()
	for wanted := true; wanted; {
		wanted = false
		for _, x := range plan {
			seed, missing := x.want(s.done)
			if !missing || len(o.only) > 0 && !slices.Contains(o.only, x.name) {
				continue
			}
			if ctx.Err() != nil || o.limit > 0 && time.Since(began) > o.limit {
				return nil // what is done is stored
			}
			wanted = true
			if err := o.one(ctx, b, x, seed, s); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
		}
	}
	return nil
}

// prepare builds the server and a host for it.
func prepare(ctx context.Context, root string) (*bench, error) {
	dir, err := os.MkdirTemp("", "halfopen-calibrate-") // goes with the sandbox
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	program := filepath.Join(dir, "steady")
	if err := target.GoBuild(ctx, root, program, steadyPackage); err != nil {
		return nil, err
	}
	return newBench(program, dir)
}

// one runs one trial, under load if it is its turn, and stores it.
func (o *options) one(ctx context.Context, b *bench, x experiment, seed uint64, s *store) error {
	began := time.Now()
	loaded := x.load(seed)
	if loaded {
		stop, err := burn(runtime.NumCPU())
		if err != nil {
			return err
		}
		defer stop()
	}
	t, err := b.trial(ctx, x, seed)
	if err != nil {
		return fmt.Errorf("%s, seed %d: %w", x.name, seed, err)
	}
	t.Loaded = loaded
	if err := s.add(t); err != nil {
		return err
	}
	fmt.Printf("%-18s seed %3d of %d  %4d cycles  %5.1f s\n", x.name, seed, x.runs, len(t.Exposures), time.Since(began).Seconds())
	return nil
}
