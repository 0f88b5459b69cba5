package scenarios

import (
	"flag"
	"fmt"

	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

var soakFor = flag.Duration("soak", 0, "run the soak for this long, beside the stories (scripts/soak does)")

var labs = flag.Int("labs", 1, "soaks that run side by side, each with a lab and a server of its own; ginkgo needs as many -procs")

// exposures of each cycle: visitors, whose connections go through its fault.
const exposures = 100

// The soak keeps one server for nearly its whole length and does to it, over and over,
// what the stories do once; at its end it kills that, too.
var _ = Describe("Soak", Label("soak"), func() {
	if *soakFor <= 0 {
		return
	}
	cycles := func(ctx SpecContext, number int) {
		w := harness.New(ctx, lab.BehindNAT)
		w.Soak(*soakFor, number, exposures,
			fault.Kill{Role: "client"},
			fault.PowerLoss{Role: "client"},
			fault.Freeze{Role: "client"},
			fault.Unplug{At: lab.AtClient},
			fault.Unplug{At: lab.AtServer},
			fault.Unplug{At: lab.AtVisitor},
			fault.Unplug{At: lab.AtOrigin},
			fault.ExpireNAT{Silent: true},
			fault.ExpireNAT{},
			fault.RebindNAT{},
			fault.Flap{At: lab.AtClient},
			fault.Blackhole{},
			fault.Blackhole{Way: fault.ToServer},
			fault.Blackhole{Way: fault.FromServer},
			fault.LoseCarrier{At: lab.AtClient},
			fault.LoseRoute{At: lab.AtClient},
			fault.LoseAddress{At: lab.AtClient},
			fault.InjectRST{},
			fault.DestroySockets{At: lab.AtServer},
			fault.Terminate{Role: "client"},
			// In a block of their own:
			fault.Kill{Role: "server"},
			fault.PowerLoss{Role: "server"},
		)
	}
	if *labs == 1 {
		It("leaves nothing behind, cycle after cycle", Serial, func(ctx SpecContext) { cycles(ctx, 1) })
		return
	}
	for i := range *labs {
		It(fmt.Sprintf("leaves nothing behind, cycle after cycle, in lab %d", i+1), func(ctx SpecContext) { cycles(ctx, i+1) })
	}
})
