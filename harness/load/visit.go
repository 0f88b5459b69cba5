// Package load is who uses the target: visitors, which check every byte, and
// the origin behind the target that answers them.
//
// A visit is one TCP connection. Its payload is a stream of bytes that follows
// from the visit's seed alone, so that both a wrong byte and a byte of somebody
// else's visit are found, with their offset:
//
//	visitor --- first 1 KiB of the stream --->  origin
//	        <-- the same bytes back ----------
//	        ... then, as the visit says:
//	idle             nothing, for as long as it takes
//	both, TCP, WS    4 KiB every 20 ms there and back, 32 to 64 KiB on their way
//	both, HTTP       4 KiB every 20 ms from the origin, without end
//	download         the same over any protocol: the visitor only receives
//	upload           4 KiB every 20 ms to the origin, which checks them, without end
//	flood            the origin sends all it can, and the visitor reads it at its rate (TCP)
//	stalled          the origin sends all it can, and the visitor reads no more of it
//	half-closed      a download to a visitor that has ended its own direction (TCP)
//	mute origin      the visitor has ended its direction, and the origin says no word (TCP)
//	mute visitor     the origin has ended its direction, and the visitor says no word (TCP)
//	upgrading        an upgrade was asked for, and is not answered (WebSocket)
//	half up, down    half of a body of known length has come, and no more does (HTTP)
//
// Over HTTP the first bytes are the body of a POST, and the answer echoes them
// and goes on with the stream (both, download), or falls silent (idle: a long poll).
// An upload is a POST whose body does not end, answered when its first bytes have come.
// Over TCP and WebSocket a header before the first bytes asks for a download or an
// upload; without one the origin echoes.
package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Protocol is how a visitor speaks.
type Protocol string

// The protocols.
const (
	HTTP      Protocol = "http"
	WebSocket Protocol = "websocket"
	TCP       Protocol = "tcp"
)

// Dial connects from inside the network namespace of a host. The address is a
// literal IP address and port.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Visit says what one visitor does.
type Visit struct {
	Protocol Protocol
	Address  string // "ip:port" to connect to
	Host     string // HTTP, WebSocket: the Host header; the address if empty
	Path     string // HTTP, WebSocket: "/" if empty; may have a query
	Seed     uint64 // of the bytes; two visits at the same time need two seeds
	Flow     Flow   // of bytes, after the first round
	// Rate is what a visitor of a flood takes, in bytes a second; 0: all that comes.
	Rate float64

	// Size and Step are of whole visits only. Size is how many bytes are sent; 0: 16 KiB.
	// Step hears of each step before it is taken, and may hold it back: "http"; "upgrade",
	// "messages", "closing"; "tcp", "half-close".
	Size int
	Step func(step string)
}

// Flow is where bytes are in flight all the time.
type Flow string

// The flows. Through a reverse tunnel an upload is in flight from the server to the
// client, and a download the other way.
const (
	Idle     Flow = "" // silence
	Both     Flow = "both"
	Download Flow = "download" // from the origin only
	Upload   Flow = "upload"   // from the visitor only
	// As much as the origin can send and the visitor takes. TCP only.
	Flood Flow = "flood"
	// A reader that has stopped: the window towards it closes.
	Stalled Flow = "stalled"
	// One direction has ended, and the other goes on. TCP only.
	HalfClosed Flow = "half-closed"
	// One direction has ended, and whoever has the other neither speaks nor leaves. TCP only.
	MuteOrigin  Flow = "mute origin"
	MuteVisitor Flow = "mute visitor"
	// The handshake of a WebSocket is not answered.
	Upgrading Flow = "upgrading"
	// A body stops half-way, on its way to the origin or from it. HTTP only.
	HalfUp   Flow = "half up"
	HalfDown Flow = "half down"
)

const (
	first   = 1 << 10               // bytes of the first round
	chunk   = 4 << 10               // bytes written at once in flight
	pace    = 20 * time.Millisecond // between two chunks
	floor   = 32 << 10              // bytes in flight that a visitor tops up to
	ceiling = 64 << 10              // bytes in flight above which it waits
	whole   = 16 << 10              // bytes of one whole visit, each way, if it does not say
)

// flows are all of them, with the one protocol that has it; "" for every one.
var flows = map[Flow]Protocol{
	Idle: "", Both: "", Download: "", Upload: "", Stalled: "",
	Flood: TCP, HalfClosed: TCP, MuteOrigin: TCP, MuteVisitor: TCP, Upgrading: WebSocket, HalfUp: HTTP, HalfDown: HTTP,
}

// silent says whether the visitor gets nothing after its first bytes.
func (f Flow) silent() bool {
	switch f {
	case Idle, Upload, HalfUp, HalfDown, Upgrading, MuteOrigin:
		return true
	}
	return false
}

// letter asks the origin for a flow, in a header over TCP and WebSocket; 0 for its echo.
func (f Flow) letter() byte {
	switch f {
	case Upload:
		return 'u'
	case Download, HalfClosed:
		return 'd'
	case Stalled, Flood:
		return 's'
	case MuteOrigin:
		return 'm'
	case MuteVisitor:
		return 'e'
	}
	return 0
}

// steps are those of a whole visit: as it connects, sends, and ends; "" where the one
// before goes on.
var steps = map[Protocol][3]string{
	HTTP: {"http"}, WebSocket: {"upgrade", "messages", "closing"}, TCP: {"tcp", "", "half-close"},
}

// step tells of the n-th step.
func (v Visit) step(n int) {
	if name := steps[v.Protocol][n]; name != "" && v.Step != nil {
		v.Step(name)
	}
}

// Whole is how many bytes of a whole visit are checked, both ways.
const Whole = 2 * whole

// valid finds out before the first packet what cannot work.
func (v Visit) valid() error {
	only, known := flows[v.Flow]
	switch {
	case !known:
		return fmt.Errorf("unknown flow %q", v.Flow)
	case only != "" && only != v.Protocol:
		return fmt.Errorf("flow %q is of %s only, not of %s", v.Flow, only, v.Protocol)
	case v.Size < 0:
		return fmt.Errorf("a visit cannot send %d bytes", v.Size)
	case v.Rate < 0, v.Rate > 0 && v.Flow != Flood:
		return fmt.Errorf("a visitor with flow %q takes no rate of %g", v.Flow, v.Rate)
	}
	switch v.Protocol {
	case TCP:
		return nil
	case HTTP, WebSocket:
		_, err := address(v, "http", nil)
		return err
	}
	return fmt.Errorf("unknown protocol %q", v.Protocol)
}

// ErrEnded says that the connection ended without the visitor's doing: closed or
// reset by the far end, or given up by the kernel.
var ErrEnded = errors.New("connection ended")

// ErrLeft says that the visitor itself closed its connection.
var ErrLeft = errors.New("visitor left")

// Once makes one whole visit: it connects, exchanges 16 KiB with every byte
// checked, checks that the exchange ends where it should, and closes cleanly
// (HTTP: the body's end; WebSocket: the closing handshake; TCP: half-close, then
// the far end's FIN). It answers "is service back?"; ctx bounds all of it. A
// wrong byte is ErrCorrupt.
func Once(ctx context.Context, dial Dial, v Visit) error {
	if err := once(ctx, dial, v); err != nil {
		return fmt.Errorf("visit %s at %s: %w", v.Protocol, v.Address, err)
	}
	return nil
}

func once(ctx context.Context, dial Dial, v Visit) error {
	if err := v.valid(); err != nil {
		return err
	}
	size := cmp.Or(v.Size, whole)
	v.step(0)
	w, err := connect(ctx, dial, v, exchange{there: size, more: int64(size)})
	if err != nil {
		return err
	}
	defer w.close()
	check, back := newChecker(v.Seed), int64(size)
	if v.Protocol == HTTP {
		back *= 2 // the echo, then as much of the stream again
	}
	v.step(1)
	if err := w.send(newStream(v.Seed), size); err != nil {
		return because(ctx, w.classify(err, 0))
	}
	if err := w.receive(check, back); err != nil {
		return because(ctx, err)
	}
	v.step(2)
	if err := w.finish(back); err != nil {
		return because(ctx, fmt.Errorf("end: %w", w.classify(err, back)))
	}
	return w.disarm(ctx)
}

// because prefers the context's word over that of the deadline it pulled.
func because(ctx context.Context, err error) error {
	if c := ctx.Err(); c != nil {
		return fmt.Errorf("%w (%w)", err, context.Cause(ctx))
	}
	return err
}

// receive reads and checks the next n bytes.
func (w *wire) receive(check *checker, n int64) error {
	buf := make([]byte, chunk)
	for n > 0 {
		got, err := w.in.Read(buf[:min(n, chunk)])
		if bad := check.check(buf[:got]); bad != nil {
			return bad
		}
		n -= int64(got)
		if err != nil && n > 0 {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return w.classify(err, check.stream.offset)
		}
	}
	return nil
}

// send writes the next n bytes of the stream, a chunk at a time. HTTP has sent
// the first ones with its request.
func (w *wire) send(s *stream, n int) error {
	if w.out == nil {
		return nil
	}
	buf := make([]byte, min(n, chunk))
	for ; n > 0; n -= len(buf) {
		buf = buf[:min(n, len(buf))]
		s.next(buf)
		if _, err := w.out.Write(buf); err != nil {
			return err
		}
	}
	return nil
}
