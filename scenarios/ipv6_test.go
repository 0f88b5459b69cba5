package scenarios

import (
	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

// The same over IPv6, mostly behind a router that translates addresses there too: other
// tables, other neighbours, and a TCP that should not know the difference.
var _ = Describe("Over IPv6", Label("places", "ipv6"), func() {
	It("a cable pulled at the client is noticed by both ends while visitors are idle", func(ctx SpecContext) {
		strike(ctx, lab.BehindNAT6, idle, fault.Unplug{At: lab.AtClient})
	})
	It("a NAT that expires silently is noticed by both ends with data in flight", func(ctx SpecContext) {
		strike(ctx, lab.BehindNAT6, busy, fault.ExpireNAT{Silent: true})
	})
	It("a NAT that answers with RST ends every connection at once", Label("quick"), func(ctx SpecContext) {
		strike(ctx, lab.BehindNAT6, busy, fault.ExpireNAT{})
	})
	It("a client that is killed frees its session and its visitors at once", func(ctx SpecContext) {
		strike(ctx, lab.Direct6, busy, fault.Kill{Role: "client"})
	})
	It("a black hole is noticed by both ends while visitors are idle", func(ctx SpecContext) {
		strike(ctx, lab.BehindNAT6, idle, fault.Blackhole{})
	})
	It("sockets that are destroyed at the server are let go of at once", func(ctx SpecContext) {
		strike(ctx, lab.BehindNAT6, idle, fault.DestroySockets{At: lab.AtServer})
	})
})
