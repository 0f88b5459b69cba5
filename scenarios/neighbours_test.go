package scenarios

import (
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/load"
)

// always is a fault that needs to know nothing of the world.
func always(f fault.Fault) func(*harness.World) fault.Fault {
	return func(*harness.World) fault.Fault { return f }
}

// flap is the shortest outage, at a place.
func flap(at lab.Place) func(*harness.World) fault.Fault {
	return func(w *harness.World) fault.Fault { return fault.Flap{At: at, For: w.ShortOutage()} }
}

// Two clients have the server in common, and nothing else. What strikes one of them frees
// all that was its own, and takes nothing from the visitors of the other.
var _ = Describe("Two clients", Label("places", "topology"), func() {
	for _, c := range []struct {
		what  string
		visit func(*harness.World)
		fault func(*harness.World) fault.Fault
	}{
		{"the death of one while visitors are idle", idle, always(fault.Kill{Role: "client"})},
		{"the death of one with data in flight", busy, always(fault.Kill{Role: "client"})},
		{"the cable pulled at one while visitors are idle", idle, always(fault.Unplug{At: lab.AtClient})},
		{"the cable pulled at one with data in flight", busy, always(fault.Unplug{At: lab.AtClient})},
		{"the silent expiry of one's NAT while visitors are idle", idle, always(fault.ExpireNAT{Silent: true})},
		{"the silent expiry of one's NAT with data in flight", busy, always(fault.ExpireNAT{Silent: true})},
		{"RST from one's NAT", busy, always(fault.ExpireNAT{})},
		{"one that is frozen", idle, always(fault.Freeze{Role: "client"})},
		{"an outage of one that every detector outlives", busy, flap(lab.AtRouterInner)},
	} {
		It("are separate: the other does not notice "+c.what, func(ctx SpecContext) {
			w := harness.New(ctx, lab.TwoClients)

			c.visit(w)
			w.VisitBeside(crew, load.Both)
			endure(w, c.fault(w))
		})
	}
})

// Eight clients behind one router: to the server they have one address. What strikes the
// router strikes all. They all lose everything once before, for a server that has had a
// crowd log in at once is larger than one that has not. (It is no flap that they meet
// before a flap: the kernel may count TCP_USER_TIMEOUT from the first.)
var _ = Describe("Many clients behind one NAT", Label("places", "nat", "topology"), func() {
	for _, c := range []struct {
		what   string
		visit  func(*harness.World)
		beside load.Flow
		fault  func(*harness.World) fault.Fault
	}{
		{"lose every connection when it expires silently while visitors are idle", idle, load.Idle, always(fault.ExpireNAT{Silent: true})},
		{"lose every connection when it expires silently with data in flight", busy, load.Both, always(fault.ExpireNAT{Silent: true})},
		{"lose every connection when it answers with RST", busy, load.Both, always(fault.ExpireNAT{})},
		{"outlive a moment in which it is dark", idle, load.Idle, flap(lab.AtServer)},
		{"do not notice the death of one of them", busy, load.Both, always(fault.Kill{Role: "client"})},
		{"do not notice the cable pulled at one of them", idle, load.Both, always(fault.Unplug{At: lab.AtClient})},
	} {
		It(c.what, func(ctx SpecContext) {
			w := harness.New(ctx, lab.CrowdedNAT)

			w.Rehearse(2*crew, fault.ExpireNAT{})
			c.visit(w)
			w.VisitBeside(crew, c.beside)
			endure(w, c.fault(w))
		})
	}
})

// Beside the fault, the other client is used as hard as a quarter of what the machine can
// do, and keeps at least 80 % of that. Every fault is here that can strike one client and
// not the other: strangers and a cut after so many packets bring connections of their own,
// and a server that is killed serves nobody.
var _ = Describe("Beside the fault", Label("places", "topology", "calm"), func() {
	for _, c := range []struct {
		what  string
		fault func(*harness.World) fault.Fault
	}{
		{"a death", always(fault.Kill{Role: "client"})},
		{"SIGTERM", always(fault.Terminate{Role: "client"})},
		{"a power loss", always(fault.PowerLoss{Role: "client"})},
		{"a freeze", always(fault.Freeze{Role: "client"})},
		{"a cable pulled at the client", always(fault.Unplug{At: lab.AtClient})},
		{"a cable pulled at the server", always(fault.Unplug{At: lab.AtServer})},
		{"a cable pulled at the visitor", always(fault.Unplug{At: lab.AtVisitor})},
		{"a cable pulled at the origin", always(fault.Unplug{At: lab.AtOrigin})},
		{"a lost carrier", always(fault.LoseCarrier{At: lab.AtClient})},
		{"a lost route", always(fault.LoseRoute{At: lab.AtClient})},
		{"a lost address", always(fault.LoseAddress{At: lab.AtClient})},
		{"a flap", flap(lab.AtRouterInner)},
		{"a black hole", always(fault.Blackhole{})},
		{"a black hole towards the server", always(fault.Blackhole{Way: fault.ToServer})},
		{"a black hole from the server", always(fault.Blackhole{Way: fault.FromServer})},
		{"an MTU black hole", always(fault.MTUBlackhole{})},
		{"RST injected", always(fault.InjectRST{})},
		{"a silent NAT expiry", always(fault.ExpireNAT{Silent: true})},
		{"a loud NAT expiry", always(fault.ExpireNAT{})},
		{"a NAT rebound", always(fault.RebindNAT{})},
		{"a router reboot", func(w *harness.World) fault.Fault { return fault.RebootRouter{For: w.ShortOutage()} }},
		{"sockets destroyed", always(fault.DestroySockets{At: lab.AtClient})},
		{"no descriptors", always(fault.ExhaustFDs{Role: "client"})},
		{"refused dials", always(fault.RefuseDials{At: lab.AtOrigin})},
		{"a short NAT life", func(w *harness.World) fault.Fault {
			return fault.NATLife{Life: w.LongestSilence().Truncate(time.Second) + 2*time.Second}
		}},
		{"a bad link", always(fault.Quality{At: lab.AtClient, Is: lab.Quality{Delay: 60 * time.Millisecond, Loss: 0.02}})},
	} {
		It("of one client, the other keeps its rate: "+c.what, func(ctx SpecContext) {
			w := harness.New(ctx, lab.TwoClients)

			w.OfferBeside()
			w.VisitBusy(visitors)
			endure(w, c.fault(w))
		})
	}
})
