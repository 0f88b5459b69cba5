package fault

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

// over joins two hosts by a connection that goes over the cable at a place.
func over(t *testing.T, l *lab.Lab, at lab.Place) (near, far net.Conn) {
	t.Helper()
	switch at {
	case lab.AtVisitor:
		return join(t, l.Visitor, l.Server, l.VisitorSide)
	case lab.AtOrigin:
		return join(t, l.Client, l.Origin, l.OriginIP)
	}
	return connect(t, l)
}

func TestUnplug(t *testing.T) {
	for _, at := range []lab.Place{lab.AtVisitor, lab.AtServer, lab.AtRouterOuter, lab.AtRouterInner, lab.AtClient, lab.AtOrigin} {
		t.Run(string(at), func(t *testing.T) {
			l := build(t, lab.BehindNAT)
			near, far := over(t, l, at)
			heal, witness := inject(t, Unplug{At: at}, l)
			expect(t, witness, true)
			if passes(t, near, far, 300*time.Millisecond) || passes(t, far, near, 300*time.Millisecond) {
				t.Error("a byte passes a pulled cable")
			}
			expect(t, witness, true)
			healTwice(t, heal)
			expect(t, witness, false) // it sees a cable that is plugged in
			if at == lab.AtRouterOuter {
				over(t, l, at) // the old one's mapping went with the cable
			} else if !passes(t, far, near, 10*time.Second) {
				t.Error("no byte passes after the heal")
			}
		})
	}
}

// Only the cable that is pulled is out.
func TestUnplugLeavesTheOtherCables(t *testing.T) {
	l := build(t, lab.BehindNAT)
	places := []lab.Place{lab.AtVisitor, lab.AtClient, lab.AtOrigin}
	for _, pulled := range places {
		heal, _ := inject(t, Unplug{At: pulled}, l)
		for _, at := range places {
			if at != pulled {
				over(t, l, at)
			}
		}
		healTwice(t, heal)
	}
}

func TestRouterForgetsWithItsOuterCable(t *testing.T) {
	l := build(t, lab.BehindNAT)
	connect(t, l)
	for _, c := range []struct {
		at   lab.Place
		want int
	}{{lab.AtRouterInner, 1}, {lab.AtRouterOuter, 0}} {
		heal, _ := inject(t, Unplug{At: c.at}, l)
		var n int
		if !eventually(func() bool {
			m, err := l.Router.Mappings()
			if err != nil {
				t.Fatal(err)
			}
			n = len(m)
			return n == c.want
		}) {
			t.Errorf("%s pulled: %d mappings, want %d", c.at, n, c.want)
		}
		healTwice(t, heal)
	}
}

func TestFlap(t *testing.T) {
	const out = 300 * time.Millisecond
	for _, at := range []lab.Place{lab.AtVisitor, lab.AtServer, lab.AtRouterInner, lab.AtClient, lab.AtOrigin} {
		t.Run(string(at), func(t *testing.T) {
			l := build(t, lab.BehindNAT)
			near, far := over(t, l, at)
			began := time.Now()
			heal, witness := inject(t, Flap{At: at, For: out}, l)
			if took := time.Since(began); took < out {
				t.Errorf("it took %v, want at least %v", took, out)
			}
			expect(t, witness, true)
			if !passes(t, near, far, 10*time.Second) || !passes(t, far, near, 10*time.Second) {
				t.Error("the connection did not survive")
			}
			healTwice(t, heal)
			expect(t, witness, true)
			again, _ := inject(t, Unplug{At: at}, l)
			expect(t, witness, false) // it sees a cable that is out again
			healTwice(t, again)
		})
	}
}

// A byte that is on its way waits for the cable.
func TestFlapTakesTheCableOut(t *testing.T) {
	l := build(t, lab.Direct)
	client, server := connect(t, l)
	arrived := make(chan bool, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	end, err := l.End(lab.AtClient)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer cancel()
		down := eventually(func() bool { up, _, err := end.State(); return err == nil && !up })
		arrived <- down && !passes(t, client, server, 200*time.Millisecond)
	}()
	// It respects ctx, and leaves the cable in.
	if _, _, err := (Flap{At: lab.AtClient, For: time.Hour}).Inject(ctx, l); err == nil {
		t.Fatal("it did not end with its context")
	}
	if !<-arrived {
		t.Error("the cable was not out")
	}
	if !passes(t, server, client, 10*time.Second) {
		t.Error("the cable is not in again")
	}
}
