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
when it ran. It writes nothing. Rounds whose snapshots are not in the record, as those of
a merged one that passed, are left out and counted.

Exit status: 0 if every verdict is the same; 1 if one differs; 2 wrong usage, or no
record; 3 if the record holds no round
that can be judged.`,
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
	differ, judged := 0, 0
	for _, c := range cases {
		if !c.Whole() {
			continue
		}
		judged++
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
	left := ""
	if n := len(cases) - judged; n > 0 {
		left = fmt.Sprintf("; %d left out: the record has not all of their snapshots", n)
	}
	_, err = fmt.Fprintf(out, "%d rounds judged again: %d the same, %d different%s\n", judged, judged-differ, differ, left)
	switch {
	case judged == 0:
		return 3, err
	case differ > 0:
		return 1, err
	}
	return 0, err
}
