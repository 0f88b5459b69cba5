package fault

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

func TestMain(m *testing.M) {
	if err := lab.Sandbox(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

func build(t *testing.T, topology lab.Topology) *lab.Lab {
	t.Helper()
	l, err := topology()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// connect joins the client with the server through the lab, and has sent a byte.
func connect(t *testing.T, l *lab.Lab) (client, server net.Conn) {
	t.Helper()
	ln, err := l.Server.Listen(t.Context(), netip.AddrPortFrom(l.ClientSide, 4443).String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := ln.Accept()
		if err == nil {
			accepted <- c
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if client, err = l.Client.DialContext(ctx, "tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	select {
	case server = <-accepted:
	case <-ctx.Done():
		t.Fatal("not accepted")
	}
	t.Cleanup(func() { server.Close() })
	if !passes(t, client, server, 5*time.Second) || !passes(t, server, client, 5*time.Second) {
		t.Fatal("a byte does not pass before the fault")
	}
	return client, server
}

// passes says whether a byte from one end reaches the other in time.
func passes(t *testing.T, from, to net.Conn, within time.Duration) bool {
	t.Helper()
	if err := to.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	if _, err := from.Write([]byte("x")); err != nil {
		return false
	}
	_, err := to.Read(make([]byte, 1))
	return err == nil
}

func inject(t *testing.T, f Fault, l *lab.Lab) (Heal, Witness) {
	t.Helper()
	heal, witness, err := f.Inject(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return heal, witness
}

func expect(t *testing.T, witness Witness, want bool) {
	t.Helper()
	saw, bit, err := witness(t.Context())
	if err != nil || bit != want {
		t.Fatalf("witness saw %q (bit %v, %v), want bit %v", saw, bit, err, want)
	}
}

func healTwice(t *testing.T, heal Heal) {
	t.Helper()
	for range 2 {
		if err := heal(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUnplug(t *testing.T) {
	for _, at := range []lab.Place{lab.AtClient, lab.AtServer} {
		t.Run(string(at), func(t *testing.T) {
			l := build(t, lab.BehindNAT)
			client, server := connect(t, l)
			heal, witness := inject(t, Unplug{At: at}, l)
			expect(t, witness, true)
			if passes(t, client, server, 300*time.Millisecond) {
				t.Error("a byte passes a pulled cable")
			}
			expect(t, witness, true)
			healTwice(t, heal)
			expect(t, witness, false) // it sees a cable that is plugged in
			if !passes(t, server, client, 10*time.Second) {
				t.Error("no byte passes after the heal")
			}
		})
	}
}

func TestExpireNAT(t *testing.T) {
	l := build(t, lab.BehindNAT)
	client, server := connect(t, l)
	heal, witness := inject(t, ExpireNAT{Silent: true}, l)
	expect(t, witness, true)
	if passes(t, client, server, 500*time.Millisecond) {
		t.Error("a byte from the client passes a NAT that has forgotten it")
	}
	if passes(t, server, client, 500*time.Millisecond) {
		t.Error("a byte from the server passes a NAT that has forgotten it")
	}
	saw, bit, err := witness(t.Context())
	if err != nil || !bit || strings.Contains(saw, "dropped: 0 to the router, 0 through it") {
		t.Errorf("witness saw %q (%v, %v): want dropped packets", saw, bit, err)
	}
	connect(t, l) // a new connection gets through while the fault is there
	healTwice(t, heal)
}

// Without the rules the kernel takes the connection up in its middle: the witness
// must see that the fault has no effect.
func TestWitnessSeesAMappingThatComesBack(t *testing.T) {
	l := build(t, lab.BehindNAT)
	client, server := connect(t, l)
	heal, witness := inject(t, ExpireNAT{Silent: true}, l)
	expect(t, witness, true)
	healTwice(t, heal)
	if !passes(t, client, server, 10*time.Second) {
		t.Fatal("the mapping does not form anew")
	}
	expect(t, witness, false)
}

// A NAT that has nothing to forget is no fault.
func TestExpireNATWithoutMappingsDoesNotBite(t *testing.T) {
	l := build(t, lab.BehindNAT)
	_, witness := inject(t, ExpireNAT{Silent: true}, l)
	expect(t, witness, false)
}

func TestKill(t *testing.T) {
	l := build(t, lab.Direct)
	log := filepath.Join(t.TempDir(), "log")
	p, err := l.Start(l.Client, lab.Command{Role: "client", Argv: []string{"sleep", "1000"}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	_, witness := inject(t, Kill{Role: "client"}, l)
	expect(t, witness, true)
	if p.Running() {
		t.Error("the process runs after kill -9")
	}
	if _, _, err := (Kill{Role: "client"}).Inject(t.Context(), l); err == nil || !strings.Contains(err.Error(), "ended by itself") {
		t.Errorf("a dead process was killed: %v", err)
	}
}

func TestWrongPlaceIsNamed(t *testing.T) {
	l := build(t, lab.Direct)
	for _, c := range []struct {
		f    Fault
		says string
	}{
		{Unplug{At: "moon"}, "moon"},
		{Kill{Role: "nobody"}, "nobody"},
		{ExpireNAT{Silent: true}, "no router"},
		{ExpireNAT{}, "Silent"},
	} {
		if _, _, err := c.f.Inject(t.Context(), l); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: error is %v, want it to say %q", c.f, err, c.says)
		}
	}
}
