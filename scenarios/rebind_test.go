package scenarios

import (
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

// A carrier's NAT moves every connection to another port: the server meets strangers in
// the middle of a conversation, and says RST.
var _ = Describe("NAT rebound", Label("quick", "nat"), func() {
	It("ends every connection at once while visitors are idle", func(ctx SpecContext) {
		strike(ctx, lab.BehindNAT, idle, fault.RebindNAT{})
	})
	It("ends every connection at once with data in flight", func(ctx SpecContext) {
		strike(ctx, lab.BehindNAT, busy, fault.RebindNAT{})
	})
})

var _ = Describe("Router reboot", Label("quick", "nat"), func() {
	It("ends every connection as soon as the router is back", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)

		w.Visit(visitors)
		w.Inject(fault.RebootRouter{For: w.ShortOutage()})
		w.Settle()
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})
})

// Heartbeats and probes keep a mapping alive if they come more often than it lives.
var _ = Describe("NAT life", Label("quick", "nat"), func() {
	It("longer than the longest silence of a session is survived", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)

		w.Visit(visitors)
		w.Inject(fault.NATLife{Life: w.LongestSilence().Truncate(time.Second) + 2*time.Second})
		w.Settle()
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})

	It("shorter than that ends every session unheard", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)
		life := (w.LongestSilence() - time.Millisecond).Truncate(time.Second)
		w.Needs(life > 0, "a silence longer than a second: a NAT counts in seconds")

		w.Visit(visitors)
		w.Inject(fault.NATLife{Life: life, Outlived: true})
		w.Settle()
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})
})
