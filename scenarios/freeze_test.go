package scenarios

import (
	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

// A client that is frozen is alive to every kernel: its own acknowledges data and
// answers probes. Only the server's heartbeat can notice. When the client goes on,
// it must let go of what the server gave up meanwhile, and log in again.
var _ = Describe("Freeze", Label("places", "process"), func() {
	It("of the client is noticed by the server while visitors are idle", func(ctx SpecContext) {
		w := harness.New(ctx, lab.Direct)

		w.Visit(visitors)
		w.Inject(fault.Freeze{Role: "client"})
		w.Settle()
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})

	It("of the client is noticed by the server with data in flight", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)

		w.VisitBusy(visitors)
		w.Inject(fault.Freeze{Role: "client"})
		w.Settle()
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})
})
