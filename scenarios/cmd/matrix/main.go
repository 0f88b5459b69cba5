// Matrix prints the covering set of fault, place, traffic and protocol that make matrix
// plays, and what is left out of it, with the reasons.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/halfopen/halfopen/harness/fault/pairwise"
	"github.com/halfopen/halfopen/scenarios/matrix"
)

func main() {
	var strength int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "matrix",
		Short: "Print the rows of fault, place, traffic and protocol that cover every pair, or every three",
		Long: `Print a covering set: rows of a fault, a place, a kind of traffic and a protocol, so
that every pair of them (every three with --t 3) that can be is in some row. What
cannot be, or would say nothing, is listed with the reason.

make matrix plays the rows.

Exit status: 0 every combination that can be is in a row; 1 one is not; 2 usage.`,
		Args: cobra.NoArgs, SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, err := matrix.Table().Cover(strength)
			if err != nil {
				return err
			}
			if missing := matrix.Table().Missing(set.Rows, strength); len(missing) > 0 {
				return fmt.Errorf("%w: %v", errMissing, missing)
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(set)
			}
			return show(cmd.OutOrStdout(), set)
		},
	}
	cmd.Flags().IntVar(&strength, "t", 2, "of how many factors every combination is covered: 1 to 4")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.CompletionOptions.DisableDefaultCmd = true
	if err := cmd.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		if errors.Is(err, errMissing) {
			os.Exit(1)
		}
		os.Exit(2)
	}
}

var errMissing = errors.New("not covered")

// show prints the rows, then what is excluded, by reason.
func show(out io.Writer, set pairwise.Set) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "row\tfault\tplace\ttraffic\tprotocol")
	for i, row := range set.Rows {
		fmt.Fprintf(w, "%d\t%s\n", i+1, strings.Join(row, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	byReason := map[string][]string{}
	for _, e := range set.Excluded {
		byReason[e.Reason] = append(byReason[e.Reason], e.Combination.String())
	}
	fmt.Fprintf(out, "\n%d rows cover all %d combinations of %d that can be; %d cannot:\n", len(set.Rows), set.Covered, set.T, len(set.Excluded))
	for _, reason := range slices.Sorted(maps.Keys(byReason)) {
		fmt.Fprintf(out, "\n%s (%d):\n", reason, len(byReason[reason]))
		for _, c := range byReason[reason] {
			fmt.Fprintf(out, "  %s\n", c)
		}
	}
	return nil
}
