package scenarios

import (
	"context"
	"fmt"

	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/load"
)

// Some visitors read no more, and everybody else shares their session: a session whose
// reader waits for one of them makes all wait.
var _ = Describe("Field: slow readers beside fast ones", Label("quick", "field", "edge"), func() {
	It("hold up nobody else, and are let go", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)

		standStill(w, load.TCP)
		w.Meddle("readers that stand still", func(context.Context) (string, bool, error) {
			const n = 60
			served := w.Attempt(n)
			if served < n {
				return "", false, fmt.Errorf("only %d of %d visitors were served beside them", served, n)
			}
			return fmt.Sprintf("all of %d visitors were served beside them", n), true, nil
		})
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})
})

// standStill has a few visitors that read no more. Others have done so before: what queues
// grow to once, they keep.
func standStill(w *harness.World, protocol load.Protocol) {
	w.VisitIn(load.Stalled, crew, protocol)
	w.Depart()
	w.Prime(crew)
	w.VisitIn(load.Stalled, crew, protocol)
}
