package scenarios

import (
	"flag"

	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

var shrink = flag.Bool("shrink", false, "find the few steps of a red schedule that matter (make shrink does)")

// Faults do not come one by one: a schedule has them overlap, each with its own start
// and length. Afterwards nothing may be held, and there must be service.
var _ = Describe("Schedule", Label("schedule"), func() {
	It("of faults that overlap leaves nothing behind", func(ctx SpecContext) {
		s := harness.Schedule()
		playSchedule(harness.New(ctx, lab.BehindNAT), s)
	})
})

var _ = Describe("Schedule shrunk", Label("shrink"), Serial, func() {
	if !*shrink {
		return
	}
	It("to the steps that matter", func(ctx SpecContext) {
		harness.Shrink(ctx, lab.BehindNAT, harness.Schedule(), playSchedule)
	})
})

// playSchedule is the story of both.
func playSchedule(w *harness.World, s fault.Schedule) {
	w.VisitBusy(visitors)
	w.Play(s)
	w.Heal()

	w.ExpectService()
	w.ExpectClean(w.Server, w.Client)
}
