package scenarios

import (
	"flag"

	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

var (
	scheduleFile = flag.String("schedule", "", "play the schedule in this YAML `FILE`, in place of one that is drawn from the seed")
	drawnSteps   = flag.Int("steps", 12, "how many steps a schedule that is drawn has")
)

// Faults do not come one by one: a schedule has them overlap, each with its own start
// and length. Afterwards nothing may be held, and there must be service.
var _ = Describe("Schedule", Label("schedule"), func() {
	It("of faults that overlap leaves nothing behind", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)

		w.VisitBusy(visitors)
		w.Play(schedule(w))
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})
})

// schedule is the one that was asked for.
func schedule(w *harness.World) fault.Schedule {
	if *scheduleFile != "" {
		return w.ReadSchedule(*scheduleFile)
	}
	return w.Draw(*drawnSteps)
}
