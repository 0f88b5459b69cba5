package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

// ageScale is how many times shorter than 15 minutes the age limit of the quick set is.
const ageScale = 300

// layers are the claims of the document's five safety layers.
func layers() []claim {
	after := func(most float64, c Case) Case {
		c.What, c.Unit, c.Most = "after", "s", most
		return c
	}
	removed := func(n int) func(*stage) look {
		return func(s *stage) look { return says(s.server, "removed", n) }
	}
	parked := func(f fault.Fault, args ...string) func(context.Context, *bench) (reading, error) {
		return play{shape: "parked", args: append(keepalive(short), args...), fault: f, watch: 12 * time.Second, over: removed(1)}.run
	}
	aged := func(c Case) Case {
		c.What, c.Unit, c.Least, c.Most, c.Scale = "closed after", "s", 2.5, 4, ageScale
		return c
	}
	recycled := func(before func(context.Context, *stage) error, args ...string) func(context.Context, *bench) (reading, error) {
		return play{shape: "recycler", args: append([]string{"-age", "3s"}, args...), peer: []string{"--echo"}, before: before, watch: 9 * time.Second, over: removed(1)}.run
	}
	return []claim{
		{
			id: "L1", where: "Layer 1", words: "select {} Blocks until connection dies: When connection dies, select {} unblocks, Both defer statements execute",
			tried: "keepalive that ends a dead connection after 5 s; until the deferred removal has run",
			cases: []trial{
				{Case: after(7, Case{Circumstance: "kill -9 of the client"}), run: parked(killed)},
				{Case: after(7, Case{Circumstance: "power loss of the client"}), run: parked(powerless)},
				{Case: after(7, with("a Read in place of select {}", Case{Circumstance: "kill -9 of the client"})), run: parked(killed, "-read")},
				{Case: after(7, with("a Read in place of select {}", Case{Circumstance: "power loss of the client"})), run: parked(powerless, "-read")},
			},
		},
		{
			id: "L2", where: "Layer 1; Summary", words: "defer conn.Close() GUARANTEED to run; Deferred cleanup is guaranteed to run",
			tried: "whether the connection is closed, or the deferred removal has run, 3 s later",
			cases: []trial{
				{Case: cleanups(Case{Circumstance: "the handshake is refused"}), run: refused},
				{Case: cleanups(Case{Circumstance: "the client is killed, the handler waits with select {}"}), run: play{shape: "parked", fault: killed, watch: 3 * time.Second, over: removed(1), after: ran}.run},
				{Case: cleanups(Case{Circumstance: "the client is killed, the handler waits in a Read"}), run: play{shape: "parked", args: []string{"-read"}, fault: killed, watch: 3 * time.Second, over: removed(1), after: ran}.run},
				{Case: cleanups(Case{Circumstance: "the server gets SIGTERM"}), run: play{shape: "parked", args: []string{"-read"}, fault: fault.Terminate{Role: "server"}, watch: time.Second, over: gone, after: ran}.run},
			},
		},
		{
			id: "L3", where: "Layer 2", words: "After 15 minutes, it's forcibly closed; No connection lives forever; Age limits force close after 15 minutes anyway",
			tried: "an age limit of 3 s, its function called with each request, as the document has no other caller",
			cases: []trial{
				{Case: aged(Case{Circumstance: "requests keep coming"}), run: recycled(requests(100 * time.Millisecond))},
				{Case: aged(Case{Circumstance: "no requests come"}), run: recycled(nil)},
				{Case: aged(with("a timer that looks each 0.5 s (2.5 min)", Case{Circumstance: "no requests come"})), run: recycled(nil, "-sweep", "500ms")},
			},
		},
		{
			id: "L4", where: "Layer 2", words: "Or after 100 requests",
			tried: "requests one after the other, counted until the connection is closed",
			cases: []trial{{Case: Case{Circumstance: "one connection", What: "closed at request", Least: 100, Most: 101}, run: play{
				shape: "recycler", peer: []string{"--echo"}, before: requests(10 * time.Millisecond), watch: 20 * time.Second, over: removed(1), after: requestsCarried,
			}.run}},
		},
		{
			id: "L5", where: "Layer 3", words: "Timeout = connection alive; EOF or error = connection dead -> will be removed",
			tried: "a sweep a second; whether it judges the connection rightly, within 5 s",
			cases: []trial{
				{Case: right(Case{Circumstance: "the peer is alive, and silent"}), run: verdict(nil, true)},
				{Case: right(Case{Circumstance: "the peer is alive, and has sent a byte"}), run: verdict(nil, true, "--ping", "500ms")},
				{Case: right(Case{Circumstance: "the peer was killed"}), run: verdict(killed, false)},
				{Case: right(Case{Circumstance: "the peer lost power"}), run: verdict(powerless, false)},
				{Case: right(Case{Circumstance: "the peer is stopped"}), run: verdict(frozen, false)},
				{Case: right(Case{Circumstance: "the kernel has given the connection up, and says so: ETIMEDOUT"}), run: play{
					shape: "prober", args: append(keepalive(short), "-every", "8s"), fault: powerless, watch: 9 * time.Second,
					over: func(s *stage) look { return says(s.server, "sweep", 1) }, after: firstVerdict,
				}.run},
			},
		},
		{
			id: "L6", where: "Layer 3", words: "Try to set deadline ... SetReadDeadline(1 ms), Read(one byte): the check does a healthy connection no harm",
			tried: "a healthy peer, a sweep a second; for how long the connection lives",
			cases: []trial{
				{Case: harmless(Case{Circumstance: "nobody reads, and nothing comes"}), run: probed("-every", "1s")},
				{Case: harmless(Case{Circumstance: "another Read waits"}), run: probed("-every", "1s", "-read")},
				{Case: harmless(Case{Circumstance: "a byte has come"}), run: play{shape: "prober", args: []string{"-every", "1s"}, peer: []string{"--ping", "300ms"}, watch: 5 * time.Second, over: removed(1)}.run},
			},
		},
		{
			id: "L7", where: "Layer 3", words: "Dead connections are immediately closed and removed",
			tried: "a sweep each 3 s, the fault just after one; keepalive that ends a dead connection after 5 s; immediately: within 0.5 s",
			cases: []trial{
				{Case: after(0.5, Case{Circumstance: "kill -9"}), run: play{shape: "prober", args: append(keepalive(short), "-every", "3s"), before: swept, fault: killed, watch: 12 * time.Second}.run},
				{Case: after(0.5, Case{Circumstance: "power loss"}), run: play{shape: "prober", args: append(keepalive(short), "-every", "3s"), before: swept, fault: powerless, watch: 15 * time.Second}.run},
				{Case: after(0.5, with("a Read that waits, and no sweep", Case{Circumstance: "kill -9"})), run: play{shape: "parked", args: append(keepalive(short), "-read"), fault: killed, watch: 5 * time.Second}.run},
			},
		},
		{
			id: "L8", where: "Layer 3", words: "No accumulation of zombie connections",
			tried: "five connections, keepalive at a fifteenth, a sweep a second; what is left after 16 s",
			cases: []trial{
				{Case: zombies(Case{Circumstance: "kill -9"}), run: accumulate(killed)},
				{Case: zombies(Case{Circumstance: "power loss, the server is idle"}), run: accumulate(powerless)},
				{Case: zombies(Case{Circumstance: "power loss, the server writes"}), run: accumulate(powerless, "-chat", "100ms")},
				{Case: zombies(Case{Circumstance: "the client is stopped"}), run: accumulate(frozen)},
				{Case: zombies(with("TCP_USER_TIMEOUT 11 s (165 s)", Case{Circumstance: "power loss, the server writes"})), run: accumulate(powerless, "-chat", "100ms", "-user-timeout", "11s")},
			},
		},
		{
			id: "L9", where: "Layer 4", words: "Every WebSocket session cleanup triggers explicit removal; No lingering WebSocket connections in the pool",
			tried: "keepalive at a fifteenth; until the connection is removed from the pool, at most 13.5 s",
			cases: []trial{
				{Case: after(13.5, Case{Circumstance: "the visitor ends the session"}), run: relayed(nil, session(0), bye)},
				{Case: after(13.5, Case{Circumstance: "the visitor's cable is pulled"}), run: relayed(fault.Unplug{At: lab.AtVisitor}, session(0), nil)},
				{Case: after(13.5, Case{Circumstance: "the client is killed in a session"}), run: relayed(killed, session(0), nil)},
				{Case: after(13.5, Case{Circumstance: "the client is killed before any session"}), run: relayed(killed, nil, nil)},
			},
		},
		{
			id: "L10", where: "Layer 5", words: "Client also monitors connection health; Unhealthy connections are replaced; Double protection against stuck connections",
			tried: "keepalive at a fifteenth on the client; until it lets go of its connection, at most 13.5 s",
			cases: []trial{
				{Case: after(13.5, Case{Circumstance: "the server is killed"}), run: renewed(scaled, "", fault.Kill{Role: "server"})},
				{Case: after(13.5, Case{Circumstance: "the server loses power"}), run: renewed(scaled, "", fault.PowerLoss{Role: "server"})},
				{Case: after(13.5, Case{Circumstance: "the server is stopped"}), run: renewed(scaled, "", fault.Freeze{Role: "server"})},
				{Case: after(13.5, with("a heartbeat each second and a read deadline of 3 s", Case{Circumstance: "the server is stopped"})), run: renewed(scaled, "3s", fault.Freeze{Role: "server"})},
			},
		},
	}
}

func cleanups(c Case) Case {
	c.What, c.Least, c.Most = "cleanups of one connection:", 1, 1
	return c
}

// refused counts the connections that are closed when their handshake is refused.
func refused(ctx context.Context, b *bench) (r reading, err error) {
	s, err := b.serve(ctx, lab.Direct, "parked")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	if err := s.peers(ctx, 1, "--greeting", "x"); err != nil {
		return r, err
	}
	if r, err = s.wait(ctx, 3*time.Second, s.unheld); err != nil {
		return r, err
	}
	client := s.Processes["client"]
	w, err := s.wait(ctx, time.Second, says(client, "ended", 1))
	r.bit, r.witness = !w.censored, fmt.Sprintf("the client has seen its connection end: %t", !w.censored)
	r.value = 1
	if r.censored {
		r.value, r.censored = 0, false
	}
	return r, err
}

// ran counts the deferred removals.
func ran(_ context.Context, s *stage, r *reading) error {
	r.value, r.censored = float64(printed(s.server, "removed")), false
	return nil
}

// gone looks whether the server has ended.
func gone(s *stage) look {
	return func(context.Context) (bool, error) { return !s.server.Running(), nil }
}

// requestsCarried is how many requests the connection had when it was closed.
func requestsCarried(_ context.Context, s *stage, r *reading) error {
	n := 0
	for _, text := range lines(s.server, "recycled after") {
		if _, err := fmt.Sscan(text, &n); err != nil {
			return err
		}
	}
	r.bit = n > 0
	r.value, r.witness = float64(n), fmt.Sprintf("the server counted %d requests", n)
	return nil
}

func right(c Case) Case {
	c.What, c.Least, c.Most = "right verdicts of one:", 1, 1
	return c
}

// verdict says whether the sweep is right about a connection: keeps it if the peer is
// alive, and removes it if not.
func verdict(f fault.Fault, alive bool, peer ...string) func(context.Context, *bench) (reading, error) {
	return play{
		shape: "prober", args: append(keepalive("off"), "-every", "1s"), peer: peer, fault: f, watch: 5 * time.Second,
		over: func(s *stage) look { return says(s.server, "removed", 1) },
		after: func(_ context.Context, s *stage, r *reading) error {
			kept := r.censored
			sweeps := printed(s.server, "sweep")
			r.bit = r.bit && sweeps > 0
			r.told = fmt.Sprintf("kept: %t, after %d sweeps", kept, sweeps)
			r.value, r.censored = 0, false
			if kept == alive {
				r.value = 1
			}
			return nil
		},
	}.run
}

// firstVerdict says whether the first sweep after the kernel has given the connection up
// has removed it.
func firstVerdict(ctx context.Context, s *stage, r *reading) error {
	forgotten, err := s.undone(ctx)
	removed := printed(s.server, "removed")
	r.bit = r.bit && !r.censored && (forgotten || removed > 0)
	r.value, r.told = float64(removed), fmt.Sprintf("the sweep came %.1f s after the fault", r.value)
	return err
}

func harmless(c Case) Case {
	c.What, c.Unit, c.Least, c.Most = "lost after", "s", 5, never
	return c
}

// probed is for how long a healthy connection lives beside the sweep.
func probed(args ...string) func(context.Context, *bench) (reading, error) {
	return play{
		shape: "prober", args: append(keepalive("off"), args...), watch: 5 * time.Second,
		over: func(s *stage) look {
			return func(context.Context) (bool, error) {
				return printed(s.server, "removed")+printed(s.server, "reader ended") > 0, nil
			}
		},
		after: func(_ context.Context, s *stage, r *reading) error {
			for _, how := range lines(s.server, "reader ended:") {
				r.told = "the reader got " + how
			}
			return nil
		},
	}.run
}

// swept waits for the end of a sweep.
func swept(ctx context.Context, s *stage) error {
	before := printed(s.server, "sweep")
	_, err := s.wait(ctx, 10*time.Second, says(s.server, "sweep", before+1))
	return err
}

func zombies(c Case) Case {
	c.What, c.Most = "left of five:", 0
	return c
}

// accumulate counts what is left of five connections.
func accumulate(f fault.Fault, args ...string) func(context.Context, *bench) (reading, error) {
	return play{
		shape: "prober", args: append(append(keepalive(scaled), "-every", "1s"), args...), count: 5, fault: f, watch: 16 * time.Second,
		after: func(ctx context.Context, s *stage, r *reading) error {
			p, err := s.observer.Point(ctx)
			r.value, r.censored = float64(max(0, p.FDs-s.idle.FDs)), false
			return err
		},
	}.run
}

// relayed is a relay with a session; then follows the fault, or what the visitor does.
func relayed(f fault.Fault, before, then func(context.Context, *stage) error) func(context.Context, *bench) (reading, error) {
	return play{
		shape: "relay", args: keepalive(scaled), peer: []string{"--echo"}, fault: f, watch: 18 * time.Second,
		before: func(ctx context.Context, s *stage) error {
			for _, step := range []func(context.Context, *stage) error{before, then} {
				if step == nil {
					continue
				}
				if err := step(ctx, s); err != nil {
					return err
				}
			}
			return nil
		},
		over: func(s *stage) look { return says(s.server, "removed", 1) },
	}.run
}

// bye ends the visitor's session.
func bye(_ context.Context, s *stage) error { return s.visitor.Close() }

// renewed is a client of layer 5, and a fault of its server.
func renewed(ka, deadline string, f fault.Fault) func(context.Context, *bench) (reading, error) {
	return func(ctx context.Context, b *bench) (r reading, err error) {
		topology := lab.Direct
		if _, nat := f.(fault.ExpireNAT); nat {
			topology = lab.BehindNAT
		}
		s, err := b.open(topology)
		if err != nil {
			return r, err
		}
		defer func() { err = errors.Join(err, s.close(ctx)) }()
		address := netip.AddrPortFrom(s.ClientSide, tunnelPort).String()
		serve := []string{b.self, "peer", "--listen", address}
		dial := []string{b.bins["renewer"], "-connect", address, "-keepalive", ka}
		if deadline != "" {
			serve, dial = append(serve, "--ping", "1s"), append(dial, "-deadline", deadline)
		}
		if s.server, err = s.start(ctx, s.Server, "server", serve, "listening"); err != nil {
			return r, err
		}
		client, err := s.start(ctx, s.Client, "client", dial, "connected")
		if err != nil {
			return r, err
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return r, err
		}
		if printed(client, "unhealthy") > 0 {
			return r, errors.New("the client lets go of a healthy connection")
		}
		return s.until(ctx, f, 20*time.Second, says(client, "unhealthy", 1))
	}
}
