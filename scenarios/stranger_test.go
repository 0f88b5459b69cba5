package scenarios

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

// The ports of the server that strangers find.
const (
	tunnelPort = 4443
	httpPort   = 8080
)

// A handshake that never ends is the cheapest way to hold a server's descriptors. There
// are no visitors here: only the strangers count.
var _ = Describe("Handshake that never ends", Label("quick", "stranger"), func() {
	for _, s := range []fault.Strangers{
		{Port: tunnelPort, Manners: fault.Mute},
		{Port: tunnelPort, Manners: fault.HalfTLS},
		{Port: httpPort, Manners: fault.Mute},
	} {
		It("is ended by the server: "+s.Describe().Name, func(ctx SpecContext) {
			strike(ctx, lab.Direct, nobody, s)
		})
	}
})

// A local service that is down: each visitor costs a dial that is refused. Those who are
// there already are spared.
var _ = Describe("Origin refuses", Label("quick", "origin"), func() {
	It("a thousand dials, and nothing is left of them", func(ctx SpecContext) {
		w := harness.New(ctx, lab.Direct)

		w.Visit(visitors)
		w.Inject(fault.RefuseDials{At: lab.AtOrigin})
		Expect(w.Attempt(1000)).To(BeZero(), "visitors who were served")
		w.Settle()
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})
})

// A limit of descriptors that is reached: who is there is served, who comes waits, and
// afterwards everything is as before.
var _ = Describe("Descriptors exhausted", Label("quick", "process"), func() {
	for _, role := range []string{"server", "client"} {
		It("at the "+role+" are survived, and service comes back", func(ctx SpecContext) {
			w := harness.New(ctx, lab.Direct)

			w.Visit(visitors)
			w.Inject(fault.ExhaustFDs{Role: role})
			Expect(w.Attempt(40)).To(BeZero(), "visitors who were served")
			w.Settle()
			w.Heal()

			w.ExpectService()
			w.ExpectClean(w.Server, w.Client)
		})
	}
})
