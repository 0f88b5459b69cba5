package scenarios

import (
	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

// A loose contact kills nobody: an outage that is shorter than every detector must be
// survived. A target that gives up too early passes every other story.
var _ = Describe("Flap", Label("quick", "cable"), func() {
	It("is survived by idle connections", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)

		w.Visit(visitors)
		w.Inject(fault.Flap{At: lab.AtClient, For: w.ShortOutage()})
		w.Settle()
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})

	It("is survived with data in flight", func(ctx SpecContext) {
		w := harness.New(ctx, lab.Direct)

		w.VisitBusy(visitors)
		w.Inject(fault.Flap{At: lab.AtServer, For: w.ShortOutage()})
		w.Settle()
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})
})
