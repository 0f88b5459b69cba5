// Package sweep reads the life of a session, packet by packet, from what a router has
// seen, and says which moment of it a cut after packet N has hit.
package sweep

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/record"
)

// Packet is one of a connection, as it came to the router: a dropped one, and one that is
// sent again, too.
type Packet struct {
	At    time.Time `json:"at"`
	Way   fault.Way `json:"way"`
	Event string    `json:"event"` // what it is, and which way it goes
	Bytes int       `json:"bytes"` // of TCP payload
}

// Life is the packets of one connection, from its SYN on.
type Life []Packet

// Stage is a step of the script that a session lives by, from At on.
type Stage struct {
	At   time.Time
	Name string
}

// Router says how a capture names the router's ends, and where sessions go.
type Router struct {
	Inner, Outer string // towards the client, towards the server
	Port         uint16 // of the server
}

// Read gives the life of each connection whose SYN is in a capture (pcapng) of a router,
// in the order of their SYNs. What is inside TLS 1.3 cannot be seen, so the packets of a
// login are told by their order, and those behind it by the script's stages.
func Read(capture io.Reader, at Router, script []Stage) ([]Life, error) {
	in, err := pcapgo.NewNgReader(capture, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		return nil, fmt.Errorf("read capture: %w", err)
	}
	var lives []*login
	open := map[uint16]*login{} // by the client's port, which the router keeps
	for {
		data, info, err := in.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read capture: %w", err)
		}
		cable, err := in.Interface(info.InterfaceIndex)
		if err != nil {
			return nil, fmt.Errorf("read capture: %w", err)
		}
		// Where it comes in: what is dropped never goes out.
		frame := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.DecodeOptions{NoCopy: true})
		tcp, ok := frame.Layer(layers.LayerTypeTCP).(*layers.TCP)
		if !ok {
			continue
		}
		var port uint16
		var way fault.Way
		switch {
		case cable.Name == at.Inner && uint16(tcp.DstPort) == at.Port:
			port, way = uint16(tcp.SrcPort), fault.ToServer
		case cable.Name == at.Outer && uint16(tcp.SrcPort) == at.Port:
			port, way = uint16(tcp.DstPort), fault.FromServer
		default:
			continue
		}
		if tcp.SYN && way == fault.ToServer && open[port] == nil {
			open[port] = &login{}
			lives = append(lives, open[port])
		}
		if l := open[port]; l != nil {
			bytes := info.Length - info.CaptureLength + len(tcp.Payload) // the capture is short
			l.add(Packet{At: info.Timestamp, Way: way, Bytes: bytes}, tcp, stageAt(script, info.Timestamp))
		}
	}
	all := make([]Life, 0, len(lives))
	for _, l := range lives {
		all = append(all, l.life)
	}
	return all, nil
}

func stageAt(script []Stage, at time.Time) string {
	name := "idle"
	for _, s := range script {
		if s.At.After(at) {
			break
		}
		name = s.Name
	}
	return name
}

// The stages of a login, and the packet that carries the token.
const (
	connect = "connect"
	tls     = "TLS"
	token   = "token"
	logged  = ""
)

// login follows one connection from its SYN until the token is answered.
//
//	client ---- SYN ---------------->
//	       <--- SYN ACK -------------
//	       ---- ACK, ClientHello --->
//	       <--- ServerHello to Finished
//	       ---- Finished, token ---->
//	       <--- answer --------------
type login struct {
	life  Life
	stage string
	sent  int // packets with data of the client
}

func (l *login) add(p Packet, tcp *layers.TCP, script string) {
	what := "data"
	switch {
	case tcp.SYN && p.Way == fault.ToServer:
		l.stage, what = connect, "SYN"
	case tcp.SYN:
		what = "SYN ACK"
	case tcp.RST:
		what = "RST"
	case tcp.FIN:
		what = "FIN"
	case p.Bytes == 0:
		what = "ACK"
	case l.stage == logged:
	case p.Way == fault.ToServer:
		l.sent++
		switch l.sent {
		case 1:
			l.stage, what = tls, "ClientHello"
		case 2:
			what = "Finished"
		default:
			l.stage, what = token, "token"
		}
	case l.stage == token:
		what = "answer"
	default:
		what = "server's handshake"
	}
	stage := cmp.Or(l.stage, script)
	p.Event = fmt.Sprintf("%s: %s %s", stage, what, p.Way)
	l.life = append(l.life, p)
	if what == "answer" {
		l.stage = logged
	}
}

// Whole says whether the script was reached: a login was seen, and traffic behind it.
func (l Life) Whole() bool {
	at := slices.IndexFunc(l, func(p Packet) bool { return p.Event == tokenEvent })
	return at >= 0 && at+margin < len(l)
}

// Events are the different ones of a life, as they come.
func (l Life) Events() []string {
	var all []string
	for _, p := range l {
		if !slices.Contains(all, p.Event) {
			all = append(all, p.Event)
		}
	}
	return all
}

// margin is how many packets more or fewer the same login may have: acknowledgements
// may be sent apart, or with data.
const margin = 2

// Class of a cut after packet n of such a life, which says its window: unfinished where
// surely no token comes to the server, "" where there may be a session.
func (l Life) Class(n int, way fault.Way) record.Class {
	needs := tokenEvent
	if way == fault.FromServer {
		needs = handshakeEvent // without it the client sends no token
	}
	at := slices.IndexFunc(l, func(p Packet) bool { return p.Event == needs })
	if at >= n+margin {
		return record.Unfinished
	}
	return ""
}

var (
	tokenEvent     = fmt.Sprintf("%s: token %s", token, fault.ToServer)
	handshakeEvent = fmt.Sprintf("%s: server's handshake %s", tls, fault.FromServer)
)

// Hit is the packet that was dropped first, of all connections: the first that comes
// after packet n and goes the way that is cut.
func Hit(lives []Life, n int, way fault.Way) (Packet, bool) {
	var hit Packet
	found := false
	for _, l := range lives {
		for i, p := range l {
			if i < n || (way != fault.BothWays && p.Way != way) {
				continue
			}
			if !found || p.At.Before(hit.At) {
				hit, found = p, true
			}
			break
		}
	}
	return hit, found
}
