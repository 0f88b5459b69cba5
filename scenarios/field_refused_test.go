package scenarios

import (
	"context"
	"errors"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/target"
)

// A client with a token that nobody knows comes again and again, as a service manager lets
// it.
var _ = Describe("Field: token refused in a loop", Label("quick", "field", "login"), func() {
	It("leaves nothing at the server, and harms nobody", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)

		w.Visit(visitors)
		w.Meddle("token refused in a loop", func(ctx context.Context) (string, bool, error) {
			refused := 0
			const n = 10
			for range n {
				once, cancel := context.WithTimeout(ctx, 5*time.Second)
				guest, err := w.Guest(once, target.ClientValues{Role: "stranger", Name: "alpha", Port: 7001, Secret: "of-nobody", Admin: "127.0.0.1:6063"})
				cancel()
				if err == nil {
					return "", false, errors.Join(errors.New("it was let in"), guest.Stop(ctx))
				}
				refused++
			}
			return fmt.Sprintf("%d clients with a token of nobody were refused", refused), refused == n, nil
		})
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})
})

// Two clients have the same token, as after a copied virtual machine: each takes the name
// from the other.
var _ = Describe("Field: two clients for one name", Label("quick", "field", "login"), func() {
	It("leave nothing of their quarrel", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)

		w.Visit(visitors)
		w.Meddle("two clients for one name", func(ctx context.Context) (string, bool, error) {
			rival := target.Returning
			rival.Role, rival.Admin = "rival", "127.0.0.1:6063"
			guest, err := w.Guest(ctx, rival)
			if err != nil {
				return "", false, err
			}
			select {
			case <-time.After(5 * time.Second): // of quarrel
			case <-ctx.Done():
			}
			saw := fmt.Sprintf("the rival was logged in, and after 5 s is %s", guest.Status())
			return saw, true, guest.Stop(ctx)
		})
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})
})
