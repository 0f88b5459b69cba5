package scenarios

import (
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

// The server is restarted under load, again and again: the client holds nothing of the
// sessions that it had, and is there each time.
var _ = Describe("Field: server restarts under load", Label("quick", "field", "process"), func() {
	It("leave nothing at the client", func(ctx SpecContext) {
		var s fault.Schedule
		for i := range 4 {
			s.Steps = append(s.Steps, fault.Step{Fault: "kill", At: "server", Start: time.Duration(i) * 3 * time.Second, For: 300 * time.Millisecond})
		}
		playSchedule(harness.New(ctx, lab.BehindNAT), s)
	})
})

// The server is away for a while: the client dials in vain, over and over.
var _ = Describe("Field: reconnect churn while the server is away", Label("quick", "field", "process"), func() {
	It("leaves nothing of the dials in vain", func(ctx SpecContext) {
		playSchedule(harness.New(ctx, lab.BehindNAT), fault.Schedule{Steps: []fault.Step{
			{Fault: "kill", At: "server", Start: 0, For: 10 * time.Second},
			{Fault: "refuse-dials", At: "server", Start: 3 * time.Second, For: 2 * time.Second},
			{Fault: "blackhole", Start: 5 * time.Second, For: 4 * time.Second},
		}})
	})
})
