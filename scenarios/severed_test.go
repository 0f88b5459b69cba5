package scenarios

import (
	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

// A switch without power: the interface is up, and has no carrier.
var _ = Describe("Carrier lost", Label("quick", "cable"), func() {
	It("at the server is noticed by both ends while visitors are idle", func(ctx SpecContext) {
		strike(ctx, lab.BehindNAT, idle, fault.LoseCarrier{At: lab.AtServer})
	})
	It("at the client is noticed by both ends with data in flight", func(ctx SpecContext) {
		strike(ctx, lab.BehindNAT, busy, fault.LoseCarrier{At: lab.AtClient})
	})
})

// A host without its route hears its peer and cannot answer.
var _ = Describe("Route gone", Label("quick", "cable"), func() {
	It("at the client is noticed by both ends while visitors are idle", func(ctx SpecContext) {
		strike(ctx, lab.BehindNAT, idle, fault.LoseRoute{At: lab.AtClient})
	})
	It("at the server is noticed by both ends with data in flight", func(ctx SpecContext) {
		strike(ctx, lab.Direct, busy, fault.LoseRoute{At: lab.AtServer})
	})
})

// A host without its address hears nothing that is sent to it.
var _ = Describe("Address gone", Label("quick", "cable"), func() {
	It("at the client is noticed by both ends while visitors are idle", func(ctx SpecContext) {
		strike(ctx, lab.BehindNAT, idle, fault.LoseAddress{At: lab.AtClient})
	})
	It("at the server is noticed by both ends with data in flight", func(ctx SpecContext) {
		strike(ctx, lab.Direct, busy, fault.LoseAddress{At: lab.AtServer})
	})
})

// A laptop is carried to the next room: it can log in from its new address at once, as
// soon as it has noticed that the old one is dead.
var _ = Describe("Address changed", Label("quick", "nat"), func() {
	It("of the client is noticed by both ends while visitors are idle, and it serves from the new one", func(ctx SpecContext) {
		move(ctx, lab.BehindNAT, idle, fault.LoseAddress{At: lab.AtClient, Moves: true})
	})
	It("of the client is noticed by both ends with data in flight, and it serves from the new one", func(ctx SpecContext) {
		move(ctx, lab.Direct, busy, fault.LoseAddress{At: lab.AtClient, Moves: true})
	})
})
