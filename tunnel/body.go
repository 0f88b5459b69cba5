package tunnel

import "errors"

// body is where the body of a request or an answer ends: a state machine that is
// fed the bytes as they pass, and keeps none of them. The zero body is none.
type body struct {
	kind  bodyKind
	left  int64 // bytes of the body, or of its chunk, to come
	state chunkState
	extra int // bytes of the chunk's extension or of the trailers so far
}

type bodyKind uint8

const (
	noBody      bodyKind = iota
	sizedBody            // Content-Length
	chunkedKind          // Transfer-Encoding: chunked
	endlessBody          // an answer that ends with its connection
)

// chunkState is where in a chunked body the next byte stands: RFC 9112, section
// 7.1.
//
//	size [blanks] [;extension] CR LF data CR LF ... 0 CR LF [trailer CR LF ...] CR LF
type chunkState uint8

const (
	chunkFirst chunkState = iota // the first digit of a size
	chunkSize
	chunkBlank // between the size and the extension or the end of the line
	chunkExtension
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
	trailerFirst // the first byte of a trailer, or of the last empty line
	trailerLine
	trailerLF
	lastLF
)

// maxExtra bounds a chunk's extension, and all trailers together, in bytes.
const maxExtra = 8 << 10

// errChunk says that a chunked body breaks the rules.
var errChunk = errors.New("the chunked body is malformed")

// sized reads the value of Content-Length; digits only, below 10^18.
func sized(value []byte) (body, bool) {
	if len(value) == 0 || len(value) > 18 {
		return body{}, false
	}
	var n int64
	for _, c := range value {
		if c < '0' || c > '9' {
			return body{}, false
		}
		n = 10*n + int64(c-'0')
	}
	if n == 0 {
		return body{}, true
	}
	return body{kind: sizedBody, left: n}, true
}

func chunkedBody() body { return body{kind: chunkedKind} }

// done says that the body has ended.
func (b *body) done() bool { return b.kind == noBody }

// feed passes bytes on to the body and returns how many of them belong to it.
func (b *body) feed(p []byte) (int, error) {
	switch b.kind {
	case sizedBody:
		n := int(min(b.left, int64(len(p))))
		if b.left -= int64(n); b.left == 0 {
			b.kind = noBody
		}
		return n, nil
	case chunkedKind:
		return b.feedChunks(p)
	case endlessBody:
		return len(p), nil
	}
	return 0, nil
}

func (b *body) feedChunks(p []byte) (int, error) {
	for i := 0; i < len(p); i++ {
		if b.state == chunkData {
			n := int(min(b.left, int64(len(p)-i)))
			if b.left -= int64(n); b.left == 0 {
				b.state = chunkDataCR
			}
			i += n - 1
			continue
		}
		if !b.step(p[i]) {
			return i, errChunk
		}
		if b.kind == noBody {
			return i + 1, nil
		}
	}
	return len(p), nil
}

// step takes one byte that is not data. It is false if that may not stand here.
func (b *body) step(c byte) bool {
	switch b.state {
	case chunkFirst, chunkSize:
		if digit, ok := unhex(c); ok {
			b.state = chunkSize
			b.left = b.left<<4 | int64(digit)
			return b.left < 1<<58 // the next digit must not overflow
		}
		return b.state == chunkSize && b.afterSize(c)
	case chunkBlank:
		return b.afterSize(c)
	case chunkExtension:
		if c == '\r' {
			b.state, b.extra = chunkSizeLF, 0
			return true
		}
		return b.more(c)
	case chunkSizeLF:
		b.state = chunkData
		if b.left == 0 {
			b.state = trailerFirst
		}
		return c == '\n'
	case chunkDataCR:
		b.state = chunkDataLF
		return c == '\r'
	case chunkDataLF:
		b.state = chunkFirst
		return c == '\n'
	case trailerFirst:
		if c == '\r' {
			b.state = lastLF
			return true
		}
		b.state = trailerLine
		return c != ' ' && c != '\t' && b.more(c)
	case trailerLine:
		if c == '\r' {
			b.state = trailerLF
			return true
		}
		return b.more(c)
	case trailerLF:
		b.state = trailerFirst
		return c == '\n'
	case lastLF:
		*b = body{}
		return c == '\n'
	}
	return false
}

// afterSize takes a byte behind the size of a chunk. Only an extension may follow the
// blanks: what else stood there, another parser may take for more of the size.
func (b *body) afterSize(c byte) bool {
	switch c {
	case '\r':
		b.state, b.extra = chunkSizeLF, 0
		return true
	case ';':
		b.state = chunkExtension
	case ' ', '\t':
		b.state = chunkBlank
	default:
		return false
	}
	return b.more(c)
}

// more counts a byte of an extension or a trailer.
func (b *body) more(c byte) bool {
	b.extra++
	return b.extra <= maxExtra && (c >= ' ' || c == '\t') && c != 0x7f
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}
