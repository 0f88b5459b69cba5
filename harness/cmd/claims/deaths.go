package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

// deaths are the claims about what a server is told of a client's end, and who then does what.
func deaths() []claim {
	forever := func(c Case) Case { // watched for almost twice what keepalive would take
		c.What, c.Unit, c.Least, c.Most, c.Scale = "noticed after", "s", 20, never, scale
		return c
	}
	once := func(c Case) Case {
		c.Scale = 0
		return c
	}
	unheard := func(c Case) Case {
		c.What, c.Unit, c.Least, c.Most = "told after", "s", 5, never
		return c
	}
	told := func(s *stage) look { return s.unestablished }
	soon := func(c Case) Case { // 5 s and an eighth, and what a sweep adds
		c.What, c.Unit, c.Most, c.Scale = "after", "s", 90.0/scale, scale
		return c
	}
	late := func(c Case) Case {
		c.What, c.Unit, c.Most = "after", "s", 9.5
		return c
	}
	off := keepalive("off")
	return []claim{
		{
			id: "E1", where: "Normal Connection Death Detection; Scenarios 1 and 2", words: "Without Keepalive: Server waits forever, keeps connection in memory FOREVER, Connection stuck FOREVER",
			tried: "keepalive off, the client's host without power or its cable pulled; watched for 20 s, which is 300 s at the document's pace",
			cases: []trial{
				{Case: forever(Case{Circumstance: "power loss, the server is idle"}), run: play{shape: "parked", args: off, fault: powerless, watch: 20 * time.Second, over: kernel}.run},
				{Case: forever(Case{Circumstance: "the cable pulled, the server is idle"}), run: play{shape: "parked", args: off, fault: unplugged, watch: 20 * time.Second, over: kernel}.run},
				{Case: once(forever(Case{Circumstance: "power loss, the server writes (tcp_retries2 3 for 15)"})), run: play{
					shape: "parked", args: append(off, "-chat", "100ms"), sysctls: map[string]string{"net.ipv4.tcp_retries2": "3"},
					fault: powerless, watch: 20 * time.Second, over: kernel,
				}.run},
			},
		},
		{
			id: "E2", where: "Scenario 1", words: "Client crashes (power loss, kill -9, etc.): Server has no idea (no TCP FIN sent)",
			tried: "keepalive off; the time until the server's connection is ESTABLISHED no more",
			cases: []trial{
				{Case: unheard(Case{Circumstance: "kill -9"}), run: play{shape: "parked", args: off, fault: killed, watch: 6 * time.Second, over: told}.run},
				{Case: unheard(Case{Circumstance: "kill -9 while the server writes"}), run: play{shape: "parked", args: append(off, "-chat", "100ms"), fault: killed, watch: 6 * time.Second, over: told}.run},
				{Case: unheard(Case{Circumstance: "power loss"}), run: play{shape: "parked", args: off, fault: powerless, watch: 6 * time.Second, over: told}.run},
			},
		},
		{
			id: "E3", where: "OS-Level Configuration", words: "If all probes fail, OS closes the socket automatically; Memory freed",
			tried: "power loss, probes failed after 5 s; what is left of the connection in the kernel, and in the process",
			cases: []trial{
				{Case: soon(Case{Circumstance: "the kernel's part"}), run: play{shape: "parked", args: keepalive(short), fault: powerless, watch: 12 * time.Second, over: kernel}.run},
				{Case: soon(Case{Circumstance: "the process's descriptor, which nobody reads"}), run: play{shape: "parked", args: keepalive(short), fault: powerless, watch: 12 * time.Second}.run},
				{Case: soon(with("a Read that waits on each connection", Case{Circumstance: "the process's descriptor"})), run: play{shape: "parked", args: append(keepalive(short), "-read"), fault: powerless, watch: 12 * time.Second}.run},
			},
		},
		{
			id: "E4", where: "OS-Level Configuration", words: "Your application receives EOF/error on next read/write",
			tried: "power loss, probes failed after 5 s; when a call on the connection fails",
			cases: []trial{
				{Case: soon(Case{Circumstance: "a Read that waits"}), run: play{
					shape: "parked", args: append(keepalive(short), "-read"), fault: powerless, watch: 12 * time.Second, over: ended,
				}.run},
				{Case: late(Case{Circumstance: "a Read that is made 4 s later"}), run: play{
					shape: "parked", args: append(keepalive(short), "-read", "-late", "9s"), fault: powerless, watch: 15 * time.Second, over: ended,
				}.run},
			},
		},
		{
			id: "E5", where: "Scenario 1", words: "Server's io.Copy() gets EOF",
			tried: "keepalive at a fifteenth; how io.Copy ended",
			cases: []trial{
				{Case: Case{Circumstance: "kill -9", What: "EOFs of one end:", Least: 1, Most: 1}, run: play{shape: "parked", args: append(keepalive(short), "-read"), fault: killed, watch: 12 * time.Second, over: ended, after: eofs}.run},
				{Case: Case{Circumstance: "power loss", What: "EOFs of one end:", Least: 1, Most: 1}, run: play{shape: "parked", args: append(keepalive(short), "-read"), fault: powerless, watch: 12 * time.Second, over: ended, after: eofs}.run},
			},
		},
		{
			id: "E6", where: "Summary", words: "Before: Connections dying from lack of keepalive; The timeout issue you had was caused by missing keepalive",
			tried: "a server that sets nothing, its accepted connection's options read from the live socket",
			cases: []trial{{Case: Case{Circumstance: "Go's defaults", What: "connections without keepalive, of one:", Least: 1, Most: 1}, run: lacking}},
		},
	}
}

func ended(s *stage) look { return says(s.server, "copy ended", 1) }

// eofs counts the copies that ended without an error: by EOF.
func eofs(_ context.Context, s *stage, r *reading) error {
	r.bit = r.bit && !r.censored
	r.value, r.censored = 0, false
	for _, how := range lines(s.server, "copy ended:") {
		if r.told = how; how == "<nil>" {
			r.value++
			r.told = "EOF"
		}
	}
	return nil
}

// lacking counts connections without keepalive on a server that sets nothing.
func lacking(ctx context.Context, b *bench) (r reading, err error) {
	s, err := b.serve(ctx, lab.Direct, "parked")
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
	r.bit, r.witness = true, "one connection is established"
	if !o.Keepalive {
		r.value = 1
	}
	r.told = fmt.Sprintf("keepalive %t, %.3g s / %.3g s / %d", o.Keepalive, o.KeepaliveIdle, o.KeepaliveInterval, o.KeepaliveCount)
	return r, nil
}
