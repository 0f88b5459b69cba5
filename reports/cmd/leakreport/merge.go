package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/reports"
)

func mergeCommand(status *int) *cobra.Command {
	var into string
	var force bool
	c := &cobra.Command{
		Use:   "merge DIR DIR...",
		Short: "Add the exposures of several runs up to one bound",
		Long: `merge makes one run folder of several: soaks that were killed and begun again, or
shards of one soak. Exposures and fault events add up, and so the bound is
smaller; every memory series starts anew with its process. A killed run counts as
far as it had judged.

Runs that do not belong together are refused: another target, other settings,
another planted leak, another kernel, or the same seed twice.

Exit status: as the merged verdict: 0 pass; 1 leak, late or dead; 3 inconclusive; 2
if the runs were not merged.`,
		Example: `  leakreport merge reports/runs/20261125-*-soak* --into reports/runs/all`,
		Args:    cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := merge(args, into, force)
			if err != nil {
				return err
			}
			for _, x := range s.Statements {
				fmt.Fprintln(c.OutOrStdout(), x.Text)
			}
			*status = leak.ExitCode(s.Verdict)
			return say(c.OutOrStdout(), into, s)
		},
	}
	c.Flags().StringVar(&into, "into", filepath.Join("reports", "runs", "merged"), "the new run folder; it must not be there yet")
	c.Flags().BoolVar(&force, "force", false, "merge runs that do not belong together all the same")
	return c
}

func merge(dirs []string, into string, force bool) (_ record.Summary, err error) {
	var sources []leak.Source
	for _, d := range dirs {
		events, err := record.Read(d)
		if err != nil && !errors.Is(err, record.ErrCut) { // killed: what is whole counts
			return record.Summary{}, fmt.Errorf("merge %s: %w", d, err)
		}
		sources = append(sources, leak.Source{Name: strings.TrimRight(d, "/"), Events: events})
	}
	if err := leak.Belong(sources); err != nil && !(force && len(sources) > 1) {
		return record.Summary{}, fmt.Errorf("%w (--force merges them all the same)", err)
	}
	events, err := leak.Merge(sources, "leakreport merge "+strings.Join(dirs, " "))
	if err != nil {
		return record.Summary{}, err
	}
	if err := os.MkdirAll(filepath.Dir(into), 0o755); err != nil {
		return record.Summary{}, fmt.Errorf("merge: make folder: %w", err)
	}
	if err := os.Mkdir(into, 0o755); err != nil {
		return record.Summary{}, fmt.Errorf("merge: make folder: %w", err)
	}
	defer func() {
		if err != nil { // half a run must not look like one
			err = errors.Join(err, os.RemoveAll(into))
		}
	}()
	w, err := record.Append(into)
	if err != nil {
		return record.Summary{}, err
	}
	for _, e := range events {
		if err := w.Write(e); err != nil {
			return record.Summary{}, errors.Join(err, w.Close())
		}
	}
	if err := w.Close(); err != nil {
		return record.Summary{}, fmt.Errorf("merge: close record: %w", err)
	}
	return reports.Write(into)
}
