package scenarios

import (
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

// A client whose network is bad dies unheard and is back at once, ten times in a row: each
// new login meets an old one that nobody has ended.
var _ = Describe("Field: silent death with quick re-login, ten times in a row", Label("quick", "field", "nat", "process"), func() {
	It("leaves no old login, and keeps the name", func(ctx SpecContext) {
		var s fault.Schedule
		for i := range 10 {
			at := time.Duration(i) * 1500 * time.Millisecond
			s.Steps = append(s.Steps,
				fault.Step{Fault: "expire-nat", With: map[string]string{"silent": "true"}, Start: at, For: time.Second},
				fault.Step{Fault: "kill", At: "client", Start: at + 300*time.Millisecond, For: 100 * time.Millisecond})
		}
		playSchedule(harness.New(ctx, lab.BehindNAT), s)
	})
})
