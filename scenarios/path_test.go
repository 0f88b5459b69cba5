package scenarios

import (
	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

// The router drops every packet: both ends keep their carrier and their neighbour, and
// hear nothing.
var _ = Describe("Black hole", Label("quick", "path"), func() {
	It("is noticed by both ends while visitors are idle", func(ctx SpecContext) {
		strike(ctx, lab.BehindNAT, idle, fault.Blackhole{})
	})
	It("is noticed by both ends with data in flight", func(ctx SpecContext) {
		strike(ctx, lab.BehindNAT, busy, fault.Blackhole{})
	})
})

// One direction is gone. The deaf end notices; the other hears it until then, and must
// not take that for a sign that it is heard itself.
var _ = Describe("One-way black hole", Label("quick", "path"), func() {
	for _, way := range []fault.Way{fault.ToServer, fault.FromServer} {
		It(string(way)+" is noticed by both ends while visitors are idle", func(ctx SpecContext) {
			strike(ctx, lab.BehindNAT, idle, fault.Blackhole{Way: way})
		})
		It(string(way)+" is noticed by both ends with data in flight", func(ctx SpecContext) {
			strike(ctx, lab.BehindNAT, busy, fault.Blackhole{Way: way})
		})
	}
})

// Small packets pass, so a login succeeds, and dies of its first full segment.
var _ = Describe("MTU black hole", Label("quick", "path"), func() {
	It("is noticed by both ends with data in flight", func(ctx SpecContext) {
		strike(ctx, lab.BehindNAT, busy, fault.MTUBlackhole{})
	})
})

// A firewall in the middle says RST to each end, in the name of the other.
var _ = Describe("RST injected", Label("quick", "path"), func() {
	It("ends every connection at once while visitors are idle", func(ctx SpecContext) {
		strike(ctx, lab.BehindNAT, idle, fault.InjectRST{})
	})
	It("ends every connection at once with data in flight", func(ctx SpecContext) {
		strike(ctx, lab.BehindNAT, busy, fault.InjectRST{})
	})
})

// The kernel destroys the connections of one process, and of nobody else.
var _ = Describe("Sockets destroyed", Label("quick", "socket"), func() {
	for _, at := range []lab.Place{lab.AtServer, lab.AtClient, lab.AtVisitor, lab.AtOrigin} {
		It("at the "+string(at)+" are let go of at once while visitors are idle", func(ctx SpecContext) {
			strike(ctx, lab.Direct, idle, fault.DestroySockets{At: at})
		})
	}
	It("at the server are let go of at once with data in flight", func(ctx SpecContext) {
		strike(ctx, lab.BehindNAT, busy, fault.DestroySockets{At: lab.AtServer})
	})
})
