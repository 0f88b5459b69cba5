package scenarios

import (
	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

// flows are the two ways, as the tunnel between server and client has them.
var flows = []struct {
	name  string
	visit func(*harness.World)
}{
	{"from the server", func(w *harness.World) { w.VisitUpload(visitors) }},
	{"from the client", func(w *harness.World) { w.VisitDownload(visitors) }},
}

// With data in flight one way only, one end of each connection resends and the other
// hears nothing: different detectors, and each must do alone.
var _ = Describe("One-way traffic", Label("places", "direction"), func() {
	for _, flow := range flows {
		for _, at := range []lab.Place{lab.AtClient, lab.AtServer} {
			It(flow.name+": a cable pulled at the "+string(at)+" is noticed by both ends", func(ctx SpecContext) {
				w := harness.New(ctx, lab.Direct)

				flow.visit(w)
				w.Inject(fault.Unplug{At: at})
				w.Settle()
				w.Heal()

				w.ExpectService()
				w.ExpectClean(w.Server, w.Client)
			})
		}

		It(flow.name+": a NAT that expires silently is noticed by both ends", func(ctx SpecContext) {
			w := harness.New(ctx, lab.BehindNAT)

			flow.visit(w)
			w.Inject(fault.ExpireNAT{Silent: true})
			w.Settle()
			w.Heal()

			w.ExpectService()
			w.ExpectClean(w.Server, w.Client)
		})

		It(flow.name+": an outage shorter than every detector is survived", func(ctx SpecContext) {
			w := harness.New(ctx, lab.BehindNAT)

			flow.visit(w)
			w.Inject(fault.Flap{At: lab.AtClient, For: w.ShortOutage()})
			w.Settle()
			w.Heal()

			w.ExpectService()
			w.ExpectClean(w.Server, w.Client)
		})
	}
})

// The same at the edges, which have no heartbeat.
var _ = Describe("One-way traffic at the edge", Label("places", "direction", "edge"), func() {
	for _, flow := range flows {
		for _, at := range []lab.Place{lab.AtVisitor, lab.AtOrigin} {
			It(flow.name+": a cable pulled at the "+string(at)+" is noticed", func(ctx SpecContext) {
				w := harness.New(ctx, lab.Direct)

				flow.visit(w)
				w.Inject(fault.Unplug{At: at})
				w.Settle()
				w.Heal()

				w.ExpectService()
				w.ExpectClean(w.Server, w.Client)
			})
		}
	}
})
