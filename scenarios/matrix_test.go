package scenarios

import (
	"flag"
	"fmt"

	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/load"
	"github.com/halfopen/halfopen/scenarios/matrix"
)

var matrixOf = flag.Int("matrix", 0, "play the matrix of fault, place, traffic and protocol: every pair with 2, every three with 3 (make matrix does)")

// crew of visitors of each row: there are many rows.
const crew = 6

// Every fault, at every place, in every state of traffic, by every protocol: not each with
// all, but each pair (or three) of them in some row.
var _ = Describe("Matrix", Label("matrix"), func() {
	if *matrixOf == 0 {
		return
	}
	set, err := matrix.Table().Cover(*matrixOf)
	if err != nil {
		panic(err) // at start: Ginkgo shows it
	}
	for _, row := range set.Rows {
		name, place, traffic, protocol := row[matrix.Fault], row[matrix.Place], row[matrix.Traffic], load.Protocol(row[matrix.Protocol])
		It(fmt.Sprintf("%s at %s, %s, %s", name, place, traffic, protocol), func(ctx SpecContext) {
			w := harness.New(ctx, lab.BehindNAT)

			switch flow := matrix.Flow(traffic); {
			case traffic == matrix.Short:
				w.VisitShort(crew, protocol)
			case flow == load.Stalled:
				standStill(w, protocol)
			default:
				w.VisitIn(flow, crew, protocol)
			}
			endure(w, faultOf(w, name, place))
		})
	}
})

// faultOf is the fault of a row; how long a flap lasts follows from the target.
func faultOf(w *harness.World, name, place string) fault.Fault {
	if name == matrix.Flap {
		return fault.Flap{At: lab.Place(place), For: w.ShortOutage()}
	}
	f, err := matrix.Step(name, place).Make()
	if err != nil {
		Fail(err.Error())
	}
	return f
}
