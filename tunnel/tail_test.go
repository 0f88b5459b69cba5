package tunnel

import (
	"io"
	"testing"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// An origin answers a large upload in full and closes on top of the rest of it: its reset
// is the tail of the answer, not its end. The visitor reads all of the answer and an orderly
// end; one that got a part hears of a reset.
func TestResetBehindAnswer(t *testing.T) {
	const head = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\n"
	for name, c := range map[string]struct {
		answer string
		whole  bool
	}{
		"whole":   {head + "no", true},
		"a part":  {head + "n", false},
		"endless": {"HTTP/1.1 413 Content Too Large\r\n\r\nno", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			peer := w.rawLogin(wire.Login{Name: "a.test", Token: secret})
			visitor := dial(t, w.server.HTTPAddr())
			say(t, visitor, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\nthe beginning")
			peer.want(wire.Data)
			peer.send(wire.AppendReason(wire.Append(nil, wire.Data, 1, []byte(c.answer)), wire.Reset, 1, wire.Gone, "connection reset by peer"))
			got, err := io.ReadAll(visitor)
			if string(got) != c.answer && c.whole || (err == nil) != c.whole {
				t.Errorf("heard %q, %v", got, err)
			}
			visitor.Close()
			eventually(t, "no stream is left", func() bool { return w.streams() == 0 })
		})
	}
}

// Also an answer of which a part is written only after the reset is whole or is not.
func TestRestOfAnswer(t *testing.T) {
	const answer = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\n"
	for name, c := range map[string]struct {
		rest  []string
		whole bool
	}{
		"whole":    {[]string{answer, "no", "pe"}, true},
		"a part":   {[]string{answer, "no"}, false},
		"too much": {[]string{answer, "nope", "and more"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := tcpPair(t)
			st := carried(t, near, &front{asked: 1, open: true})
			st.s.metrics = newMetrics(nil, nil)
			st.s.mu.Lock()
			for _, part := range c.rest {
				st.in.push(chunkOf([]byte(part)))
			}
			st.resetLocked(&resetError{code: wire.Gone, text: "reset", far: true}, false)
			st.s.mu.Unlock()
			err := st.finish(near, hung)
			if whole := st.answeredBefore(err); whole != c.whole {
				t.Errorf("%v: whole %v", err, whole)
			}
			near.Close()
			got, err := io.ReadAll(far)
			if want := answer + "nope"; err != nil || c.whole && string(got) != want {
				t.Errorf("heard %q, %v", got, err)
			}
		})
	}
}
