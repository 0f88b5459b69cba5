package scenarios

import (
	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

// A NAT that forgets a connection drops its packets from then on, while both ends
// are alive and well: the client logs in again, and the old login must go.
var _ = Describe("NAT expiry", Label("quick", "nat"), func() {
	It("is noticed by both ends while visitors are idle", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)

		w.Visit(visitors)
		w.Inject(fault.ExpireNAT{Silent: true})
		w.Settle()
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})

	It("is noticed by both ends with data in flight", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)

		w.VisitBusy(visitors)
		w.Inject(fault.ExpireNAT{Silent: true})
		w.Settle()
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})
})

// A NAT that answers for what it has forgotten tells each end at its next packet,
// not before: an end that never sends is never told.
var _ = Describe("NAT expiry with RST", Label("places", "nat"), func() {
	It("ends every connection at once while visitors are idle", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)

		w.Visit(visitors)
		w.Inject(fault.ExpireNAT{})
		w.Settle()
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})

	It("ends every connection at once with data in flight", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)

		w.VisitBusy(visitors)
		w.Inject(fault.ExpireNAT{})
		w.Settle()
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})
})
