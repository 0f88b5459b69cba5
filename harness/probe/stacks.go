package probe

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/halfopen/halfopen/harness/record"
)

// Elided is the Func of a frame that stands for those that the runtime left out
// of a very deep stack.
const Elided = "..."

// ParseStacks reads the goroutines of a dump as runtime.Stack and pprof's debug=2
// write it (runtime/traceback.go), with the labels of GODEBUG=tracebacklabels=1:
//
//	goroutine 18 [IO wait, 3 minutes, locked to thread labels:{"role": "session"}]:
//	internal/poll.runtime_pollWait(0x7f..., 0x72)
//		/usr/local/go/src/runtime/netpoll.go:351 +0x85
//	...
//	created by main.serve in goroutine 7
//		/src/main.go:31 +0x9c
//
// Lines that are not of this form (cgo, ancestors) are passed over; a dump that
// does not begin with a goroutine is an error.
func ParseStacks(dump []byte) ([]record.Goroutine, error) {
	p := parser{names: make(map[string]string)}
	for line := range strings.Lines(string(dump)) {
		line, whole := strings.CutSuffix(line, "\n")
		if !whole {
			break // the runtime cut the dump off at its limit
		}
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("parse stacks: %w", err)
		}
	}
	p.end()
	return p.all, nil
}

// parser holds the goroutine that is being read.
type parser struct {
	names map[string]string
	all   []record.Goroutine
	now   *record.Goroutine // nil between goroutines
	frame *record.Frame     // waits for its file and line
	past  bool              // what follows does not belong to now
}

func (p *parser) line(s string) error {
	switch {
	case strings.HasPrefix(s, "goroutine ") && strings.HasSuffix(s, "]:"):
		p.end()
		g, err := p.header(s)
		if err != nil {
			return err
		}
		p.now = &g
	case s == "":
		p.end()
	case p.now == nil:
		if len(p.all) == 0 {
			return fmt.Errorf("%.80q is no goroutine", s)
		}
	case p.past:
	case s[0] == '\t':
		p.place(s)
	case strings.HasPrefix(s, "[originating from goroutine "):
		p.past = true // GODEBUG=tracebackancestors
	case strings.HasPrefix(s, "created by "):
		p.creator(strings.TrimPrefix(s, "created by "))
	case strings.HasPrefix(s, "...") && strings.HasSuffix(s, "frames elided..."):
		p.now.Frames = append(p.now.Frames, record.Frame{Func: Elided})
		p.frame = nil
	default:
		p.now.Frames = append(p.now.Frames, record.Frame{Func: p.intern(function(s))})
		p.frame = &p.now.Frames[len(p.now.Frames)-1]
	}
	return nil
}

// end closes the goroutine that is being read.
func (p *parser) end() {
	if p.now != nil {
		p.all = append(p.all, *p.now)
	}
	p.now, p.frame, p.past = nil, nil, false
}

// header reads "goroutine 18 gp=0x... [IO wait, 3 minutes labels:{...}]:".
func (p *parser) header(s string) (record.Goroutine, error) {
	var g record.Goroutine
	number, rest, _ := strings.Cut(strings.TrimPrefix(s, "goroutine "), " ")
	id, err := strconv.ParseInt(number, 10, 64)
	if err != nil || id < 0 {
		return g, fmt.Errorf("goroutine's number %.40q is none", number)
	}
	g.ID = id
	_, rest, ok := strings.Cut(rest, "[") // before it, GOTRACEBACK=system tells addresses
	if !ok {
		return g, fmt.Errorf("goroutine %d has no state", id)
	}
	rest = strings.TrimSuffix(rest, "]:")
	if before, labels, ok := strings.Cut(rest, " labels:{"); ok {
		if g.Labels, err = p.labels(labels); err != nil {
			return g, fmt.Errorf("labels of goroutine %d: %w", id, err)
		}
		rest = before
	}
	for i, part := range strings.Split(rest, ", ") {
		if i == 0 {
			g.State = p.intern(part)
		} else if n, ok := strings.CutSuffix(part, " minutes"); ok {
			if g.Minutes, err = strconv.Atoi(n); err != nil {
				return g, fmt.Errorf("minutes of goroutine %d: %w", id, err)
			}
		}
	}
	return g, nil
}

// labels reads `"role": "session", "peer": "10.0.1.2:4711"}`.
func (p *parser) labels(s string) (map[string]string, error) {
	labels := make(map[string]string)
	for {
		var kv [2]string
		for i, after := range []string{": ", ""} {
			quoted, err := strconv.QuotedPrefix(s)
			if err != nil {
				return nil, err
			}
			if kv[i], err = strconv.Unquote(quoted); err != nil {
				return nil, err
			}
			var ok bool
			if s, ok = strings.CutPrefix(s[len(quoted):], after); !ok {
				return nil, fmt.Errorf("no colon before %.40q", s)
			}
		}
		labels[p.intern(kv[0])] = p.intern(kv[1])
		if s == "}" {
			return labels, nil
		}
		var ok bool
		if s, ok = strings.CutPrefix(s, ", "); !ok {
			return nil, errors.New("no end")
		}
	}
}

// creator reads "net/http.(*Server).Serve in goroutine 1". Go before 1.21 does
// not tell the goroutine.
func (p *parser) creator(s string) {
	if i := strings.LastIndex(s, " in goroutine "); i >= 0 {
		if id, err := strconv.ParseInt(s[i+len(" in goroutine "):], 10, 64); err == nil {
			p.now.Parent = id
			s = s[:i]
		}
	}
	p.now.Creator = record.Frame{Func: p.intern(s)}
	p.frame = &p.now.Creator
}

// place reads "\t/src/main.go:31 +0x9c" for the frame before it.
func (p *parser) place(s string) {
	if p.frame == nil {
		return
	}
	s = strings.TrimLeft(s, "\t")
	for _, tail := range []string{" +0x", " fp=0x", " sp=0x", " pc=0x"} {
		if i := strings.LastIndex(s, tail); i >= 0 {
			s = s[:i]
		}
	}
	file, line := s, 0
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		if n, err := strconv.Atoi(s[i+1:]); err == nil && n >= 0 {
			file, line = s[:i], n
		}
	}
	p.frame.File, p.frame.Line = p.intern(file), line
	p.frame = nil
}

// function takes the arguments off "main.(*T).f(0xc000010000, {0x1, ...})": they
// hold no parenthesis. Frames of C have none.
func function(s string) string {
	if i := strings.LastIndexByte(s, '('); i > 0 && strings.HasSuffix(s, ")") {
		return s[:i]
	}
	return s
}

// intern gives one string for equal ones: ten thousand stacks are mostly the
// same names, and none may hold the dump.
func (p *parser) intern(s string) string {
	if known, ok := p.names[s]; ok {
		return known
	}
	s = strings.Clone(s)
	p.names[s] = s
	return s
}
