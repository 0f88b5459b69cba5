package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/probe"
	"github.com/halfopen/halfopen/harness/record"
)

// Where the server listens, on the loopback of its own host.
const (
	echoAddress  = "127.0.0.1:7000"
	adminAddress = "127.0.0.1:6060"
)

// bench is a host with one server on it at a time.
type bench struct {
	lab     *lab.Lab
	program string // steady
	dir     string // for its output
}

// newBench builds a host that keeps no TIME_WAIT: a fast cycle would use up its ports.
func newBench(program, dir string) (*bench, error) {
	l, err := lab.Direct()
	if err != nil {
		return nil, err
	}
	if err := l.Server.Sysctl("net.ipv4.tcp_max_tw_buckets", "0"); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &bench{lab: l, program: program, dir: dir}, nil
}

// server is a running server with its observer.
type server struct {
	*lab.Process
	*probe.Observer
	host *lab.Host
}

// start starts the server as the experiment wants it.
func (b *bench) start(ctx context.Context, x experiment, seed uint64) (*server, error) {
	argv := []string{
		b.program, "-listen", echoAddress, "-admin", adminAddress, "-kind", x.kind, "-seed", strconv.FormatUint(seed, 10),
	}
	if x.leak != "" {
		argv = append(argv, "-leak", x.leak, "-one-in", strconv.Itoa(x.oneIn), "-bytes", strconv.Itoa(max(1, x.bytes)))
	}
	p, err := b.lab.Start(b.lab.Server, lab.Command{Role: "server", Argv: argv, Log: filepath.Join(b.dir, "steady.log")})
	if err != nil {
		return nil, err
	}
	for !slices.Contains(p.Tail(1), "ready") {
		if err := pause(ctx, 5*time.Millisecond); err != nil || !p.Running() {
			return nil, errors.Join(fmt.Errorf("the server is not ready: %s: %v", p.Status(), p.Tail(1)), err, p.Kill())
		}
	}
	observed := probe.Process{Role: "server", PID: p.PID(), Host: b.lab.Server, Pprof: adminAddress, Free: "/debug/free"}
	if x.untold {
		observed.Free = ""
	}
	o, err := probe.Open(ctx, observed)
	if err != nil {
		return nil, errors.Join(err, p.Kill())
	}
	return &server{Process: p, Observer: o, host: b.lab.Server}, nil
}

func (s *server) stop() error { return errors.Join(s.Observer.Close(), s.Kill()) }

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// trial runs one trial of an experiment: a priming burst of half as many connections
// again as any cycle has, then its cycles.
func (b *bench) trial(ctx context.Context, x experiment, seed uint64) (t record.Trial, err error) {
	s, err := b.start(ctx, x, seed)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	r := rand.New(rand.NewPCG(seed, 1))
	if err := s.connections(ctx, r, x.most*3/2, x.kind); err != nil {
		return t, err
	}
	before, err := s.rest(ctx, record.Sample{})
	if err != nil {
		return t, err
	}
	t = record.Trial{Name: x.name, Seed: seed}
	var costs []float64
	began, exposures := time.Now(), 0
	for cycle := 0; cycle < x.cycles || exposures < x.exposures; cycle++ {
		n := x.least + r.IntN(x.most-x.least+1)
		if err := s.connections(ctx, r, n, x.kind); err != nil {
			return t, fmt.Errorf("cycle %d: %w", cycle+1, err)
		}
		now, err := s.rest(ctx, before)
		if err != nil {
			return t, fmt.Errorf("cycle %d: %w", cycle+1, err)
		}
		asked := time.Now()
		counts, err := s.Rest(ctx)
		if err != nil {
			return t, err
		}
		reading := record.Reading{Exposures: n, Quiescent: leak.Alike(now, before), Counts: leak.CountsOf(counts)}
		if reading.Memory, err = s.Memory(ctx); err != nil {
			return t, err
		}
		costs = append(costs, time.Since(asked).Seconds())
		t.Add(reading)
		exposures += n
		before = now
	}
	t.Pace = time.Since(began).Seconds() / float64(len(costs))
	slices.Sort(costs)
	t.Cost = costs[len(costs)/2]
	return t, nil
}

// restTime bounds the wait for rest: it is this fast server's window.
const restTime = 500 * time.Millisecond

// rest waits until the server's descriptors and sockets are as before, twice in a row,
// or for restTime. The kernel is asked, not the server.
func (s *server) rest(ctx context.Context, before record.Sample) (record.Sample, error) {
	end := time.Now().Add(restTime)
	var last record.Sample
	for {
		p, err := s.Point(ctx)
		if err != nil {
			return last, err
		}
		now := record.Sample{PID: p.PID, FDs: make([]record.FD, p.FDs)}
		for state, n := range p.Sockets {
			for range n {
				now.Sockets = append(now.Sockets, record.Socket{State: state})
			}
		}
		if leak.Alike(last, now) && leak.Alike(before, now) || time.Now().After(end) {
			return now, nil
		}
		last = now
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return last, err
		}
	}
}

// connections opens n at once, has some bytes echoed on each, and ends every other one
// by RST and the rest by FIN. Those of kind idle are left to the server.
func (s *server) connections(ctx context.Context, r *rand.Rand, n int, kind string) (err error) {
	conns := make([]*net.TCPConn, 0, n)
	defer func() {
		for _, c := range conns {
			err = errors.Join(err, c.Close())
		}
	}()
	for range n {
		c, err := s.host.DialContext(ctx, "tcp", echoAddress)
		if err != nil {
			return fmt.Errorf("connect to the server: %w", err)
		}
		conns = append(conns, c.(*net.TCPConn))
	}
	for i, c := range conns {
		sent := make([]byte, 64+r.IntN(2000))
		err := errors.Join(c.SetDeadline(time.Now().Add(10*time.Second)), echo(c, sent))
		if kind == "idle" && (errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)) {
			continue // this machine stood still for longer than the idle timeout
		}
		if err != nil {
			return err
		}
		switch {
		case kind == "idle":
		case i%2 == 0:
			err = c.SetLinger(0)
		default:
			err = c.CloseWrite()
		}
		if err != nil {
			return fmt.Errorf("end a connection: %w", err)
		}
	}
	if kind == "idle" {
		for _, c := range conns {
			if n, err := c.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
				return fmt.Errorf("wait for the idle timeout: %d bytes, %w", n, err)
			}
		}
	}
	return nil
}

// echo has the server send back what it is sent.
func echo(c net.Conn, sent []byte) error {
	for i := range sent {
		sent[i] = byte(i)
	}
	if _, err := c.Write(sent); err != nil {
		return fmt.Errorf("write to the server: %w", err)
	}
	back := make([]byte, len(sent))
	if _, err := io.ReadFull(c, back); err != nil {
		return fmt.Errorf("read from the server: %w", err)
	}
	if !bytes.Equal(sent, back) {
		return errors.New("the server echoes other bytes than it was sent")
	}
	return nil
}
