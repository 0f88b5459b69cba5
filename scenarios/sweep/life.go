// Package sweep reads the life of a session, packet by packet, from what a router has
// seen, and says which moment of it a cut after packet N has hit.
package sweep

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
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

// Stages that a script names itself: the server has asked for a successor, and that has
// logged in.
const (
	Recycle = "recycle"
	Drain   = "drain"
)

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

// The stages of a session that its packets tell; between the token and the end the script
// does.
const (
	connect = "connect"
	tls     = "TLS"
	token   = "token"
	logged  = ""
	end     = "end"
)

// login follows one connection from its SYN on.
//
//	client ---- SYN ---------------->
//	       <--- SYN ACK -------------
//	       ---- ACK, ClientHello --->
//	       <--- ServerHello to Finished
//	       ---- Finished, token ---->
//	       <--- answer --------------
//	         ... as the script says
//	       <--- FIN -----------------
//	       ---- ACK, FIN ----------->
//	       <--- ACK -----------------
type login struct {
	life  Life
	stage string
	heard bool // data of the server
	done  bool // TLS, from the client's side
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
	case p.Way == fault.ToServer && !l.heard: // two packets: a key share of ML-KEM is long
		l.stage, what = tls, "ClientHello"
	case p.Way == fault.ToServer && !l.done:
		l.done, what = true, "Finished"
	case p.Way == fault.ToServer:
		l.stage, what = token, "token"
	case l.stage == token:
		what = "answer"
	default:
		l.heard, what = true, "server's handshake"
	}
	if what == "FIN" || what == "RST" {
		l.stage = end
	}
	stage := cmp.Or(l.stage, script)
	p.Event = event(stage, what, p.Way)
	l.life = append(l.life, p)
	if what == "answer" {
		l.stage = logged
	}
}

func event(stage, what string, way fault.Way) string {
	return fmt.Sprintf("%s: %s %s", stage, what, way)
}

// LoggedIn says whether the token was answered.
func (l Life) LoggedIn() bool { return l.has(event(token, "answer", fault.FromServer)) }

// Over says whether both ends have closed the connection, in good order, and the last FIN
// is acknowledged.
func (l Life) Over() bool {
	return l.has(event(end, "FIN", fault.ToServer)) && l.has(event(end, "FIN", fault.FromServer)) &&
		strings.HasPrefix(l[len(l)-1].Event, end+": ACK")
}

func (l Life) has(event string) bool {
	return slices.ContainsFunc(l, func(p Packet) bool { return p.Event == event })
}

// Stages are those that a life has gone through, as they come.
func (l Life) Stages() []string {
	var all []string
	for _, p := range l {
		stage, _, _ := strings.Cut(p.Event, ":")
		if !slices.Contains(all, stage) {
			all = append(all, stage)
		}
	}
	return all
}

// swept are the stages of a whole life.
var swept = []string{connect, tls, token, "http", "upgrade", "messages", "closing", "tcp", "half-close", Recycle, Drain, end}

// Lacks are the stages that a life has not gone through.
func (l Life) Lacks() []string {
	has := l.Stages()
	return slices.DeleteFunc(slices.Clone(swept), func(s string) bool { return slices.Contains(has, s) })
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
	tokenEvent     = event(token, "token", fault.ToServer)
	handshakeEvent = event(tls, "server's handshake", fault.FromServer)
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
