package wire

import (
	"bufio"
	"io"
)

// Reader reads frames. It holds one buffer of the longest frame.
type Reader struct {
	buf  *bufio.Reader
	used int // bytes of the last frame, given back by the next call
}

// NewReader returns a reader of frames from r.
func NewReader(r io.Reader) *Reader {
	return &Reader{buf: bufio.NewReaderSize(r, MaxFrame)}
}

// Ready says whether Next has a whole frame without reading.
func (r *Reader) Ready() bool {
	n := r.buf.Buffered() - r.used
	if n < HeaderLen {
		return false
	}
	head, _ := r.buf.Peek(r.used + HeaderLen) // is there: see above
	_, _, length, err := parseHeader(head[r.used:])
	return err != nil || n >= HeaderLen+length
}

// Next returns the next frame. It fails with the error of the underlying reader
// (io.EOF between frames, io.ErrUnexpectedEOF inside one) or with one that wraps
// [ErrProtocol].
func (r *Reader) Next() (Frame, error) {
	if _, err := r.buf.Discard(r.used); err != nil {
		return Frame{}, err
	}
	r.used = 0
	head, err := r.buf.Peek(HeaderLen)
	if err != nil {
		return Frame{}, torn(err, len(head))
	}
	t, stream, n, err := parseHeader(head)
	if err != nil {
		return Frame{}, err
	}
	whole, err := r.buf.Peek(HeaderLen + n)
	if err != nil {
		return Frame{}, torn(err, len(whole))
	}
	r.used = len(whole)
	return Frame{Type: t, Stream: stream, Payload: whole[HeaderLen:]}, nil
}

// torn tells an end between two frames from one inside a frame.
func torn(err error, have int) error {
	if err == io.EOF && have > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}
