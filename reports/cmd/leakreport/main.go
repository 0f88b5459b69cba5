// Command leakreport draws the record of a run, and says its verdict.
package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/reports"
)

// usage is the exit status for a wrong command, or a run without a record.
const usage = 2

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is main with its surroundings as arguments; it returns the exit status.
func run(args []string, out, errs io.Writer) int {
	status := 0
	root := command(&status)
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errs)
	if err := root.Execute(); err != nil {
		// One line, whatever a library put into the error.
		fmt.Fprintln(errs, "leakreport:", strings.Join(strings.Fields(err.Error()), " "))
		return usage
	}
	return status
}

func command(status *int) *cobra.Command {
	root := &cobra.Command{
		Use:   "leakreport",
		Short: "Draw the record of a run, and say its verdict",
		Long: `leakreport reads the record of a run (run.jsonl in its run folder) and draws it,
or says its verdict. It runs nothing, and judges by what the record holds.

A run folder has, beside the record:
  index.html    the report, one file, for any browser or CI artefact viewer
  junit.xml     a test case a spec
  summary.json  the verdict and its bounds, for scripts

DIR is the run folder; without it, the newest run: "latest" in $HALFOPEN_OUT if
that is set, else in reports/runs.`,
		Example: `  leakreport show                         # the newest run
  leakreport show reports/runs/latest && echo clean
  leakreport render /tmp/downloaded-run   # draw a record from another machine`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return fmt.Errorf("no command given: want render, show, judge, layers, merge, compare, index, open or schema, see leakreport --help")
		},
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(&cobra.Command{
		Use:   "render [DIR]",
		Short: "Write summary.json, junit.xml and index.html again",
		Long: `render reads run.jsonl in DIR, writes summary.json, junit.xml and index.html
beside it, and points the symlink "latest" beside DIR at DIR. Each file appears
whole or not at all; rendering twice gives the same files. A record that is cut
off in its last line is drawn as far as it goes.

Exit status: 0 if the files were written, whatever the verdict; 2 if not.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir, err := folder(args)
			if err != nil {
				return err
			}
			s, err := reports.Write(dir)
			if err != nil {
				return err
			}
			return say(c.OutOrStdout(), dir, s)
		},
	}, &cobra.Command{
		Use:   "show [DIR]",
		Short: "Print the verdict and the reason, exit with its status",
		Long: `show judges run.jsonl in DIR, writes nothing, and prints the reason and then

  verdict=LEAK exit=1 report=PATH

Exit status: 0 pass; 1 leak, late or dead; 2 wrong usage, or no record; 3
inconclusive.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir, err := folder(args)
			if err != nil {
				return err
			}
			s, err := reports.Summarize(dir)
			if err != nil {
				return err
			}
			if _, err := os.Stat(filepath.Join(dir, s.Report)); err != nil {
				fmt.Fprintf(c.ErrOrStderr(), "leakreport: the report is not drawn yet: run leakreport render %s\n", dir)
			}
			*status = leak.ExitCode(s.Verdict)
			return say(c.OutOrStdout(), dir, s)
		},
	}, judgeCommand(status), layersCommand(), mergeCommand(status), compareCommand(status), indexCommand(), openCommand(), schemaCommand())
	return root
}

// folder is the run folder to work on, symlinks followed: the path that is
// printed still names this run when "latest" has moved on.
func folder(args []string) (string, error) {
	dir := filepath.Join("reports", "runs", reports.LatestName)
	if out := os.Getenv("HALFOPEN_OUT"); out != "" {
		dir = filepath.Join(out, reports.LatestName)
	}
	if len(args) > 0 {
		dir = args[0]
	}
	real, err := filepath.EvalSymlinks(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(args) == 0:
		return "", fmt.Errorf("find run folder: there is no %s: make a run (make soak DURATION=2m), or name a folder", dir)
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("find run folder: there is no %s: name the folder of a run, such as those in reports/runs", dir)
	case err != nil:
		return "", fmt.Errorf("find run folder: %w", err)
	}
	info, err := os.Stat(real)
	if err != nil {
		return "", fmt.Errorf("find run folder: %w", err)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("find run folder: %s is a file, want the folder that has %s in it", dir, record.FileName)
	}
	return real, nil
}

// say prints the reason, and last the line that scripts read.
func say(out io.Writer, dir string, s record.Summary) error {
	_, err := fmt.Fprintf(out, "%s\nverdict=%s exit=%d report=%s\n",
		strings.Join(strings.Fields(s.Reason), " "), s.Verdict, s.ExitCode, filepath.Join(dir, s.Report))
	return err
}
