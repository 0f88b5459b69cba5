package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/reports"
)

// indexCommand draws the page of all runs, and prunes.
func indexCommand() *cobra.Command {
	keep := -1
	c := &cobra.Command{
		Use:   "index [DIR]",
		Short: "Draw the page of all runs, and prune old ones",
		Long: `index writes index.html in DIR, the folder that holds runs ($HALFOPEN_OUT if that is
set, else reports/runs): a matrix of scenarios by runs for each target, with curves of
the bounds and of the times to recover. Every run does so at its end.

Of the runs of one name ("soak", "scenarios") the newest --keep stay; 0 keeps all. A run
is pruned only if everything in its folder was made by it: put a file of your own into
it, and it stays.

Exit status: 0 if the page was written; 2 if not.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir := filepath.Join("reports", "runs")
			if out := os.Getenv("HALFOPEN_OUT"); out != "" {
				dir = out
			}
			if len(args) > 0 {
				dir = args[0]
			}
			if !c.Flags().Changed("keep") {
				var err error
				if keep, err = reports.Keep(); err != nil {
					return err
				}
			}
			pruned, spared, err := reports.Index(dir, keep)
			if err != nil {
				return err
			}
			for _, name := range pruned {
				fmt.Fprintf(c.OutOrStdout(), "pruned %s\n", name)
			}
			for _, why := range spared {
				fmt.Fprintf(c.OutOrStdout(), "kept %s\n", why)
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), filepath.Join(dir, reports.PageName))
			return err
		},
	}
	c.Flags().IntVar(&keep, "keep", reports.DefaultKeep, "runs of one name that stay, 0 for all [HALFOPEN_KEEP]")
	return c
}

// schemaCommand prints the schema of the record.
func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: fmt.Sprintf("Print the JSON Schema of the record (version %d)", record.Version),
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(c.OutOrStdout(), record.Schema)
			return err
		},
	}
}

// opener shows a page to a person; a variable for the tests.
var opener = func(page string) error {
	program, err := exec.LookPath("xdg-open")
	if err != nil {
		return err
	}
	return exec.Command(program, page).Run()
}

// openCommand opens a run's page.
func openCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "open [DIR]",
		Short: "Open the report in the browser",
		Long: `open draws the page of the run if it is not there yet, and opens it with xdg-open. Where
there is none, or no screen, it prints the path.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir, err := folder(args)
			if err != nil {
				return err
			}
			page := filepath.Join(dir, reports.PageName)
			if _, err := os.Stat(page); err != nil {
				if _, err := reports.Write(dir); err != nil {
					return err
				}
			}
			if err := opener(page); err != nil {
				fmt.Fprintf(c.ErrOrStderr(), "leakreport: no browser can be opened here (%v); the report is\n", err)
				_, err = fmt.Fprintln(c.OutOrStdout(), page)
				return err
			}
			return nil
		},
	}
}
