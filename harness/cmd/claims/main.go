// Claims tries each claim of the document that halfopen started from, every number and
// every "guaranteed", and says what was measured: TRUE, FALSE, or TRUE IF, and the setting
// that makes it true.
//
//	claim ---- cases ---- trials: a lab, a small program in the document's shape, a fault
//	   \          \
//	    \          +-- measured, beside the range in which the document's words hold
//	     +-- answer: made of the cases by one rule (judge)
//
// No answer is written down anywhere: what was not measured, or did not bite, is
// INCONCLUSIVE.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/lab"
)

// Exit statuses.
const (
	usage        = 2
	inconclusive = 3
)

type options struct {
	slow  bool
	only  []string
	procs int
	doc   string
	json  string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal ends it by force
	status := 0
	if err := command(&status).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "claims:", err)
		status = usage
	}
	os.Exit(status)
}

func command(status *int) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "claims",
		Short: "try each claim of the keepalive document, and say what was measured",
		Long: `claims runs small programs in the shapes of the document that halfopen started from
as real processes on hosts of a lab, does to them what the document speaks of, and
says of each claim whether it holds: TRUE, FALSE, TRUE IF (and when), with what was
measured and the settings that make it true. The answers come from the run alone.

Times are a fifteenth of the document's, which each line says; --slow measures at
full length, too, and takes a quarter of an hour.

A whole run writes docs/claims.md and reports/claims/latest.json; with --only it
prints, and writes nothing.

Exit status: 0 all was measured; 2 usage or set-up; 3 something was not: it is
INCONCLUSIVE.`,
		Example: `  make claims
  SLOW=1 make claims
  bin/claims --only K4 --only K5`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), status)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.slow, "slow", os.Getenv("SLOW") != "", "measure at full length, too [SLOW]")
	f.StringArrayVar(&o.only, "only", nil, "only the claim with this `ID`; may be repeated")
	f.IntVar(&o.procs, "procs", 12, "trials that run at once; they wait more than they work")
	f.StringVar(&o.doc, "doc", "", "the table for people (default docs/claims.md of the main module)")
	f.StringVar(&o.json, "json", "", "the table for programs (default reports/claims/latest.json)")
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.AddCommand(peerCommand())
	return cmd
}

// chosen are the claims that were asked for.
func (o *options) chosen() ([]claim, error) {
	claims := all()
	if len(o.only) == 0 {
		return claims, nil
	}
	for _, id := range o.only {
		if !slices.ContainsFunc(claims, func(c claim) bool { return c.id == id }) {
			return nil, fmt.Errorf("only %s: there is no such claim; docs/claims.md names them", id)
		}
	}
	return slices.DeleteFunc(claims, func(c claim) bool { return !slices.Contains(o.only, c.id) }), nil
}

func (o *options) run(ctx context.Context, status *int) (err error) {
	claims, err := o.chosen()
	if err != nil {
		return err
	}
	if o.procs < 1 {
		return errors.New("procs must be at least 1")
	}
	root, err := harness.ModuleRoot()
	if err != nil {
		return err
	}
	if err := lab.Sandbox(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	dir, err := os.MkdirTemp("", "claims-") // goes with the sandbox
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	fmt.Fprintln(os.Stderr, "claims: building the programs ...")
	b, err := newBench(ctx, root, self, dir)
	if err != nil {
		return err
	}
	began := time.Now()
	results, err := measure(ctx, b, claims, o.slow, o.procs, func(done, of int) {
		fmt.Fprintf(os.Stderr, "claims: %d of %d trials done after %.0f s\n", done, of, time.Since(began).Seconds())
	})
	if err != nil {
		return err
	}
	t := newTable(results, o.slow, time.Since(began))
	t.print(os.Stdout)
	if t.Inconclusive > 0 {
		*status = inconclusive
	}
	if len(o.only) > 0 {
		return nil
	}
	if o.doc == "" {
		o.doc = filepath.Join(root, "docs", "claims.md")
	}
	if o.json == "" {
		o.json = filepath.Join(root, "reports", "claims", "latest.json")
	}
	return errors.Join(t.writeDoc(o.doc), t.writeJSON(o.json))
}
