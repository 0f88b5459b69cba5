package scenarios

import (
	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

// A client dies unheard and is back at once, over its old login: the new one must
// take the name, and the old one's teardown must not take it away again.
var _ = Describe("Quick re-login", Label("quick", "nat", "process"), func() {
	It("over a silently dead login keeps the name", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)

		w.Visit(visitors)
		w.Inject(fault.Sequence{fault.ExpireNAT{Silent: true}, fault.Kill{Role: "client"}})
		w.Relogin()
		w.Settle()
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server)
	})
})
