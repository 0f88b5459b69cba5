package wire

import (
	"encoding/binary"
	"fmt"
)

// MaxText is the longest text of a reason or an address, in bytes; longer ones
// are cut.
const MaxText = 255

// KeyLen is the length of a [Key] in bytes.
const KeyLen = 16

// Key is the secret of a login, random: who has it may add sessions to it. The
// zero Key asks for a new login.
type Key [KeyLen]byte

// Login is the payload of AUTH: what a client asks for, and by what right.
type Login struct {
	Slot  uint8  // which of the login's sessions this is, from 0; it takes the place of an older one
	Key   Key    // of the login that the session joins
	Name  string // the host name under which the client is visited, at most 253 bytes
	Port  uint16 // the public TCP port, 0 for none
	Token string // the secret, at most 1024 bytes
}

// Append appends the payload of AUTH:
// version (1), slot (1), key (16), port (2), length of the name (1), name, token.
func (l Login) Append(dst []byte) []byte {
	dst = append(dst, Version, l.Slot)
	dst = append(dst, l.Key[:]...)
	dst = binary.BigEndian.AppendUint16(dst, l.Port)
	dst = append(dst, byte(len(l.Name)))
	dst = append(dst, l.Name...)
	return append(dst, l.Token...)
}

// ParseLogin reads the payload of AUTH.
func ParseLogin(p []byte) (Login, error) {
	const fixed = 2 + KeyLen + 3
	if p[0] != Version {
		return Login{}, fmt.Errorf("%w: client speaks version %d, server version %d", ErrProtocol, p[0], Version)
	}
	if len(p) < fixed {
		return Login{}, fmt.Errorf("%w: AUTH of %d bytes", ErrProtocol, len(p))
	}
	n := int(p[fixed-1])
	if n == 0 || len(p) <= fixed+n {
		return Login{}, fmt.Errorf("%w: AUTH without name or token", ErrProtocol)
	}
	return Login{
		Slot:  p[1],
		Key:   Key(p[2:]),
		Port:  binary.BigEndian.Uint16(p[2+KeyLen:]),
		Name:  string(p[fixed : fixed+n]),
		Token: string(p[fixed+n:]),
	}, nil
}

// Welcome is the payload of AUTHOK.
type Welcome struct {
	Key  Key    // of the login
	Most uint8  // sessions that the login may have
	ID   string // of the session, for logs
}

// Append appends the payload of AUTHOK: key (16), most (1), id.
func (w Welcome) Append(dst []byte) []byte {
	dst = append(dst, w.Key[:]...)
	dst = append(dst, w.Most)
	return append(dst, w.ID...)
}

// ParseWelcome reads the payload of AUTHOK.
func ParseWelcome(p []byte) Welcome {
	return Welcome{Key: Key(p), Most: p[KeyLen], ID: string(p[KeyLen+1:])}
}

// Kind says what a stream carries.
type Kind uint8

// The kinds of streams.
const (
	HTTP Kind = 1 // one HTTP/1 connection, its request head rewritten
	TCP  Kind = 2 // one raw TCP connection
)

// String is "http", "tcp", or the number.
func (k Kind) String() string {
	switch k {
	case HTTP:
		return "http"
	case TCP:
		return "tcp"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// AppendOpen appends a whole OPEN frame.
func AppendOpen(dst []byte, stream uint32, kind Kind, visitor string) []byte {
	return appendText(dst, Open, stream, byte(kind), visitor)
}

// ParseOpen reads the payload of OPEN.
func ParseOpen(p []byte) (Kind, string, error) {
	k := Kind(p[0])
	if k != HTTP && k != TCP {
		return 0, "", fmt.Errorf("%w: OPEN of unknown %v", ErrProtocol, k)
	}
	return k, string(p[1:]), nil
}

// Code is the machine's half of a reason.
type Code uint8

// The codes of RESET and REFUSED.
const (
	Gone       Code = 1 // RESET: the connection behind the stream died, was reset or was cut
	DialFailed Code = 2 // RESET: the origin could not be reached
	Silent     Code = 3 // RESET: half closed, and silent for too long
	Limit      Code = 4 // RESET, REFUSED: too many already; try later
	Denied     Code = 5 // REFUSED: wrong token, or one that has no right to the name or port; do not try again
	Busy       Code = 6 // REFUSED: the port is taken; try later
	Drained    Code = 8 // RESET: nothing was under way, and nothing more will come; close in order
	Over       Code = 7 // REFUSED: the login that the session would join is over; log in anew
)

// String is one word, or the number.
func (c Code) String() string {
	switch c {
	case Gone:
		return "gone"
	case DialFailed:
		return "dial failed"
	case Silent:
		return "half-close"
	case Limit:
		return "limit"
	case Denied:
		return "denied"
	case Busy:
		return "busy"
	case Drained:
		return "drained"
	case Over:
		return "over"
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// AppendReason appends a whole RESET or REFUSED frame.
func AppendReason(dst []byte, t Type, stream uint32, code Code, text string) []byte {
	return appendText(dst, t, stream, byte(code), text)
}

// ParseReason reads the payload of RESET or REFUSED. Unknown codes pass: they
// end a stream or a login all the same.
func ParseReason(p []byte) (Code, string) { return Code(p[0]), string(p[1:]) }

func appendText(dst []byte, t Type, stream uint32, first byte, text string) []byte {
	text = text[:min(len(text), MaxText)]
	dst = AppendHeader(dst, t, stream, 1+len(text))
	dst = append(dst, first)
	return append(dst, text...)
}

// What a GOAWAY says.
const (
	Replace byte = 1 // S->C: join the login with another session in this slot; then no stream comes here any more
	Leave   byte = 2 // the sender is about to go: open no stream, make no successor
)

// AppendCredit appends a whole CREDIT frame that grants n bytes.
func AppendCredit(dst []byte, stream uint32, n int) []byte {
	dst = AppendHeader(dst, Credit, stream, 4)
	return binary.BigEndian.AppendUint32(dst, uint32(n))
}

// ParseCredit reads the payload of CREDIT: 1 to MaxWindow bytes.
func ParseCredit(p []byte) (int, error) {
	n := binary.BigEndian.Uint32(p)
	if n == 0 || n > MaxWindow {
		return 0, fmt.Errorf("%w: CREDIT of %d bytes", ErrProtocol, n)
	}
	return int(n), nil
}
