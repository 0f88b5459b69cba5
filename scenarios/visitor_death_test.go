package scenarios

import (
	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

// A visitor whose cable is pulled is noticed by the server's own detectors at the
// edge: the session's heartbeat goes on and tells nothing of it. What the client
// holds for it at the origin must go too.
var _ = Describe("Visitor unplugged", Label("quick", "cable", "edge"), func() {
	It("is noticed while it is idle", func(ctx SpecContext) {
		w := harness.New(ctx, lab.Direct)

		w.Visit(visitors)
		w.Inject(fault.Unplug{At: lab.AtVisitor})
		w.Settle()
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})

	It("is noticed during a download", func(ctx SpecContext) {
		w := harness.New(ctx, lab.Direct)

		w.VisitBusy(visitors)
		w.Inject(fault.Unplug{At: lab.AtVisitor})
		w.Settle()
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})
})

// An origin that vanishes is the client's to notice, and the visitors must be told.
var _ = Describe("Origin unplugged", Label("quick", "cable", "edge"), func() {
	It("is noticed while visitors are idle", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)

		w.Visit(visitors)
		w.Inject(fault.Unplug{At: lab.AtOrigin})
		w.Settle()
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})

	It("is noticed with data in flight", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)

		w.VisitBusy(visitors)
		w.Inject(fault.Unplug{At: lab.AtOrigin})
		w.Settle()
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})
})
