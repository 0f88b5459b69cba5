package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
)

// ErrCorrupt says that a byte arrived that nobody sent: a wrong one, one too
// many, or framing that no longer parses. The error that wraps it is a
// *CorruptError.
var ErrCorrupt = errors.New("corrupt byte")

// CorruptError tells which byte was wrong.
type CorruptError struct {
	// Offset counts the payload bytes of the stream before the wrong one. With a
	// Cause it is the number of bytes that were right before the framing broke.
	Offset    int64
	Got, Want byte
	// Cause is set where the framing around the payload (chunk lengths, WebSocket
	// headers, the length of the whole) was damaged rather than the payload.
	Cause error
}

func (e *CorruptError) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%v: framing broken after offset %d: %v", ErrCorrupt, e.Offset, e.Cause)
	}
	return fmt.Sprintf("%v at offset %d: got 0x%02x, want 0x%02x", ErrCorrupt, e.Offset, e.Got, e.Want)
}

// Unwrap gives ErrCorrupt, and the cause if there is one.
func (e *CorruptError) Unwrap() []error {
	if e.Cause != nil {
		return []error{ErrCorrupt, e.Cause}
	}
	return []error{ErrCorrupt}
}

// stream is the endless sequence of bytes that belongs to a seed: ChaCha8, keyed
// with the seed in its first eight bytes, little-endian.
type stream struct {
	source *rand.ChaCha8
	offset int64
}

func newStream(seed uint64) *stream {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	copy(key[8:], "halfopen load stream v1!")
	return &stream{source: rand.NewChaCha8(key)}
}

// next fills p with the bytes that follow.
func (s *stream) next(p []byte) {
	s.source.Read(p) // never fails, by its contract
	s.offset += int64(len(p))
}

// checker compares what arrives with a stream.
type checker struct {
	stream *stream
	want   []byte
}

func newChecker(seed uint64) *checker { return &checker{stream: newStream(seed)} }

// check compares the next len(p) bytes. After an error the checker is of no use.
func (c *checker) check(p []byte) error {
	if cap(c.want) < len(p) {
		c.want = make([]byte, len(p))
	}
	want, base := c.want[:len(p)], c.stream.offset
	c.stream.next(want)
	if bytes.Equal(p, want) {
		return nil
	}
	for i := range p {
		if p[i] != want[i] {
			return &CorruptError{Offset: base + int64(i), Got: p[i], Want: want[i]}
		}
	}
	return nil
}
