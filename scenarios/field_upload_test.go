package scenarios

import (
	"context"
	"fmt"

	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/lab"
)

// Visitors lose patience in the middle of an upload.
var _ = Describe("Field: uploads aborted", Label("quick", "field", "edge"), func() {
	It("by their visitors leave nothing", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)

		w.VisitUpload(visitors)
		w.Meddle("uploads aborted", func(context.Context) (string, bool, error) {
			n := w.Depart()
			return fmt.Sprintf("%d visitors left in the middle of an upload", n), n == visitors, nil
		})
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})
})
