package scenarios

import (
	"flag"

	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

var soakFor = flag.Duration("soak", 0, "run the soak for this long, beside the stories (scripts/soak does)")

// exposures of each cycle: visitors, whose connections go through its fault.
const exposures = 100

// The soak keeps one server for nearly its whole length and does to it, over and over,
// what the stories do once; at its end it kills that, too.
var _ = Describe("Soak", Label("soak"), Serial, func() {
	if *soakFor <= 0 {
		return
	}
	It("leaves nothing behind, cycle after cycle", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)
		w.Soak(*soakFor, exposures,
			fault.Kill{Role: "client"},
			fault.PowerLoss{Role: "client"},
			fault.Freeze{Role: "client"},
			fault.Unplug{At: lab.AtClient},
			fault.Unplug{At: lab.AtServer},
			fault.Unplug{At: lab.AtVisitor},
			fault.Unplug{At: lab.AtOrigin},
			fault.ExpireNAT{Silent: true},
			fault.ExpireNAT{},
			fault.Flap{At: lab.AtClient, For: w.ShortOutage()},
			fault.Kill{Role: "server"}, // in a block of its own
		)
	})
})
