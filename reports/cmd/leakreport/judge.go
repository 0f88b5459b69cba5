package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
)

// judgeCommand judges a stored record with today's rules.
func judgeCommand(status *int) *cobra.Command {
	return &cobra.Command{
		Use:   "judge [DIR]",
		Short: "Judge a stored record again, with today's rules",
		Long: `judge takes every round of the record (its snapshots, window, faults, witnesses and
measurements), judges it again, and compares that with the verdict that was stored
when it ran. It writes nothing.

Exit status: 0 if every verdict is the same; 1 if one differs; 2 wrong usage, or no
record; 3 if the record holds no judged round.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir, err := folder(args)
			if err != nil {
				return err
			}
			events, err := record.Read(dir)
			if err != nil && !errors.Is(err, record.ErrCut) {
				return err
			}
			*status, err = judge(c.OutOrStdout(), leak.Cases(events))
			return err
		},
	}
}

// judge prints a line for each round that is judged differently now, and a count.
func judge(out io.Writer, cases []leak.Case) (status int, err error) {
	differ := 0
	for _, c := range cases {
		d := c.Difference()
		if d == "" {
			continue
		}
		differ++
		name := c.Name
		if c.Cycle > 0 {
			name = fmt.Sprintf("%s, cycle %d", name, c.Cycle)
		}
		if _, err := fmt.Fprintf(out, "%s: %s\n", name, d); err != nil {
			return 2, err
		}
	}
	_, err = fmt.Fprintf(out, "%d rounds judged again: %d the same, %d different\n", len(cases), len(cases)-differ, differ)
	switch {
	case len(cases) == 0:
		return 3, err
	case differ > 0:
		return 1, err
	}
	return 0, err
}
