package lab

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"testing"

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
