package fault

import (
	"testing"

	"github.com/halfopen/halfopen/harness/lab"
)

func TestSevered(t *testing.T) {
	for name, f := range map[string]func(lab.Place) Fault{
		"carrier": func(at lab.Place) Fault { return LoseCarrier{At: at} },
		"route":   func(at lab.Place) Fault { return LoseRoute{At: at} },
		"address": func(at lab.Place) Fault { return LoseAddress{At: at} },
		"moves":   func(at lab.Place) Fault { return LoseAddress{At: at, Moves: true} },
	} {
		for _, at := range []lab.Place{lab.AtClient, lab.AtServer} {
			if name == "moves" && at != lab.AtClient {
				continue // nobody would find a server that moved
			}
			t.Run(name+" at "+string(at), func(t *testing.T) {
				l := build(t, lab.BehindNAT)
				client, server := connect(t, l)
				heal, witness := inject(t, f(at), l)
				expect(t, witness, true)
				near, far := client, server
				if at == lab.AtServer {
					near, far = server, client
				}
				if passes(t, near, far, patience(false)) {
					t.Error("a byte gets out")
				}
				// Without a route one still hears.
				if want := name == "route"; passes(t, far, near, patience(want)) != want {
					t.Errorf("a byte gets in: %v", !want)
				}
				if name == "moves" {
					near, far = connect(t, l) // from its new address
				}
				expect(t, witness, true)
				healTwice(t, heal)
				expect(t, witness, false)
				if name == "moves" && !(passes(t, near, far, patience(true)) && passes(t, far, near, patience(true))) {
					t.Error("what was connected from the new address is lost by the heal")
				}
				// The router's masquerading may have forgotten the old ones.
				if !eventually(func() bool {
					c, err := l.Client.DialContext(t.Context(), "tcp", l.ClientSide.String()+":9")
					if err == nil {
						c.Close()
					}
					return err != nil && refusedByPeer(err)
				}) {
					t.Error("no packet passes after the heal")
				}
			})
		}
	}
}
