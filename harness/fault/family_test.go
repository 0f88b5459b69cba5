package fault

import (
	"errors"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

// Every fault that asks a table, a filter or an address bites over IPv6 as it does over
// IPv4, is witnessed there, and healed.
func TestOverIPv6(t *testing.T) {
	for _, c := range []struct {
		fault  Fault
		silent bool // no byte comes from the client any more
		sends  bool // it takes a packet
	}{
		{fault: Unplug{At: lab.AtClient}, silent: true},
		{fault: Unplug{At: lab.AtRouterInner}, silent: true},
		{fault: LoseCarrier{At: lab.AtServer}, silent: true},
		{fault: LoseRoute{At: lab.AtClient}, silent: true}, // one way
		{fault: Blackhole{}, silent: true},
		{fault: ExpireNAT{Silent: true}, silent: true},
		{fault: ExpireNAT{}, sends: true},
		{fault: RebindNAT{}, sends: true},
		{fault: RebootRouter{For: 200 * time.Millisecond}, sends: true},
		{fault: InjectRST{}, sends: true},
		{fault: DestroySockets{At: lab.AtServer}},
	} {
		t.Run(c.fault.Describe().Name+" at "+c.fault.Describe().Place, func(t *testing.T) {
			l := build(t, lab.BehindNAT6)
			client, server := connect(t, l)
			if c.sends {
				defer func(done <-chan struct{}) { _ = client.Close(); <-done }(chatter(t, client.Write))
			}
			heal, witness := inject(t, c.fault, l)
			expect(t, witness, true)
			if c.silent && (passes(t, client, server, 200*time.Millisecond)) {
				t.Error("a byte passes")
			}
			if !c.silent && !told(t, server) {
				t.Error("the server's end is not told")
			}
			healTwice(t, heal)
			connect(t, l)
		})
	}
}

// What would be no silence there is refused, and changes nothing.
func TestAddressIsNotLostOverIPv6(t *testing.T) {
	l := build(t, lab.BehindNAT6)
	client, server := connect(t, l)
	_, _, err := LoseAddress{At: lab.AtClient}.Inject(t.Context(), l)
	if !errors.Is(err, errors.ErrUnsupported) || !passes(t, client, server, patience(true)) || !passes(t, server, client, patience(true)) {
		t.Errorf("error is %v", err)
	}
}

// The lists of addresses and the counts of packets that a cut needs are the family's too.
func TestCutAfterOverIPv6(t *testing.T) {
	l := build(t, lab.BehindNAT6)
	passed := echo(t, l, always)
	if !eventually(func() bool { return passed() > many }) {
		t.Fatal("no bytes come back before the fault")
	}
	heal, witness := inject(t, CutAfter{Packets: 20}, l)
	expect(t, witness, true)
	if n := passed(); n > many {
		t.Errorf("%d bytes have come back on a connection that is cut", n)
	}
	healTwice(t, heal)
	if !eventually(func() bool { return passed() > many }) {
		t.Error("no bytes come back after the heal")
	}
}
