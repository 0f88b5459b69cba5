package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/probe"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/harness/target"
)

// programs are the folder of the document's code shapes, and their names.
const programs = "github.com/halfopen/halfopen/scenarios/claims/"

var shapes = []string{"parked", "recycler", "prober", "relay", "renewer", "crowd"}

// Where the programs listen on their host.
const (
	tunnelPort = 4443
	publicPort = 8080
	admin      = "127.0.0.1:6060"
)

// bench is what trials share: the programs, and a folder for what they print.
type bench struct {
	bins map[string]string
	self string // this program, which is the peer
	dir  string

	mu   sync.Mutex
	labs int
}

func newBench(ctx context.Context, root, self, dir string) (*bench, error) {
	b := &bench{bins: map[string]string{}, self: self, dir: dir}
	for _, name := range shapes {
		b.bins[name] = filepath.Join(dir, name)
		if err := target.GoBuild(ctx, root, b.bins[name], programs+name); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// stage is one trial's lab with a program on it.
//
//	visitor ---- server (the program) ---- client (its peer)
type stage struct {
	*lab.Lab
	b        *bench
	dir      string
	server   *lab.Process
	observer *probe.Observer
	idle     record.Point // what the program holds without connections
	visitor  net.Conn     // whose session is under way
	heals    []fault.Heal // and what else must be undone
}

// open builds a lab.
func (b *bench) open(topology lab.Topology) (*stage, error) {
	b.mu.Lock()
	b.labs++
	dir := filepath.Join(b.dir, strconv.Itoa(b.labs))
	b.mu.Unlock()
	l, err := topology()
	if err != nil {
		return nil, err
	}
	return &stage{Lab: l, b: b, dir: dir}, nil
}

// serve builds a lab with a server of that shape.
func (b *bench) serve(ctx context.Context, topology lab.Topology, shape string, args ...string) (*stage, error) {
	s, err := b.open(topology)
	if err != nil {
		return nil, err
	}
	argv := slices.Concat([]string{
		b.bins[shape],
		"-listen", netip.AddrPortFrom(s.ClientSide, tunnelPort).String(),
		"-public", netip.AddrPortFrom(s.VisitorSide, publicPort).String(),
	}, args)
	if s.server, err = s.start(ctx, s.Server, "server", argv, "ready"); err == nil {
		err = s.watch(ctx, s.server, s.Server, admin)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// start starts a program, and waits until it has printed word.
func (s *stage) start(ctx context.Context, on *lab.Host, role string, argv []string, word string) (*lab.Process, error) {
	p, err := s.Start(on, lab.Command{Role: role, Argv: argv, Log: filepath.Join(s.dir, role+".log")})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Second, fmt.Errorf("%s has not printed %q", role, word))
	defer cancel()
	for printed(p, word) == 0 {
		if !p.Running() {
			return nil, fmt.Errorf("%s has ended: %s: %v", role, p.Status(), p.Tail(3))
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// watch observes a process, and notes what it holds now.
func (s *stage) watch(ctx context.Context, p *lab.Process, on *lab.Host, pprof string) (err error) {
	s.observer, err = probe.Open(ctx, probe.Process{Role: p.Role, PID: p.PID(), Host: on, Pprof: pprof, Free: "/debug/free"})
	if err != nil {
		return err
	}
	s.idle, err = s.observer.Point(ctx)
	return err
}

// peers connects n connections of a process on the client's host to the server, each of
// which greets; args are more of the peer's flags.
func (s *stage) peers(ctx context.Context, n int, args ...string) error {
	argv := slices.Concat([]string{
		s.b.self, "peer", "--connect", netip.AddrPortFrom(s.ClientSide, tunnelPort).String(), "--count", strconv.Itoa(n),
	}, args)
	_, err := s.start(ctx, s.Client, "client", argv, "connected")
	return err
}

// added waits until the server has taken n connections into its pool.
func (s *stage) added(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Second, fmt.Errorf("the server has not taken in %d connections", n))
	defer cancel()
	for printed(s.server, "added") < n {
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return pause(ctx, 100*time.Millisecond) // a delayed acknowledgement takes 40 ms
}

// close heals what is injected, and takes the lab down.
func (s *stage) close(ctx context.Context) error {
	var errs []error
	if s.observer != nil {
		errs = append(errs, s.observer.Close())
	}
	for _, heal := range slices.Backward(s.heals) {
		errs = append(errs, heal(context.WithoutCancel(ctx)))
	}
	return errors.Join(append(errs, s.Close())...)
}

// look says whether what a trial waits for has come.
type look func(context.Context) (bool, error)

// until strikes with a fault, waits for what over looks for, at most for so long, and says
// how long it took from when the fault was in force.
func (s *stage) until(ctx context.Context, f fault.Fault, watch time.Duration, over look) (r reading, err error) {
	starved := harness.StartStarvation()
	defer func() { r.starved, _ = starved.End() }()
	heal, witness, err := f.Inject(ctx, s.Lab)
	if err != nil {
		return r, err
	}
	s.heals = append(s.heals, heal)
	if r, err = s.wait(ctx, watch, over); err != nil {
		return r, err
	}
	r.witness, r.bit, err = witness(ctx)
	return r, err
}

// wait waits for what over looks for, at most for so long.
func (s *stage) wait(ctx context.Context, watch time.Duration, over look) (r reading, err error) {
	began := time.Now()
	for {
		at := time.Since(began)
		is, err := over(ctx)
		if err != nil {
			return r, err
		}
		if is || at >= watch {
			r.value, r.censored = at.Seconds(), !is
			return r, nil
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return r, err
		}
	}
}

// unheld looks whether the observed process holds no more descriptors than without
// connections.
func (s *stage) unheld(ctx context.Context) (bool, error) {
	p, err := s.observer.Point(ctx)
	return p.FDs <= s.idle.FDs, err
}

// undone looks whether the kernel has forgotten the observed process's connections.
func (s *stage) undone(ctx context.Context) (bool, error) {
	p, err := s.observer.Point(ctx)
	n := 0
	for state, count := range p.Sockets {
		if state != "LISTEN" {
			n += count
		}
	}
	return n == 0, err
}

// unestablished looks whether none of the observed process's connections is ESTABLISHED.
func (s *stage) unestablished(ctx context.Context) (bool, error) {
	p, err := s.observer.Point(ctx)
	return p.Sockets["ESTABLISHED"] == 0, err
}

// live are the options of the observed process's one connection, from the live socket.
func (s *stage) live(ctx context.Context) (record.Options, error) {
	sample, err := s.observer.Sample(ctx)
	if err != nil {
		return record.Options{}, err
	}
	for _, k := range sample.Sockets {
		if k.State == "ESTABLISHED" && k.Options != nil {
			return *k.Options, nil
		}
	}
	return record.Options{}, fmt.Errorf("no established connection whose options may be read %s", sample.OptionsRefused)
}

// says looks whether a process has printed a word n times.
func says(p *lab.Process, word string, n int) look {
	return func(context.Context) (bool, error) { return printed(p, word) >= n, nil }
}

// printed counts the lines that begin with word.
func printed(p *lab.Process, word string) int { return len(lines(p, word)) }

// lines are those that a process printed which begin with word, without it.
func lines(p *lab.Process, word string) []string {
	text, err := p.Printed(0)
	if err != nil {
		return nil // it has printed nothing yet
	}
	var found []string
	for in := bufio.NewScanner(bytes.NewReader(text)); in.Scan(); {
		if rest, ok := strings.CutPrefix(in.Text(), word); ok {
			found = append(found, strings.TrimSpace(rest))
		}
	}
	return found
}

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
