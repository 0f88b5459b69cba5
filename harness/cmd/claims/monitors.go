package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

// monitors are the claims about what shows a leak. The leak is known: connections whose
// client is gone, and whose descriptors the server holds.
func monitors() []claim {
	shown := func(c Case) Case {
		c.What, c.Least, c.Most = "shown of the leaked ten:", 10, never
		return c
	}
	// leaked leaks ten connections, and reads a monitor before and after.
	leaked := func(shape string, args []string, f fault.Fault, watch time.Duration, monitor gauge) func(context.Context, *bench) (reading, error) {
		return func(ctx context.Context, b *bench) (reading, error) {
			return leaks(ctx, b, shape, args, f, watch, 10, monitor)
		}
	}
	rss := func(n int) func(context.Context, *bench) (reading, error) {
		return func(ctx context.Context, b *bench) (reading, error) { return noticeable(ctx, b, n) }
	}
	grown := func(c Case) Case {
		c.What, c.Least, c.Most = "growth beside that of a server that leaks nothing, times", 2, never
		return c
	}
	return []claim{
		{
			id: "M1", where: "What to Watch", words: "netstat -an | grep :4443 | wc -l: Should stay stable; leak: Connection count grows indefinitely",
			tried: "ten connections leaked by select {}, their descriptors counted; rows of /proc/net/tcp, which netstat prints, 7 s after the fault",
			cases: []trial{
				{Case: shown(Case{Circumstance: "kill -9, within the minute that the client's kernel remembers"}), run: leaked("parked", keepalive(short), killed, 7*time.Second, rows)},
				{Case: shown(Case{Circumstance: "power loss, keepalive has ended the connections"}), run: leaked("parked", keepalive(short), powerless, 7*time.Second, rows)},
				{Case: shown(Case{Circumstance: "power loss, without keepalive"}), run: leaked("parked", keepalive("off"), powerless, 7*time.Second, rows)},
			},
		},
		{
			id: "M2", where: "What to Watch", words: "ps aux | grep server | awk '{print $6}': Should be stable over time; leak: Memory usage grows continuously",
			tried: "the server's RSS before and after so many connections leaked in five waves, beside a server that frees them; a leak is seen if it grows twice as much",
			cases: []trial{
				{Case: grown(Case{Circumstance: "10 leaked connections"}), run: rss(10)},
				{Case: grown(Case{Circumstance: "1,000 leaked connections"}), run: rss(1000)},
			},
		},
		{
			id: "M3", where: "What to Watch", words: "curl http://localhost:6060/debug/pprof/goroutine?debug=1: Check for goroutine leaks; leak: Goroutines increase over time",
			tried: "ten leaked connections; goroutines in the profile before and after",
			cases: []trial{
				{Case: shown(Case{Circumstance: "a handler waits for each"}), run: leaked("parked", keepalive("off"), killed, time.Second, goroutines)},
				{Case: shown(Case{Circumstance: "they lie in a pool, and no goroutine waits"}), run: leaked("relay", keepalive("off"), killed, time.Second, goroutines)},
			},
		},
	}
}

// gauge is a monitor: a number that should not grow.
type gauge func(context.Context, *stage) (int, error)

// rows are what netstat -an | grep :4443 | wc -l counts on the server's host.
func rows(_ context.Context, s *stage) (n int, err error) {
	var text []byte
	err = s.Server.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/tcp")
		return err
	})
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, fmt.Sprintf(":%04X ", tunnelPort)) {
			n++
		}
	}
	return n, err
}

// goroutines are those in the server's profile, without the observer's.
func goroutines(ctx context.Context, s *stage) (n int, err error) {
	sample, err := s.observer.Rest(ctx)
	for _, g := range sample.Groups {
		n += g.Count
	}
	return n, err
}

// leaks has a server leak n connections, and says by how much a monitor rose. That they
// leaked, the descriptors witness.
func leaks(ctx context.Context, b *bench, shape string, args []string, f fault.Fault, watch time.Duration, n int, monitor gauge) (r reading, err error) {
	s, err := b.serve(ctx, lab.Direct, shape, args...)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	before, err := monitor(ctx, s)
	if err != nil {
		return r, err
	}
	if err := errors.Join(s.peers(ctx, n), s.added(ctx, n)); err != nil {
		return r, err
	}
	if r, err = s.until(ctx, f, watch, func(context.Context) (bool, error) { return false, nil }); err != nil {
		return r, err
	}
	p, err := s.observer.Point(ctx)
	if err != nil {
		return r, err
	}
	after, err := monitor(ctx, s)
	held := p.FDs - s.idle.FDs
	r.bit = r.bit && held == n
	r.witness = fmt.Sprintf("%d descriptors more than before; %s", held, r.witness)
	r.value, r.censored = float64(max(0, after-before)), false
	r.told = fmt.Sprintf("%d before, %d after", before, after)
	return r, err
}

// resident is what ps says of a process in its sixth column, in kB.
func resident(_ context.Context, s *stage) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.server.PID()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if number, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kB := 0
			_, err := fmt.Sscan(number, &kB)
			return kB, err
		}
	}
	return 0, errors.New("the process has no VmRSS")
}

// waves are in how many parts the connections of noticeable come: each wave's end is over
// before the next begins.
const waves = 5

// noticeable is how many times more a server grows that leaks n connections than one that
// serves and frees as many.
func noticeable(ctx context.Context, b *bench, n int) (r reading, err error) {
	growth := func(args ...string) (grown, held int, err error) {
		s, err := b.serve(ctx, lab.Direct, "parked", args...)
		if err != nil {
			return 0, 0, err
		}
		defer func() { err = errors.Join(err, s.close(ctx)) }()
		before, err := resident(ctx, s)
		if err != nil {
			return 0, 0, err
		}
		for wave := 1; wave <= waves; wave++ {
			if err := errors.Join(s.peers(ctx, n/waves), s.added(ctx, wave*n/waves)); err != nil {
				return 0, 0, err
			}
			if _, err := s.until(ctx, killed, time.Second, s.unheld); err != nil {
				return 0, 0, err
			}
		}
		p, err := s.observer.Point(ctx)
		if err != nil {
			return 0, 0, err
		}
		after, err := resident(ctx, s)
		return after - before, p.FDs - s.idle.FDs, err
	}
	leaky, held, err := growth()
	if err != nil {
		return r, err
	}
	healthy, left, err := growth("-read")
	if err != nil {
		return r, err
	}
	r.bit = held == n && left <= 0
	r.witness = fmt.Sprintf("descriptors held: %d of %d by the one, %d by the other", held, n, left)
	r.value = float64(leaky) / float64(max(healthy, 1))
	r.told = fmt.Sprintf("%d kB leaking, %d kB not", leaky, healthy)
	return r, nil
}
