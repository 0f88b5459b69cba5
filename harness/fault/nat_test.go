package fault

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

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

// closed is a connection that has been, and its client's port: the router keeps the
// mapping a while, the client keeps nothing, for the server has closed first.
func closed(t *testing.T, l *lab.Lab) string {
	t.Helper()
	client, server := connect(t, l)
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := client.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Fatalf("read %d bytes and %v, want the end", n, err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if !eventually(func() bool {
		there, err := l.Router.Established()
		return err == nil && !slices.ContainsFunc(there, func(m lab.Mapping) bool { return m.Inside.String() == client.LocalAddr().String() })
	}) {
		t.Fatal("the router does not hear of the end")
	}
	return client.LocalAddr().String()
}

// A NAT that has nothing to forget, or only what has ended, is no fault.
func TestExpireNATWithoutMappingsDoesNotBite(t *testing.T) {
	l := build(t, lab.BehindNAT)
	closed(t, l)
	_, witness := inject(t, ExpireNAT{Silent: true}, l)
	expect(t, witness, false)
}

// A new connection may have the ports of one that was closed before the fault: that is
// no mapping that has come back.
func TestPortsOfAClosedConnectionComeBack(t *testing.T) {
	l := build(t, lab.BehindNAT)
	if err := l.Client.Sysctl("net.ipv4.ip_local_port_range", "40000 40003"); err != nil {
		t.Fatal(err)
	}
	connect(t, l)
	was := closed(t, l)
	_, witness := inject(t, ExpireNAT{Silent: true}, l)
	for range 3 {
		client, _ := connect(t, l)
		if client.LocalAddr().String() == was {
			expect(t, witness, true)
			return
		}
	}
	t.Fatalf("%s is not taken again", was)
}

// told says whether a connection has been reset, by its next packet or before.
func told(t *testing.T, c net.Conn) bool {
	t.Helper()
	return eventually(func() bool {
		_, err := c.Write([]byte("x"))
		return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	})
}

func TestExpireNATLoudly(t *testing.T) {
	for _, first := range []string{"client", "server"} {
		t.Run(first+" sends first", func(t *testing.T) {
			l := build(t, lab.BehindNAT)
			client, server := connect(t, l)
			sender, other := client, server
			if first == "server" {
				sender, other = server, client
			}
			sending := make(chan struct{})
			go func() {
				defer close(sending)
				// Not before the mapping is gone: the other side's acknowledgement would be
				// a packet that is answered with RST.
				_ = eventually(func() bool { m, err := l.Router.Mappings(); return err == nil && len(m) == 0 })
				_ = eventually(func() bool { _, err := sender.Write([]byte("x")); return err != nil })
			}()
			heal, witness := inject(t, ExpireNAT{}, l)
			<-sending
			expect(t, witness, true)
			if !told(t, sender) {
				t.Error("who sends is not told")
			}
			// The other side has heard nothing: its bytes came, and no end.
			if err := other.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			var err error
			for err == nil {
				_, err = other.Read(make([]byte, 4096))
			}
			if timeout := net.Error(nil); !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("who is silent was told: %v", err)
			}
			if !told(t, other) {
				t.Error("the other one is not told at its next packet")
			}
			connect(t, l) // a new connection gets through while the fault is there
			expect(t, witness, true)
			healTwice(t, heal)
		})
	}
}

// Nobody is told as long as nobody sends: that is no fault yet.
func TestExpireNATLoudlyWaitsForAPacket(t *testing.T) {
	l := build(t, lab.BehindNAT)
	client, server := connect(t, l)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, _, err := (ExpireNAT{}).Inject(ctx, l); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error is %v, want the deadline", err)
	}
	// It has undone what it did: the mapping forms anew.
	if !passes(t, client, server, 10*time.Second) {
		t.Error("no byte passes after a fault that was given up")
	}
}
