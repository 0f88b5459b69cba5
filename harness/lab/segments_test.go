package lab

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket/pcapgo"
)

// longest sends from the client to the server, and says how long the longest packet was
// that the router has seen, without its Ethernet header. meanwhile is called when the
// connection is there and nothing was sent.
func longest(t *testing.T, l *Lab, meanwhile func()) int {
	t.Helper()
	seen, err := l.Router.Capture(CaptureSize{})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := l.Server.Listen(t.Context(), netip.AddrPortFrom(l.ClientSide, 7000).String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	connected, sent := make(chan struct{}), make(chan error, 1)
	go func() {
		c, err := l.Client.DialContext(t.Context(), "tcp", ln.Addr().String())
		if err == nil {
			<-connected
			_, err = c.Write(make([]byte, 1<<20))
			err = errors.Join(err, c.Close())
		}
		sent <- err
	}()
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	meanwhile()
	close(connected)
	if n, err := io.Copy(io.Discard, c); n != 1<<20 || err != nil {
		t.Fatalf("%d bytes came: %v", n, err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	sees(t, seen, 8) // a handshake, by two cables, and some of what was sent
	var out bytes.Buffer
	_, _, err = seen.Write(&out)
	if err := errors.Join(err, seen.Close()); err != nil {
		t.Fatal(err)
	}
	in, err := pcapgo.NewNgReader(&out, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	most := 0
	for {
		_, info, err := in.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return most - 14
		}
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, info.Length)
	}
}

func TestPacketize(t *testing.T) {
	l := build(t, BehindNAT)
	mtu := 0
	err := l.Router.Do(func() error {
		i, err := net.InterfaceByName(l.Router.Inner.Name)
		mtu = i.MTU
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	nothing := func() {}
	if n := longest(t, l, nothing); n <= mtu {
		t.Fatalf("the longest packet has %d bytes: there is nothing to cut up", n)
	}
	var undo func() error
	before := func() {
		if undo, err = l.Packetize(); err != nil {
			t.Fatal(err)
		}
	}
	if n := longest(t, l, before); n > mtu {
		t.Errorf("the longest packet of a connection that was there has %d bytes, of an MTU of %d", n, mtu)
	}
	if n := longest(t, l, nothing); n > mtu {
		t.Errorf("the longest packet has %d bytes, of an MTU of %d", n, mtu)
	}
	for _, link := range l.links {
		for _, e := range []*End{link.A, link.B} {
			if most, err := e.Segments(); err != nil || most != 1 {
				t.Errorf("%s takes %d segments as one, want 1: %v", e, most, err)
			}
		}
	}
	if err := undo(); err != nil {
		t.Fatal(err)
	}
	if n := longest(t, l, nothing); n <= mtu {
		t.Errorf("the longest packet has %d bytes after the undo", n)
	}
}

// BenchmarkPacketize is what it adds to a lab of five hosts.
func BenchmarkPacketize(b *testing.B) {
	l := build(b, BehindNAT)
	for b.Loop() {
		undo, err := l.Packetize()
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := undo(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
