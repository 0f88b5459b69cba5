package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/probe"
	"github.com/halfopen/halfopen/harness/record"
)

// enduranceCommand judges the harness by its own rules: its own memory, descriptors and
// goroutines over many fast cycles.
func enduranceCommand() *cobra.Command {
	var cycles int
	cmd := &cobra.Command{
		Use:   "endurance",
		Short: "judge the memory of the harness itself over many fast cycles, by its own rules",
		Long: `endurance runs fast cycles on a healthy server, and reads this program itself
every 20 of them: heap, RssAnon, descriptors, goroutines. It is judged as a target
is, and must be flat.

Exit status: 0 flat; 1 it leaks; 2 usage or set-up; 3 inconclusive.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cycles < 1 {
				return errors.New("cycles must be at least 1")
			}
			if err := lab.Sandbox(); err != nil {
				return err
			}
			said, err := endure(cmd.Context(), cycles)
			if err != nil {
				return err
			}
			var verdicts []record.Verdict
			for _, s := range said {
				fmt.Println(s.Text)
				verdicts = append(verdicts, s.Verdict)
			}
			os.Exit(leak.ExitCode(leak.Worst(verdicts...)))
			return nil
		},
	}
	cmd.Flags().IntVar(&cycles, "cycles", 10000, "fast cycles to run")
	return cmd
}

// enduranceStep is how many fast cycles lie between two readings of the harness.
const enduranceStep = 20

func endure(ctx context.Context, cycles int) (_ []record.Statement, err error) {
	root, err := harness.ModuleRoot()
	if err != nil {
		return nil, err
	}
	b, err := prepare(ctx, root)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.lab.Close()) }()
	x := plan[0]
	s, err := b.start(ctx, x, firstSeed)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	self, err := probe.Open(ctx, probe.Process{Role: "harness", PID: os.Getpid(), Host: b.lab.Server})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, self.Close()) }()
	r := rand.New(rand.NewPCG(firstSeed, 1))
	// Made beforehand: what is read must not be the readings.
	points := make([]ownPoint, 0, cycles/enduranceStep)
	var before record.Sample
	began, exposures := time.Now(), 0
	for cycle := 1; cycle <= cycles; cycle++ {
		n := x.least + r.IntN(x.most-x.least+1)
		if err := s.connections(ctx, r, n, x.kind); err != nil {
			return nil, fmt.Errorf("cycle %d: %w", cycle, err)
		}
		if before, err = s.rest(ctx, before); err != nil {
			return nil, err
		}
		if _, err := s.Rest(ctx); err != nil {
			return nil, err
		}
		if _, err := s.Memory(ctx); err != nil {
			return nil, err
		}
		exposures += n
		if cycle%enduranceStep != 0 {
			continue
		}
		now, err := readOwn(ctx, self)
		if err != nil {
			return nil, err
		}
		now.exposures, exposures = exposures, 0
		points = append(points, now)
		if cycle%1000 == 0 {
			fmt.Printf("%d of %d cycles: heap %s, RssAnon %s\n", cycle, cycles, leak.Bytes(float64(now.heap)), leak.Bytes(float64(now.rssAnon)))
		}
	}
	series := leak.Series{Role: "harness", Fast: true, Pace: time.Since(began).Seconds() / float64(max(1, len(points)))}
	for _, p := range points {
		series.Readings = append(series.Readings, p.reading())
	}
	fmt.Printf("the harness itself, read every %d of %d fast cycles (a cycle below is %d of them):\n", enduranceStep, cycles, enduranceStep)
	return append(series.Counts(leak.FloorConfirm), series.Memory()...), nil
}

// ownPoint is what this program itself holds at one moment.
type ownPoint struct {
	fds, goroutines, exposures int
	heap, rssAnon              int64
}

func (p ownPoint) reading() record.Reading {
	return record.Reading{
		Role: "harness", Fast: true, Quiescent: true, Exposures: p.exposures,
		Counts: map[string]int{"fds": p.fds, "goroutines": p.goroutines},
		Memory: record.Memory{HeapAlloc: p.heap, RssAnon: p.rssAnon, Freed: true},
	}
}

// readOwn reads this program as a target's memory is read.
func readOwn(ctx context.Context, self *probe.Observer) (ownPoint, error) {
	for range 3 {
		runtime.GC()
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	p, err := self.Point(ctx)
	return ownPoint{fds: p.FDs, goroutines: runtime.NumGoroutine(), heap: int64(m.HeapAlloc), rssAnon: p.RssAnon}, err
}
