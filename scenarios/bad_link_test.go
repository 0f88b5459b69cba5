package scenarios

import (
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

// A bad link is no dead one: what is slow, far away, lossy or out of order must be
// waited for, and every byte must still be the right one.
var _ = Describe("Bad link", Label("quality", "calm"), func() {
	far := lab.Quality{Delay: 60 * time.Millisecond, Jitter: 20 * time.Millisecond}
	lossy := lab.Quality{Delay: 20 * time.Millisecond, Loss: 0.02}
	unordered := lab.Quality{Delay: 20 * time.Millisecond, Reorder: 0.1}
	narrow := lab.Quality{Rate: 10_000_000}

	for _, l := range []struct {
		name string
		is   lab.Quality
		at   lab.Place
	}{
		{"far away", far, lab.AtClient},
		{"lossy", lossy, lab.AtServer},
		{"out of order", unordered, lab.AtClient},
		{"narrow", narrow, lab.AtRouterOuter},
		{"lossy at the visitor's", lossy, lab.AtVisitor},
	} {
		It("is survived with data in flight, "+l.name, func(ctx SpecContext) {
			w := harness.New(ctx, lab.BehindNAT)

			w.VisitBusy(visitors)
			w.Inject(fault.Quality{At: l.at, Is: l.is})
			w.Settle()
			w.Heal()

			w.ExpectService()
			w.ExpectClean(w.Server, w.Client)
		})
	}

	It("is survived by idle connections, far away and lossy", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)

		w.Visit(visitors)
		w.Inject(fault.Quality{At: lab.AtClient, Is: lab.Quality{Delay: 60 * time.Millisecond, Loss: 0.02}})
		w.Settle()
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})
})
