package scenarios

import (
	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

// kinds are routers that are worse than a home's.
var kinds = []struct {
	name     string
	topology lab.Topology
}{
	{"Double NAT", lab.DoubleNAT}, // the carrier's forgets, the home's still knows every connection
	{"Hard NAT", lab.HardNAT},     // no connection has its own port, or gets the same one again
}

// What a simple NAT does, seen through one that is not.
var _ = Describe("A client behind a", Label("places", "nat", "topology"), func() {
	for _, kind := range kinds {
		Context(kind.name, func() {
			It("that expires silently is noticed by both ends while visitors are idle", func(ctx SpecContext) {
				strike(ctx, kind.topology, idle, fault.ExpireNAT{Silent: true})
			})
			It("that expires silently is noticed by both ends with data in flight", func(ctx SpecContext) {
				strike(ctx, kind.topology, busy, fault.ExpireNAT{Silent: true})
			})
			It("that answers with RST ends every connection at once", func(ctx SpecContext) {
				strike(ctx, kind.topology, busy, fault.ExpireNAT{})
			})
			It("that moves every connection to another port ends it at once", func(ctx SpecContext) {
				strike(ctx, kind.topology, idle, fault.RebindNAT{})
			})
			It("is dark for a moment that every detector outlives", func(ctx SpecContext) {
				w := harness.New(ctx, kind.topology)

				w.VisitBusy(visitors)
				w.Inject(fault.Flap{At: lab.AtRouterInner, For: w.ShortOutage()})
				w.Settle()
				w.Heal()

				w.ExpectService()
				w.ExpectClean(w.Server, w.Client)
			})
		})
	}
})

// A client that changes its network logs in again from another address, while its old
// login still stands: nobody has told the server.
var _ = Describe("Roaming", Label("places", "nat", "topology"), func() {
	It("leaves nothing of the old address while visitors are idle, and serves from the new one", func(ctx SpecContext) {
		move(ctx, lab.Roaming, idle, fault.Unplug{At: lab.AtClient})
	})
	It("leaves nothing of the old address with data in flight, and serves from the new one", func(ctx SpecContext) {
		move(ctx, lab.Roaming, busy, fault.Unplug{At: lab.AtClient})
	})
})
