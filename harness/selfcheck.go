package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/probe"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/harness/target"
)

// leakyPackage is a server of ours that leaks one socket, one descriptor and one
// goroutine a connection, and counts in a gauge what it has not let go of.
const (
	leakyPackage = "github.com/halfopen/halfopen/harness/testtarget/leaky"
	leakyGauge   = "leaky_held"
)

// selfCheckRounds is how often the detector must be right in a row.
const selfCheckRounds = 3

// selfCheck runs the detector on a server that is known to leak: every round must be
// a LEAK that names the socket and the function, and has one more by the gauge. A detector that misses it proves
// nothing by a pass. dir takes the server's program and log.
func selfCheck(ctx context.Context, root, dir string) record.Check {
	began := time.Now()
	c := record.Check{What: fmt.Sprintf("a server that leaks a socket, a descriptor and a goroutine a connection, and one more by its gauge, %d rounds", selfCheckRounds)}
	program := filepath.Join(dir, "leaky")
	err := target.GoBuild(ctx, root, program, leakyPackage)
	if err == nil {
		err = watchLeaks(ctx, program, dir)
	}
	c.OK, c.Duration = err == nil, time.Since(began).Seconds()
	if err != nil {
		c.Error = err.Error()
	}
	return c
}

func watchLeaks(ctx context.Context, program, dir string) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, errors.New("the self-check took too long"))
	defer cancel()
	l, err := lab.Direct()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	address := netip.AddrPortFrom(l.VisitorSide, 7000).String()
	p, err := l.Start(l.Server, lab.Command{Role: "server", Argv: []string{program, address}, Log: filepath.Join(dir, "leaky.log")})
	if err != nil {
		return err
	}
	for strings.Join(p.Tail(1), "") != "ready" {
		if err := pause(ctx, poll); err != nil || !p.Running() {
			return errors.Join(fmt.Errorf("the leaky server is not ready: %s: %s", p.Status(), strings.Join(p.Tail(1), "")), err)
		}
	}
	o, err := probe.Open(ctx, probe.Process{Role: "server", PID: p.PID(), Host: l.Server, Pprof: "127.0.0.1:6060",
		Metrics: "http://127.0.0.1:6060/metrics", Gauges: []probe.Gauge{{Text: leakyGauge, Name: leakyGauge}}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	for n := range selfCheckRounds {
		j, err := leakOnce(ctx, l, o, address, n)
		if err != nil {
			return err
		}
		named := strings.Contains(j.Where, "main.leak") || strings.Contains(j.Where, "main.hold")
		if j.Verdict != record.Leak || len(j.Survivors) != 2 || !named {
			return fmt.Errorf("round %d: one connection was leaked, and the judge says %s: %s, at %q", n+1, j.Verdict, j.Reason, j.Where)
		}
		counted := func(r record.Row) bool { return r.Resource == "gauge "+leakyGauge && r.Excess == 1 && !r.OK }
		if !slices.ContainsFunc(j.Table, counted) {
			return fmt.Errorf("round %d: one connection was leaked, which its gauge counts, and the judge does not say so", n+1)
		}
	}
	return nil
}

// count is the number of goroutines with the function on their stack.
func count(s record.Sample, function string) int {
	n := 0
	for _, g := range s.Goroutines {
		for _, f := range g.Frames {
			if f.Func == function {
				n++
				break
			}
		}
	}
	return n
}

// leakOnce is one round, the first is 0: a visitor comes and leaves. It may be judged at once: what
// main.leak holds, it holds for ever.
func leakOnce(ctx context.Context, l *lab.Lab, o *probe.Observer, address string, round int) (record.Judgement, error) {
	var s leak.Snapshots
	var conn net.Conn
	holding := func(function string, n int) func(record.Sample) bool {
		return func(now record.Sample) bool {
			return len(leak.Exposed(record.Fault{}, s.B, now)) == 1 && count(now, function) == n
		}
	}
	steps := []struct {
		do    func() error
		into  *record.Sample
		until func(record.Sample) bool
	}{
		{func() error { return nil }, &s.B, func(record.Sample) bool { return true }},
		{func() (err error) { conn, err = l.Visitor.DialContext(ctx, "tcp", address); return err }, &s.E, holding("main.hold", round+1)},
		{func() error { return conn.Close() }, &s.F, holding("main.leak", round+1)},
		{func() error { return nil }, &s.G, holding("main.leak", round+1)},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			return record.Judgement{}, err
		}
		for {
			now, err := o.Sample(ctx)
			if err != nil {
				return record.Judgement{}, err
			}
			if step.until(now) {
				*step.into = now
				break
			}
			if err := pause(ctx, poll); err != nil {
				return record.Judgement{}, err
			}
		}
	}
	x := leak.Exposure{Class: record.Closed}
	f := record.Fault{Name: "visitor left", Place: "visitor", Class: x.Class, Bit: true, Exposures: len(leak.Exposed(record.Fault{}, s.B, s.E))}
	return leak.Judge(leak.Round{
		Fault: f, Window: leak.WindowOf(leak.Stated(record.Settings{}, x), x), Processes: []leak.Snapshots{s},
		Outcome: record.Outcome{Returned: -1, First: -1},
	}), nil
}
