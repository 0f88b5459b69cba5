// Flakes runs the quick catalogue again and again on a target that leaks nothing, and
// counts how often it says otherwise. It resumes: runs of the same catalogue on the
// same target add up over invocations.
//
//	reports/flakes/latest.json            the count, for scripts
//	reports/flakes/TARGET-KEY/count.json  the runs of one count
//	reports/flakes/TARGET-KEY/TIME-.../   the run folders of those that were not clean
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness"
)

// options are what the user may choose.
type options struct {
	runs   int
	hogs   int
	target string
	label  string
	procs  int
}

// Exit statuses; see also package leak.
const (
	failed       = 1
	usage        = 2
	inconclusive = 3
)

func main() {
	// The first signal ends the run that is under way; the second, by its own force,
	// this program, and with it all that it started.
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	context.AfterFunc(ctx, stop)
	status := 0
	if err := command(&status).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "flakes:", err)
		status = usage
	}
	os.Exit(status)
}

func command(status *int) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "flakes",
		Short: "run the quick catalogue many times, and count false alarms and flakes",
		Long: `flakes runs the quick catalogue of stories N times on one target and prints a line a
run. The target is taken to leak nothing, so that a run is

  clean          every story passed, or was skipped as the target's file expects
  a false alarm  a story says LEAK, LATE or DEAD
  a flake        a story is INCONCLUSIVE without a starved machine, or broke
  starved        stories are INCONCLUSIVE because the machine stood still for 0.5 s or
                 more, and the others passed: counted apart, never as clean

Runs add up over invocations, as long as the stories, the harness, the target and its
programs are the same: what was compiled is compared, not the commit. The last line
says what so many runs exclude; reports/flakes/latest.json says the same for scripts.
The run folders of runs that were not clean are kept beside it.

Ctrl-C ends the run under way, which then does not count, and keeps the others.

Exit status: 0 if no run of the count was a false alarm or a flake; 1 if one was; 2
usage or set-up; 3 if no run was judged.`,
		Example: `  make flakes N=30
  make flakes N=10 HOGS=4 TARGET=scenarios/targets/tunnel-kernel-only.yaml`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case o.runs < 1:
				return errors.New("runs must be at least 1: try N=3")
			case o.hogs < 0:
				return errors.New("hogs must be 0 or more: try HOGS=4")
			case o.procs < 1:
				return errors.New("procs must be at least 1")
			}
			root, err := harness.ModuleRoot()
			if err != nil {
				return err
			}
			*status, err = o.run(cmd.Context(), root, cmd.OutOrStdout())
			return err
		},
	}
	err := errors.Join(number("N", 30, &o.runs), number("HOGS", 0, &o.hogs))
	f := cmd.Flags()
	f.IntVar(&o.runs, "runs", o.runs, "how many runs more [N]")
	f.IntVar(&o.hogs, "hogs", o.hogs, "busy processes beside the stories [HOGS]")
	f.StringVar(&o.target, "target", os.Getenv("TARGET"), "YAML `FILE` of the target (default "+harness.DefaultTarget+") [TARGET]")
	f.StringVar(&o.label, "label", "quick", "which stories, as Ginkgo's --label-filter")
	f.IntVar(&o.procs, "procs", 8, "stories that run at once")
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.AddCommand(hogCommand())
	if err != nil {
		cmd.PreRunE = func(*cobra.Command, []string) error { return err }
	}
	return cmd
}

// number reads a variable that stands for a flag.
func number(name string, otherwise int, into *int) error {
	*into = otherwise
	text := os.Getenv(name)
	if text == "" {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("%s=%s: want a whole number", name, text)
	}
	*into = n
	return nil
}
