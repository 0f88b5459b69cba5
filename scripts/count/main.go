// Command count counts what a test run passed, failed and skipped, and prints
// the output of what failed, so that a long run can stay quiet.
//
//	go test -json ./... | count -o FILE go
//	count -o FILE ginkgo REPORT.json
//
// FILE gets one line, "passed failed skipped". The exit status is 0 if nothing
// failed, 1 if something did, and 2 if the input could not be read.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// Tally counts tests by how they ended.
type Tally struct{ Passed, Failed, Skipped int }

func main() {
	tally, err := run(os.Args[1:], os.Stdin, os.Stdout)
	switch {
	case err != nil:
		fmt.Fprintf(os.Stderr, "count: %v\n", err)
		os.Exit(2)
	case tally.Failed > 0:
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) (Tally, error) {
	flags := flag.NewFlagSet("count", flag.ContinueOnError)
	file := flags.String("o", "", "write \"passed failed skipped\" to this `file`")
	if err := flags.Parse(args); err != nil {
		return Tally{}, fmt.Errorf("parse arguments: %w", err)
	}
	var tally Tally
	var err error
	switch form := flags.Arg(0); {
	case form == "go" && flags.NArg() == 1:
		tally, err = Go(in, out)
	case form == "ginkgo" && flags.NArg() == 2:
		var report *os.File
		if report, err = os.Open(flags.Arg(1)); err != nil {
			return Tally{}, fmt.Errorf("open report: %w", err)
		}
		defer report.Close()
		tally, err = Ginkgo(report, out)
	default:
		return Tally{}, errors.New("usage: count [-o FILE] go | ginkgo REPORT.json")
	}
	if err != nil {
		return tally, err
	}
	if *file == "" {
		return tally, nil
	}
	line := fmt.Sprintf("%d %d %d\n", tally.Passed, tally.Failed, tally.Skipped)
	if err := os.WriteFile(*file, []byte(line), 0o644); err != nil {
		return tally, fmt.Errorf("write count: %w", err)
	}
	return tally, nil
}
