package tunnel

import (
	"bytes"
	"errors"
)

// answers follows the answers of an origin as their bytes pass, to know where
// each ends. It keeps only a header line that the next bytes continue.
type answers struct {
	body    body
	inBody  bool
	status  int // 0: the status line has not come yet
	head    int // bytes of the head so far
	partial []byte

	lengths, codings int
	framing          body
}

// maxAnswerHead is the longest head of an answer, in bytes.
const maxAnswerHead = 256 << 10

// errAnswer says that what the origin sent is no HTTP/1 answer.
var errAnswer = errors.New("the origin does not answer in HTTP/1")

// feed passes bytes on to the answer of a request, and returns how many belong to
// it. done says that it ends with them: it was the whole answer, or with status
// 101 its head. Answers with another status 1xx come before the real one.
func (a *answers) feed(p []byte, toHEAD bool) (n int, done bool, err error) {
	for {
		if a.inBody {
			m, err := a.body.feed(p[n:])
			n += m
			if err != nil || !a.body.done() {
				return n, false, err
			}
			return n, true, nil
		}
		i := bytes.IndexByte(p[n:], '\n')
		if i < 0 {
			a.head += len(p) - n
			a.partial = append(a.partial, p[n:]...)
			if a.head > maxAnswerHead {
				return n, false, errAnswer
			}
			return len(p), false, a.early()
		}
		line := p[n : n+i+1]
		n, a.head = n+i+1, a.head+i+1
		if len(a.partial) > 0 {
			line = append(a.partial, line...)
			a.partial = nil
		}
		if a.head > maxAnswerHead {
			return n, false, errAnswer
		}
		if line = bytes.TrimSuffix(line[:len(line)-1], []byte("\r")); len(line) > 0 {
			if err := a.line(line); err != nil {
				return n, false, err
			}
			continue
		}
		if a.status == 0 {
			return n, false, errAnswer
		}
		if a.status == 101 {
			return n, true, nil
		}
		if a.status < 200 {
			*a = answers{}
			continue
		}
		if err := a.begin(toHEAD); err != nil {
			return n, false, err
		}
		if a.body.done() {
			return n, true, nil
		}
	}
}

// early refuses what cannot become a status line, before its end has come.
func (a *answers) early() error {
	const begin = "HTTP/1."
	n := min(len(begin), len(a.partial))
	if a.status == 0 && string(a.partial[:n]) != begin[:n] {
		return errAnswer
	}
	return nil
}

// line takes a line of the head.
func (a *answers) line(line []byte) error {
	if a.status == 0 {
		if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
			return errAnswer
		}
		for _, c := range line[9:12] {
			if c < '0' || c > '9' {
				return errAnswer
			}
			a.status = 10*a.status + int(c-'0')
		}
		if a.status < 100 {
			return errAnswer
		}
		return nil
	}
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || line[0] == ' ' || line[0] == '\t' {
		return errAnswer
	}
	value = bytes.Trim(value, " \t")
	switch {
	case is(name, "content-length"):
		length, ok := sized(value)
		if !ok || a.lengths > 0 && length != a.framing {
			return errAnswer
		}
		a.lengths++
		a.framing = length
	case is(name, "transfer-encoding"):
		a.codings++
		if !is(value, "chunked") {
			a.codings++ // another coding: it ends with the connection
		}
	}
	return nil
}

// begin decides where the body ends: RFC 9112, section 6.3.
func (a *answers) begin(toHEAD bool) error {
	if a.codings > 0 && a.lengths > 0 {
		return errAnswer
	}
	a.inBody = true
	switch {
	case toHEAD || a.status == 204 || a.status == 304:
		a.body = body{}
	case a.codings == 1:
		a.body = chunkedBody()
	case a.codings > 1:
		a.body = body{kind: endlessBody}
	case a.lengths > 0:
		a.body = a.framing
	default:
		a.body = body{kind: endlessBody}
	}
	return nil
}
