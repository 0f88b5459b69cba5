package scenarios

import (
	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

// idle and busy are the two kinds of traffic that most faults meet.
func idle(w *harness.World) { w.Visit(visitors) }
func busy(w *harness.World) { w.VisitBusy(visitors) }

// nobody comes: the fault brings its own connections.
func nobody(*harness.World) {}

// strike tells the plain story of one fault: visitors come, it strikes, the window
// passes, it is healed; then there is service again, and whoever has lived through it
// holds nothing any more.
func strike(ctx SpecContext, topology lab.Topology, visit func(*harness.World), f fault.Fault) {
	w := harness.New(ctx, topology)

	visit(w)
	endure(w, f)
}

// endure tells the plain story from the fault on.
func endure(w *harness.World, f fault.Fault) {
	w.Inject(f)
	w.Settle()
	w.Heal()

	w.ExpectService()
	switch f.Describe().Ends {
	case w.Server.Role:
		w.ExpectClean(w.Client)
	case w.Client.Role:
		w.ExpectClean(w.Server)
	default:
		w.ExpectClean(w.Server, w.Client)
	}
}

// move tells the story of a client that is moved to another address: it serves from there
// before the fault is healed.
func move(ctx SpecContext, topology lab.Topology, visit func(*harness.World), f fault.Fault) {
	w := harness.New(ctx, topology)

	visit(w)
	w.Inject(f)
	w.Settle()
	w.ExpectServiceMoved()
	w.Heal()

	w.ExpectService()
	w.ExpectClean(w.Server, w.Client)
}
