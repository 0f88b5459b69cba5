package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

// scale is how many times shorter than the document's the times of the quick set are.
// SetKeepAlivePeriod(30s) makes 30 s / 15 s / 9 of a socket, which K1 reads from a live
// one; at a fifteenth that is scaled.
const (
	scale  = 15
	scaled = "2s/1s/9"
	// short is what ends within the document's 90 s, at a fifteenth: 5 s.
	short     = "2s/1s/3"
	shortName = "KeepAliveConfig{Idle: 30s, Interval: 15s, Count: 3}"
)

// detection are the claims about keepalive itself.
func detection() []claim {
	gone := func(c Case) Case {
		c.What, c.Unit = "gone after", "s"
		return c
	}
	soon := func(c Case) Case { // the document's 30 to 90 s
		c.Least, c.Most, c.Scale = 30.0/scale, 90.0/scale, scale
		return gone(c)
	}
	full := func(c Case) Case {
		c.Least, c.Most = 30, 90
		return gone(c)
	}
	// bounded is within what the settings come to, 11 s and an eighth, and a second.
	bounded := func(c Case) Case {
		c.Most, c.Scale = 13.5, scale
		return gone(c)
	}
	talks := []string{"-chat", "100ms"}
	return []claim{
		{
			id: "K1", where: "OS-Level Configuration", words: `SetKeepAlivePeriod(30 * time.Second): "probe every 30 seconds", "retries (typically 9 times)"`,
			tried: "the call on an accepted connection, its options read back from the live socket",
			cases: []trial{
				{Case: Case{Circumstance: "it is the first probe", What: "TCP_KEEPIDLE is", Unit: "s", Least: 30, Most: 30}, run: option("TCP_KEEPIDLE")},
				{Case: Case{Circumstance: "it is one of those after it", What: "TCP_KEEPINTVL is", Unit: "s", Least: 30, Most: 30}, run: option("TCP_KEEPINTVL")},
				{Case: Case{Circumstance: "it is their number", What: "TCP_KEEPCNT is", Least: 9, Most: 9}, run: option("TCP_KEEPCNT")},
			},
		},
		{
			id: "K2", where: "OS-Level Configuration", words: "OS sends probe every 30 seconds on idle connection",
			tried: "what K1 read, at a fifteenth; probes counted on a router, the time from one to the next",
			cases: []trial{
				{Case: Case{Circumstance: "the peer answers", What: "from probe to probe", Unit: "s", Least: 1.9, Most: 2.4, Scale: scale}, run: probes(false, false)},
				{Case: Case{Circumstance: "nobody answers", What: "from probe to probe", Unit: "s", Least: 1.9, Most: 2.4, Scale: scale}, run: probes(true, false)},
			},
		},
		{
			id: "K3", where: "OS-Level Configuration", words: "If probe fails, OS retries (typically 9 times)",
			tried: "the router drops everything, and counts the probes until the socket is gone",
			cases: []trial{{Case: Case{Circumstance: "idle, nobody answers", What: "unanswered probes in all:", Least: 9, Most: 10}, run: probes(true, true)}},
		},
		{
			id: "K4", where: "Normal Connection Death Detection", words: "Client crashes -> Keepalive probe fails -> Connection closed in 30-90s; After ~90s total, OS closes socket",
			tried: "power loss of the client's host; the time until the server's kernel has forgotten the connection",
			cases: []trial{
				{Case: soon(Case{Circumstance: "idle"}), run: play{shape: "parked", args: keepalive(scaled), fault: powerless, watch: 16 * time.Second, over: kernel}.run},
				{Case: soon(Case{Circumstance: "idle", Setting: shortName}), run: play{shape: "parked", args: keepalive(short), fault: powerless, watch: 9 * time.Second, over: kernel}.run},
				{Case: full(Case{Circumstance: "idle, at full length"}), slow: true, run: play{shape: "parked", args: keepalive("30s"), fault: powerless, watch: 200 * time.Second, over: kernel}.run},
				{Case: full(Case{Circumstance: "idle, at full length", Setting: shortName}), slow: true, run: play{shape: "parked", args: keepalive("30s/15s/3"), fault: powerless, watch: 110 * time.Second, over: kernel}.run},
			},
		},
		{
			id: "K5", where: "Scenario 2", words: "Network dies -> Multiple probes fail -> Connection auto-closed",
			tried: "the cable pulled at the client, K1's settings at a fifteenth; the server's connection must be gone when its probes have failed (13.5 s)",
			cases: []trial{
				{Case: bounded(Case{Circumstance: "idle"}), run: play{shape: "parked", args: keepalive(scaled), fault: unplugged, watch: 16 * time.Second, over: kernel}.run},
				{Case: bounded(Case{Circumstance: "data in flight from the server"}), run: play{shape: "parked", args: append(keepalive(scaled), talks...), fault: unplugged, watch: 25 * time.Second, over: kernel}.run},
				{Case: bounded(Case{Circumstance: "data in flight from the client only"}), run: play{shape: "parked", args: append(keepalive(scaled), "-read"), peer: []string{"--ping", "100ms"}, fault: unplugged, watch: 16 * time.Second, over: kernel}.run},
				{Case: bounded(Case{Circumstance: "data in flight from the server", Setting: "TCP_USER_TIMEOUT 11 s (165 s)"}), run: play{shape: "parked", args: append(append(keepalive(scaled), talks...), "-user-timeout", "11s"), fault: unplugged, watch: 20 * time.Second, over: kernel}.run},
				{Case: bounded(Case{Circumstance: "the client is stopped, its kernel lives"}), run: play{shape: "parked", args: keepalive(scaled), fault: frozen, watch: 25 * time.Second, over: kernel}.run},
			},
		},
		natClaim(),
		{
			id: "K7", where: "Scenario 3", words: "OR if NAT still expires: Probes fail through dead NAT, Connection detected as dead, Cleaned up; Either works or gets cleaned",
			tried: "a NAT that forgets its mappings, and drops what it does not know, without a word",
			cases: []trial{
				{Case: bounded(Case{Circumstance: "the server is idle"}), run: play{topology: lab.BehindNAT, shape: "parked", args: keepalive(scaled), fault: natExpired, watch: 16 * time.Second, over: kernel}.run},
				{Case: bounded(Case{Circumstance: "the server writes"}), run: play{topology: lab.BehindNAT, shape: "parked", args: append(keepalive(scaled), talks...), fault: natExpired, watch: 25 * time.Second, over: kernel}.run},
				{Case: bounded(Case{Circumstance: "the server writes", Setting: "TCP_USER_TIMEOUT 11 s (165 s)"}), run: play{topology: lab.BehindNAT, shape: "parked", args: append(append(keepalive(scaled), talks...), "-user-timeout", "11s"), fault: natExpired, watch: 20 * time.Second, over: kernel}.run},
			},
		},
	}
}

// natClaim is about probes that keep a mapping alive.
func natClaim() claim {
	kept := func(circumstance string, least, scale float64) Case {
		return Case{Circumstance: circumstance, What: "lost after", Unit: "s", Least: least, Most: never, Scale: scale}
	}
	return claim{
		id: "K6", where: "Scenario 3", words: "Keepalive probes keep NAT mapping alive; Connection stays usable",
		tried: "a NAT that forgets what was silent for its life, the connection idle; its mapping watched, and a request at the end",
		cases: []trial{
			{Case: kept("the NAT's life is longer than the keepalive idle (4 s, 2 s)", 12, scale), run: mapping(4*time.Second, scaled, 12*time.Second)},
			{Case: kept("the NAT's life is shorter than the keepalive idle (2 s, 4 s)", 12, scale/2.0), run: mapping(2*time.Second, "4s/1s/9", 12*time.Second)},
			{Case: with("a keepalive idle below the NAT's life", kept("1 s, 2 s", 12, scale/2.0)), run: mapping(2*time.Second, "1s/1s/9", 12*time.Second)},
			{Case: kept("5 min and 30 s, at full length", 640, 0), slow: true, run: mapping(300*time.Second, "30s", 640*time.Second)},
		},
	}
}

// option reads an option that SetKeepAlivePeriod(30s) leaves on a live socket.
func option(name string) func(context.Context, *bench) (reading, error) {
	return func(ctx context.Context, b *bench) (r reading, err error) {
		s, err := b.serve(ctx, lab.Direct, "parked", keepalive("30s")...)
		if err != nil {
			return r, err
		}
		defer func() { err = errors.Join(err, s.close(ctx)) }()
		if err := errors.Join(s.peers(ctx, 1), s.added(ctx, 1)); err != nil {
			return r, err
		}
		o, err := s.live(ctx)
		if err != nil {
			return r, err
		}
		r.bit, r.witness = o.Keepalive, fmt.Sprintf("SO_KEEPALIVE is %t", o.Keepalive)
		r.value = map[string]float64{"TCP_KEEPIDLE": o.KeepaliveIdle, "TCP_KEEPINTVL": o.KeepaliveInterval, "TCP_KEEPCNT": float64(o.KeepaliveCount)}[name]
		return r, nil
	}
}

// probes counts what the server sends on an idle connection, on the router: all of them
// until the connection is gone, or the time from one to the next.
func probes(dead, total bool) func(context.Context, *bench) (reading, error) {
	const mark = "halfopen probes"
	return func(ctx context.Context, b *bench) (r reading, err error) {
		s, err := b.serve(ctx, lab.BehindNAT, "parked", keepalive(scaled)...)
		if err != nil {
			return r, err
		}
		defer func() { err = errors.Join(err, s.close(ctx)) }()
		if err := errors.Join(s.peers(ctx, 1), s.added(ctx, 1)); err != nil {
			return r, err
		}
		rule := []string{"-i", s.Router.Outer.Name, "-p", "tcp", "--sport", fmt.Sprint(tunnelPort),
			"!", "--tcp-flags", "RST", "RST", // with which a kernel that gives up says so
			"-m", "comment", "--comment", mark, "-j", "RETURN"}
		if err := s.Router.Rule("-I", "mangle", "PREROUTING", rule...); err != nil {
			return r, err
		}
		r.bit, r.witness = true, "the peer answers"
		var witness fault.Witness
		if dead {
			heal, look, err := fault.Blackhole{}.Inject(ctx, s.Lab)
			if err != nil {
				return r, err
			}
			s.heals, witness = append(s.heals, heal), look
		}
		var first, last time.Time
		var unseen [2]time.Duration // for how long nobody had looked, before the first and before the last
		var seen uint64
		looked := time.Now()
		w, err := s.wait(ctx, 14*time.Second, func(ctx context.Context) (bool, error) {
			_, n, err := s.Router.Marked("mangle", "PREROUTING", mark)
			now := time.Now()
			if n > seen && first.IsZero() {
				first, unseen[0] = now, now.Sub(looked)
			}
			if n > seen {
				seen, last, unseen[1] = n, now, now.Sub(looked)
			}
			looked = now
			if err != nil || !dead {
				return false, err
			}
			if err := pause(ctx, 30*time.Millisecond); err != nil {
				return false, err
			}
			return s.undone(ctx)
		})
		if err != nil {
			return r, err
		}
		if dead {
			if r.witness, r.bit, err = witness(ctx); err != nil {
				return r, err
			}
			r.bit = r.bit && !w.censored
			r.witness += fmt.Sprintf("; gone: %t, after %.1f s", !w.censored, w.value)
		}
		if seen < 2 {
			r.bit, r.witness = false, fmt.Sprintf("%d probes were seen", seen)
			return r, nil
		}
		if total { // when they were seen does not matter
			r.value = float64(seen)
			return r, nil
		}
		r.value = last.Sub(first).Seconds() / float64(seen-1)
		r.told = fmt.Sprintf("%d probes", seen)
		if doubt := (unseen[0] + unseen[1]).Seconds() / float64(seen-1); doubt > 0.1 {
			r.bit, r.witness = false, fmt.Sprintf("the machine stood still: the time between probes is known to %.2g s", doubt)
		}
		return r, nil
	}
}

// mapping gives a NAT's mappings a life, and watches one.
func mapping(life time.Duration, ka string, watch time.Duration) func(context.Context, *bench) (reading, error) {
	return func(ctx context.Context, b *bench) (r reading, err error) {
		s, err := b.serve(ctx, lab.BehindNAT, "recycler", keepalive(ka)...)
		if err != nil {
			return r, err
		}
		defer func() { err = errors.Join(err, s.close(ctx)) }()
		if err := errors.Join(s.peers(ctx, 1, "--echo"), s.added(ctx, 1)); err != nil {
			return r, err
		}
		heal, _, err := fault.NATLife{Life: life}.Inject(ctx, s.Lab)
		if err != nil {
			return r, err
		}
		s.heals = append(s.heals, heal)
		// The life holds from the next packet on: a request, and one idle time.
		if err := s.request(ctx); err != nil {
			return r, err
		}
		r, err = s.wait(ctx, watch, func(context.Context) (bool, error) {
			now, err := s.Router.Established()
			return len(now) == 0, err
		})
		if err != nil {
			return r, err
		}
		r.bit = true
		r.witness = fmt.Sprintf("the router's life of a mapping is %v", life)
		usable := s.request(ctx)
		r.told = "a request then is answered"
		if usable != nil {
			r.told = "a request then is not answered"
		}
		if r.censored && usable != nil { // it is there, and does not work
			r.value, r.censored = 0, false
		}
		return r, nil
	}
}
