package fault

import (
	"strings"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

func TestBlackhole(t *testing.T) {
	for _, way := range []Way{BothWays, ToServer, FromServer} {
		t.Run("way "+string(way), func(t *testing.T) {
			l := build(t, lab.BehindNAT)
			client, server := connect(t, l)
			heal, witness := inject(t, Blackhole{Way: way}, l)
			expect(t, witness, true)
			if want := way == FromServer; passes(t, client, server, patience(want)) != want {
				t.Errorf("a byte passes to the server: %v", !want)
			}
			if want := way == ToServer; passes(t, server, client, patience(want)) != want {
				t.Errorf("a byte passes from the server: %v", !want)
			}
			healTwice(t, heal)
			expect(t, witness, false)
			if !passes(t, client, server, 10*time.Second) || !passes(t, server, client, 10*time.Second) {
				t.Error("no byte passes after the heal")
			}
		})
	}
}

func TestMTUBlackhole(t *testing.T) {
	l := build(t, lab.BehindNAT)
	client, server := connect(t, l)
	defer drain(server)()
	sending := make(chan struct{})
	go func() { // until its time is over
		defer close(sending)
		_ = eventually(func() bool { _, err := client.Write(make([]byte, 4<<10)); return err != nil })
	}()
	heal, witness := inject(t, MTUBlackhole{}, l)
	expect(t, witness, true)
	if err := client.SetWriteDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	<-sending
	if !passes(t, server, client, 5*time.Second) {
		t.Error("a small packet does not pass")
	}
	connect(t, l)
	if _, err := server.Write(make([]byte, 4<<10)); err != nil {
		t.Fatal(err)
	}
	if err := client.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := client.Read(make([]byte, 4<<10)); err == nil && n > l.SmallestMTU() {
		t.Errorf("a large packet passes: %d bytes", n)
	}
	healTwice(t, heal)
	expect(t, witness, false)
}

// A connection that sends nothing large lives on beside the others: the fault is not
// witnessed for it, from the second look on.
func TestMTUBlackholeMissesTheIdle(t *testing.T) {
	l := build(t, lab.BehindNAT)
	busy, far := connect(t, l)
	defer drain(far)()
	idle, _ := connect(t, l)
	sending := make(chan struct{})
	go func() {
		defer close(sending) // with the connection, at the latest; that is all that is waited for
		_ = eventually(func() bool { _, err := busy.Write(make([]byte, 4<<10)); return err != nil })
	}()
	_, witness := inject(t, MTUBlackhole{}, l)
	expect(t, witness, true)
	expect(t, witness, false)
	if saw, _, err := witness(t.Context()); err != nil || !strings.Contains(saw, "2 connections that were there 1 live") {
		t.Errorf("the witness saw: %s (%v)", saw, err)
	}
	idle.Close()
	connect(t, l) // what comes later is not asked
	if !eventually(func() bool { _, bit, err := witness(t.Context()); return bit && err == nil }) {
		t.Error("all that was there has met the fault, or has left; it is not witnessed")
	}
	busy.Close()
	<-sending
}

// Nobody sends anything large: that is no fault.
func TestMTUBlackholeNeedsData(t *testing.T) {
	l := build(t, lab.BehindNAT)
	connect(t, l)
	if _, _, err := (MTUBlackhole{}).Inject(t.Context(), l); err == nil || !strings.Contains(err.Error(), "data in flight") {
		t.Fatalf("error is %v", err)
	}
	if n, err := l.Router.Hits("FORWARD", "DROP"); err != nil || n != 0 {
		t.Errorf("%d packets dropped (%v)", n, err)
	}
}

func TestInjectRST(t *testing.T) {
	l := build(t, lab.BehindNAT)
	client, server := connect(t, l)
	sending := make(chan struct{})
	go func() {
		defer close(sending)
		_ = eventually(func() bool { _, err := client.Write([]byte("x")); return err != nil })
	}()
	heal, witness := inject(t, InjectRST{}, l)
	<-sending
	expect(t, witness, true)
	if !told(t, client) || !told(t, server) {
		t.Error("an end that sends is not told")
	}
	healTwice(t, heal)
	expect(t, witness, false)
	connect(t, l)
}
