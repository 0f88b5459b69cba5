package scenarios

import (
	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

// A pulled cable tells nobody: both ends must notice by themselves, within the
// window.
var _ = Describe("Cable pull", Label("quick", "cable"), func() {
	for _, at := range []lab.Place{lab.AtClient, lab.AtServer} {
		Context("at the "+string(at), func() {
			It("is noticed by both ends while visitors are idle", func(ctx SpecContext) {
				w := harness.New(ctx, lab.Direct)

				w.Visit(visitors)
				w.Inject(fault.Unplug{At: at})
				w.Settle()
				w.Heal()

				w.ExpectService()
				w.ExpectClean(w.Server, w.Client)
			})

			It("is noticed by both ends with data in flight", func(ctx SpecContext) {
				w := harness.New(ctx, lab.BehindNAT)

				w.VisitBusy(visitors)
				w.Inject(fault.Unplug{At: at})
				w.Settle()
				w.Heal()

				w.ExpectService()
				w.ExpectClean(w.Server, w.Client)
			})
		})
	}
})

// The same at either end of the router: the side with the sound cable sees a
// carrier, and a neighbour that says nothing.
var _ = Describe("Cable pull at the router", Label("places", "cable"), func() {
	for _, at := range []lab.Place{lab.AtRouterInner, lab.AtRouterOuter} {
		Context("at "+string(at), func() {
			It("is noticed by both ends while visitors are idle", func(ctx SpecContext) {
				w := harness.New(ctx, lab.BehindNAT)

				w.Visit(visitors)
				w.Inject(fault.Unplug{At: at})
				w.Settle()
				w.Heal()

				w.ExpectService()
				w.ExpectClean(w.Server, w.Client)
			})

			It("is noticed by both ends with data in flight", func(ctx SpecContext) {
				w := harness.New(ctx, lab.BehindNAT)

				w.VisitBusy(visitors)
				w.Inject(fault.Unplug{At: at})
				w.Settle()
				w.Heal()

				w.ExpectService()
				w.ExpectClean(w.Server, w.Client)
			})
		})
	}
})
