package scenarios

import (
	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

// A client whose machine loses power says nothing, and never will: the server must
// notice by itself, within the window.
var _ = Describe("Power loss", Label("places", "power"), func() {
	It("of the client is noticed by the server while visitors are idle", func(ctx SpecContext) {
		w := harness.New(ctx, lab.Direct)

		w.Visit(visitors)
		w.Inject(fault.PowerLoss{Role: "client"})
		w.Settle()
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server)
	})

	It("of the client is noticed by the server with data in flight", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)

		w.VisitBusy(visitors)
		w.Inject(fault.PowerLoss{Role: "client"})
		w.Settle()
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server)
	})
})
