package main

import (
	"context"
	"time"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

// deed is one way in which a connection's other end is lost.
type deed struct {
	name     string
	fault    fault.Fault
	topology lab.Topology
	writes   bool // this end writes meanwhile
}

// deeds are those that each layer meets alone.
var deeds = []deed{
	{"kill -9", killed, lab.Direct, false},
	{"power loss, idle", powerless, lab.Direct, false},
	{"power loss, data in flight", powerless, lab.Direct, true},
	{"frozen", frozen, lab.Direct, false},
	{"NAT expiry, silent", natExpired, lab.BehindNAT, false},
}

// alone are the document's layers, each with all the others off, against each fault.
func alone() []claim {
	// each plays the deeds on a server of one shape; suffix ends the circumstances' names.
	each := func(p play, suffix string) (trials []trial) {
		for _, d := range deeds {
			x := p
			x.fault, x.topology, x.watch = d.fault, d.topology, 10*time.Second
			if d.writes {
				x.args = append(append([]string(nil), p.args...), "-chat", "100ms")
			}
			trials = append(trials, trial{Case: freed(Case{Circumstance: d.name + suffix}), run: x.run})
		}
		return trials
	}
	off := keepalive("off")
	old := append(append([]string(nil), off...), "-age", "3s")
	entry := func(id, what string, trials []trial) claim {
		return claim{
			id: id, where: "Summary", words: "Multiple cleanup mechanisms ensure connections close: " + what,
			tried: "all other layers off; until the process holds the connection no more, at most 7 s (90 s at the document's pace, and a second)",
			cases: trials,
		}
	}
	relay := func(before func(context.Context, *stage) error) play {
		return play{shape: "relay", args: off, peer: []string{"--echo"}, before: before}
	}
	return []claim{
		entry("A0", "keepalive alone (a Read waits on each connection)", each(play{shape: "parked", args: append(keepalive(short), "-read")}, "")),
		entry("A1", "layer 1 alone, deferred cleanup", each(play{shape: "parked", args: off}, "")),
		entry("A2", "layer 2 alone, age and request limits", append(
			each(play{shape: "recycler", args: old, peer: []string{"--echo"}}, " (no requests come)"),
			each(play{shape: "recycler", args: old, peer: []string{"--echo"}, before: requests(200 * time.Millisecond)}, " (requests keep coming)")...)),
		entry("A3", "layer 3 alone, the sweep", each(play{shape: "prober", args: append(append([]string(nil), off...), "-every", "1s")}, "")),
		entry("A4", "layer 4 alone, removal after a session", append(
			each(relay(session(0)), " (in a session)"),
			trial{Case: freed(Case{Circumstance: "kill -9 (before a session)"}), run: func() play {
				p := relay(nil)
				p.fault, p.watch = killed, 10*time.Second
				return p
			}().run})),
		entry("A5", "layer 5 alone, the client's own look (the faults are the server's)", []trial{
			{Case: freed(Case{Circumstance: "kill -9"}), run: renewed("off", "", fault.Kill{Role: "server"})},
			{Case: freed(Case{Circumstance: "power loss, idle"}), run: renewed("off", "", fault.PowerLoss{Role: "server"})},
			{Case: freed(Case{Circumstance: "frozen"}), run: renewed("off", "", fault.Freeze{Role: "server"})},
			{Case: freed(Case{Circumstance: "NAT expiry, silent"}), run: renewed("off", "", natExpired)},
		}),
	}
}

func freed(c Case) Case {
	c.What, c.Unit, c.Most = "freed after", "s", 7
	return c
}
