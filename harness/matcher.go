package harness

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/onsi/gomega/types"

	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/probe"
	"github.com/halfopen/halfopen/harness/record"
)

// ReturnTo succeeds when a process holds no more than it did in baseline: sockets
// in no state more (gopsutil), goroutines of no stack signature more (pprof), and
// RSS at most 10 % or 2 MiB more (gopsutil). The actual value is a record.Sample,
// or a function that returns one:
//
//	before, err := server.Sample(ctx)
//	...
//	Eventually(server.Sample).WithContext(ctx).WithTimeout(window).Should(ReturnTo(before))
//
// What it does not prove: a moment that passes is enough for Eventually, counts
// can hide that one connection came while another leaked, and nothing says that a
// fault took effect. World.ExpectClean judges by identity and asks for witnesses.
func ReturnTo(baseline record.Sample) types.GomegaMatcher {
	return &returnTo{baseline: baseline}
}

type returnTo struct {
	baseline record.Sample
	excess   []string
}

// rssRoom is what RSS may grow by: the larger of 2 MiB and 10 %. A Go process that
// has freed everything still comes to rest within that of where it began.
func rssRoom(baseline int64) int64 { return max(2<<20, baseline/10) }

// Match implements types.GomegaMatcher.
func (m *returnTo) Match(actual any) (bool, error) {
	now, ok := actual.(record.Sample)
	if !ok {
		return false, fmt.Errorf("ReturnTo wants a record.Sample, got %T", actual)
	}
	m.excess = nil
	for state, n := range now.States {
		if was := m.baseline.States[state]; n > was {
			m.excess = append(m.excess, fmt.Sprintf("sockets %s: %d, were %d", state, n, was))
		}
	}
	_, groups := leak.Excesses(m.baseline, record.Sample{}, record.Sample{}, now)
	for _, x := range groups {
		m.excess = append(m.excess, fmt.Sprintf("goroutines: %d, were %d: %s", x.Settled, x.Baseline, x.Signature))
	}
	if grown := now.Memory.RSS - m.baseline.Memory.RSS; grown > rssRoom(m.baseline.Memory.RSS) {
		m.excess = append(m.excess, fmt.Sprintf("RSS: %d bytes more than %d", grown, m.baseline.Memory.RSS))
	}
	slices.Sort(m.excess)
	return len(m.excess) == 0, nil
}

// FailureMessage implements types.GomegaMatcher.
func (m *returnTo) FailureMessage(any) string {
	return "Expected the process to return to its baseline, but it holds more:\n  " + strings.Join(m.excess, "\n  ")
}

// NegatedFailureMessage implements types.GomegaMatcher.
func (m *returnTo) NegatedFailureMessage(any) string {
	return "Expected the process to hold more than its baseline, but it does not"
}

// Watch observes a process that the harness did not start, for use with ReturnTo.
// pprof is the address of its pprof server ("127.0.0.1:6060"), or "" if it has
// none: goroutines are then not compared. Release it when done.
func Watch(ctx context.Context, pid int, pprof string) (*Watched, error) {
	o, err := probe.Open(ctx, probe.Process{Role: fmt.Sprintf("pid %d", pid), PID: pid, Host: probe.Here{}, Pprof: pprof})
	if err != nil {
		return nil, fmt.Errorf("watch pid %d: %w", pid, err)
	}
	return &Watched{observer: o}, nil
}

// Watched is a process that Watch observes.
type Watched struct{ observer *probe.Observer }

// Sample reads everything that the process holds now.
func (w *Watched) Sample(ctx context.Context) (record.Sample, error) { return w.observer.Sample(ctx) }

// Release ends the observation; the process lives on.
func (w *Watched) Release() error { return w.observer.Close() }
