package scenarios

import (
	"context"
	"errors"
	"fmt"

	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/load"
	"github.com/halfopen/halfopen/harness/record"
)

// One end says that it has no more to say, and the other end, from which something might
// still come, never says a word: whoever waits for it waits for ever, unless a clock runs.
// A living kernel answers for the silent one; one that is unplugged cannot even be told.
var _ = Describe("Field: half-closed with one side silent", Label("field", "edge"), func() {
	for _, side := range []struct {
		by   string
		flow load.Flow
		mute lab.Place
	}{{"a visitor", load.MuteOrigin, lab.AtOrigin}, {"an origin", load.MuteVisitor, lab.AtVisitor}} {
		It("by "+side.by+": the "+string(side.mute)+" that stays is not waited for without end", func(ctx SpecContext) {
			w := harness.New(ctx, lab.BehindNAT)

			endure(w, &halfClose{world: w, flow: side.flow, mute: side.mute})
		})
		It("by "+side.by+": the "+string(side.mute)+" that is then unplugged is let go", Label("quick"), func(ctx SpecContext) {
			w := harness.New(ctx, lab.BehindNAT)

			endure(w, &halfClose{world: w, flow: side.flow, mute: side.mute, then: fault.Unplug{At: side.mute}})
		})
	}
})

// halfClose has visitors come whose connections are half-closed as soon as the first bytes
// were there and back. It brings them itself: the bound runs from then on.
type halfClose struct {
	world *harness.World
	flow  load.Flow
	mute  lab.Place   // who has the other half
	then  fault.Fault // what happens to that; nil for nothing
}

// Describe implements fault.Fault.
func (h *halfClose) Describe() record.Fault {
	d := record.Fault{Name: "half-closed, the " + string(h.mute) + " mute", Place: string(h.mute), Class: record.HalfClosed, Brings: true}
	if h.then != nil {
		d.Name += ", then " + h.then.Describe().Name
	}
	return d
}

// Inject implements fault.Fault.
func (h *halfClose) Inject(ctx context.Context, on *lab.Lab) (fault.Heal, fault.Witness, error) {
	route, ok, err := h.world.Route(load.TCP)
	if err != nil || !ok {
		return nil, nil, errors.Join(err, errors.New("the target has no way for TCP"))
	}
	var halves []*load.Visitor
	leave := func(context.Context) error {
		var errs []error
		for _, v := range halves {
			errs = append(errs, v.Close())
		}
		return errors.Join(errs...)
	}
	for i := range visitors {
		visit := load.Visit{Protocol: load.TCP, Address: route.Address, Seed: 1<<60 + uint64(i), Flow: h.flow}
		v, err := load.Open(ctx, on.Visitor.DialContext, visit)
		if err != nil {
			return nil, nil, errors.Join(err, leave(ctx))
		}
		halves = append(halves, v)
	}
	saw := func(context.Context) (string, bool, error) {
		return fmt.Sprintf("%d connections are half-closed", len(halves)), len(halves) == visitors, nil
	}
	if h.then == nil {
		return leave, saw, nil
	}
	heal, witness, err := h.then.Inject(ctx, on)
	if err != nil {
		return nil, nil, errors.Join(err, leave(ctx))
	}
	return func(ctx context.Context) error { return errors.Join(heal(ctx), leave(ctx)) }, witness, nil
}
