package lab

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// A capture has the packets of a connection both ways, is bounded, and names what had
// to go.
func TestCaptureKeepsTheLastPackets(t *testing.T) {
	l, err := Direct()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	c, err := l.Server.Capture(CaptureSize{Packets: 16, Snaplen: 96})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := l.Server.Listen(context.Background(), netip.AddrPortFrom(l.VisitorSide, 7000).String())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for range 8 { // of at least four packets each
		conn, err := l.Visitor.DialContext(context.Background(), "tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	sees(t, c, 24)
	var out bytes.Buffer
	kept, before, err := c.Write(&out)
	if err != nil || kept != 16 || before < 8 {
		t.Fatalf("kept %d packets, %d before them: %v", kept, before, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	in, err := pcapgo.NewNgReader(&out, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	sides := map[bool]int{}
	for {
		data, info, err := in.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 96 || info.Length < len(data) {
			t.Errorf("%d bytes of a packet of %d", len(data), info.Length)
		}
		p := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.Default)
		if tcp, ok := p.TransportLayer().(*layers.TCP); ok {
			sides[tcp.DstPort == 7000]++
		}
	}
	if sides[true] == 0 || sides[false] == 0 {
		t.Errorf("packets to and from the listener: %d and %d", sides[true], sides[false])
	}
}

// sees waits until the capture has read so many packets: it does so in its own time.
func sees(t *testing.T, c *Capture, packets int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		seen := c.seen
		c.mu.Unlock()
		if seen >= packets {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d packets were seen, want %d", seen, packets)
		}
	}
}

// A packet's time is when it came, however late it is read.
func TestCaptureKeepsTheKernelsTime(t *testing.T) {
	l := build(t, Direct)
	c, err := l.Server.Capture(CaptureSize{})
	if err != nil {
		t.Fatal(err)
	}
	// The kernel begins to note times a moment after it was asked to (net_enable_timestamp).
	ping(t, end(t, l, AtClient), 9)
	sees(t, c, 9)
	begin := time.Now()
	c.mu.Lock() // the reader waits
	first := c.seen
	serve(t, l.Server, l.ClientSide)
	dial(t, l.Client, netip.AddrPortFrom(l.ClientSide, 7000).String())
	end := time.Now()
	c.mu.Unlock()
	sees(t, c, first+3) // of a handshake
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for _, p := range c.ring[first:c.seen] {
		if p.at.Before(begin.Add(-time.Millisecond)) || p.at.After(end) {
			t.Errorf("a packet's time is %v, not between %v and %v", p.at, begin, end)
		}
	}
}
