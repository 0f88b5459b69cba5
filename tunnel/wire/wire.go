// Package wire is the language of a session: the frames that a tunnel server
// and a tunnel client exchange inside one TLS connection.
//
//	 0        1                       4                               8
//	+--------+-----------------------+-------------------------------+---------
//	| type   | length of the payload | stream, 0 for the session     | payload
//	| 1 byte | 3 bytes, big endian   | 4 bytes, big endian           | ...
//	+--------+-----------------------+-------------------------------+---------
//
// A session begins with AUTH from the client, answered by AUTHOK or REFUSED. The
// first session of a login is told the login's key; the others join with it.
// Then the server opens streams, numbered 1, 2, 3, ...; both ends send DATA
// within the credit they were granted, at first [Window] bytes a stream and
// direction. A stream is over when both ends have sent FIN or one has sent
// RESET. Whoever breaks these rules loses the session.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Version is the first byte of AUTH. Another version is refused.
const Version = 2

// HeaderLen is the length of a frame's header in bytes.
const HeaderLen = 8

// MaxFrame is the length of the longest frame in bytes, MaxData that of its
// payload. With its TLS records (22 bytes more for each 16 KiB) it is one segment
// of a loopback connection, 65483 bytes, and not one and a little.
const (
	MaxFrame = 64<<10 - 160
	MaxData  = MaxFrame - HeaderLen
)

// Window is the credit of a new stream in each direction, in bytes, MaxWindow
// the most that a stream can ever hold: a receiver that takes everything at once
// grants more than it has got, up to this.
const (
	Window    = 256 << 10
	MaxWindow = 16 << 20
)

// Type is the first byte of a frame.
type Type uint8

// The frames. C is the client of the tunnel, S the server.
const (
	Auth    Type = 1 + iota // C->S, stream 0: version, slot, key, port, name, token. The first frame, once.
	AuthOK                  // S->C, stream 0: the login's key, its most sessions, the session's id. The first answer, once.
	Refused                 // S->C, stream 0: a reason. The only answer; the server then closes.
	Open                    // S->C: kind and visitor's address. A new stream; data may follow without waiting.
	Data                    // both: 1 to MaxData bytes, taken from the credit.
	Fin                     // both: empty. The sender will send no more data on this stream.
	Reset                   // both: a reason. The stream is over in both directions; no answer.
	Credit                  // both: 4 bytes. The receiver of this frame may send so many bytes more.
	Ping                    // both, stream 0: 8 bytes that the answer repeats.
	Pong                    // both, stream 0: the 8 bytes of the Ping.
	GoAway                  // both, stream 0: 1 byte, Replace or Leave. Streams that are open go on.
)

// kinds says of each type its name, the bounds of its payload and whether it
// belongs to a stream.
var kinds = [...]struct {
	name     string
	min, max int
	stream   bool
}{
	Auth:    {"AUTH", 6, 2 << 10, false},
	AuthOK:  {"AUTHOK", 2 + KeyLen, 64, false},
	Refused: {"REFUSED", 1, 1 + MaxText, false},
	Open:    {"OPEN", 1, 1 + MaxText, true},
	Data:    {"DATA", 1, MaxData, true},
	Fin:     {"FIN", 0, 0, true},
	Reset:   {"RESET", 1, 1 + MaxText, true},
	Credit:  {"CREDIT", 4, 4, true},
	Ping:    {"PING", 8, 8, false},
	Pong:    {"PONG", 8, 8, false},
	GoAway:  {"GOAWAY", 1, 1, false},
}

// String is the name as it stands in the table above, in capitals.
func (t Type) String() string {
	if t.known() {
		return kinds[t].name
	}
	return fmt.Sprintf("type %d", uint8(t))
}

func (t Type) known() bool { return t >= Auth && t <= GoAway }

// ErrProtocol is wrapped by every error that says that the peer broke the
// rules; what was read after it means nothing.
var ErrProtocol = errors.New("protocol error")

// Frame is one frame. Payload is valid until the next call of the [Reader] that
// returned it.
type Frame struct {
	Type    Type
	Stream  uint32
	Payload []byte
}

// Append appends the frame to dst. It does not check it: the sender is ours.
func Append(dst []byte, t Type, stream uint32, payload []byte) []byte {
	return append(AppendHeader(dst, t, stream, len(payload)), payload...)
}

// AppendHeader appends the header of a frame whose payload of n bytes the
// caller appends next.
func AppendHeader(dst []byte, t Type, stream uint32, n int) []byte {
	dst = append(dst, byte(t), byte(n>>16), byte(n>>8), byte(n))
	return binary.BigEndian.AppendUint32(dst, stream)
}

// parseHeader reads a header of HeaderLen bytes and refuses what no peer that
// keeps the rules sends.
func parseHeader(h []byte) (t Type, stream uint32, n int, err error) {
	t = Type(h[0])
	n = int(h[1])<<16 | int(h[2])<<8 | int(h[3])
	stream = binary.BigEndian.Uint32(h[4:])
	if !t.known() {
		return 0, 0, 0, fmt.Errorf("%w: frame of unknown %v", ErrProtocol, t)
	}
	k := kinds[t]
	if n < k.min || n > k.max {
		return 0, 0, 0, fmt.Errorf("%w: %v of %d bytes, want %d to %d", ErrProtocol, t, n, k.min, k.max)
	}
	if k.stream != (stream != 0) {
		return 0, 0, 0, fmt.Errorf("%w: %v on stream %d", ErrProtocol, t, stream)
	}
	return t, stream, n, nil
}
