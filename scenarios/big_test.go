package scenarios

import (
	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

// crowd is how many visitors there are at once in the big stories.
const crowd = 2000

// What holds for a few must hold for many, and the verdict must not take long: what
// the harness reads at the end of a window grows with the crowd too. Not quick.
var _ = Describe("Crowd", Label("big"), func() {
	It("is let go when the client's cable is pulled", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)

		w.Prime(crowd)
		w.Visit(crowd)
		w.Inject(fault.Unplug{At: lab.AtClient})
		w.Settle()
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})
})
