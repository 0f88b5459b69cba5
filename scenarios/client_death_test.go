package scenarios

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

// A client that is killed says FIN or RST by its kernel: the server must let go of
// its session and of every visitor at once, not when a detector fires.
var _ = Describe("Client death", Label("quick", "process"), func() {
	It("frees the session and idle visitors at once", func(ctx SpecContext) {
		w := harness.New(ctx, lab.Direct)

		w.Visit(visitors)
		w.Inject(fault.Kill{Role: "client"})
		w.Settle()
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server)
	})

	It("frees the session and visitors with data in flight at once", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)

		w.VisitBusy(visitors)
		w.Inject(fault.Kill{Role: "client"})
		w.Settle()
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server)
	})

	It("brings the server back to its baseline in sockets, goroutines and RSS", func(ctx SpecContext) {
		w := harness.New(ctx, lab.Direct)
		// Memory is compared when the server has given back what it no longer uses.
		sample := func(ctx context.Context) (record.Sample, error) {
			if err := w.Server.Free(ctx); err != nil {
				return record.Sample{}, err
			}
			return w.Server.Sample(ctx)
		}
		before, err := sample(ctx)
		Expect(err).NotTo(HaveOccurred())

		w.Visit(visitors)
		Expect(sample(ctx)).NotTo(harness.ReturnTo(before))
		w.Inject(fault.Kill{Role: "client"})
		w.Settle()
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server)
		Eventually(sample).WithContext(ctx).WithTimeout(w.Grace()).Should(harness.ReturnTo(before))
	})
})
