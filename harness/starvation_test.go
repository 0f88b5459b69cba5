package harness

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/load"
)

// What fails on a machine that stood still says so and for how long; what fails on a calm
// one says what failed and no more.
func TestExcuse(t *testing.T) {
	failed := errors.New("http visitor: 502 Bad Gateway\ntcp visitor: connection reset by peer")
	for _, c := range []struct {
		name   string
		err    error
		waited float64
		want   string
	}{
		{"starved", failed, 3.21, "the machine itself stood still for up to 3.21 s: " + failed.Error()},
		{"calm", failed, 0.5, failed.Error()},
		{"starved, and nothing failed", nil, 3.21, ""},
	} {
		got := excuse(c.err, c.waited)
		if c.err == nil && got != nil || c.err != nil && (got.Error() != c.want || !errors.Is(got, failed)) {
			t.Errorf("%s: says %q, want %q", c.name, got, c.want)
		}
	}
}

// What the machine let threads wait is measured from the first visitor on, and kept where a
// visitor is lost before the fault.
func TestWaitsBeforeTheFault(t *testing.T) {
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	raw := listen()
	origin := load.Serve(listen(), raw)
	v, err := load.Open(t.Context(), new(net.Dialer).DialContext, load.Visit{Protocol: load.TCP, Address: raw.Addr().String(), Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	w := clientOf(t, "")
	if w.visit(0, load.Idle, nil); w.round.starved == nil {
		t.Fatal("it is not measured while visitors come")
	}
	r := w.round
	r.visitors = []*load.Visitor{v}
	r.starved.waited.Add(int64(time.Hour))
	before := r.starve()
	r.starved.waited.Add(int64(time.Hour))
	if r.severed(before); r.outcome.Broken != "" || r.outcome.WaitedBefore != 0 {
		t.Errorf("nobody is lost: %q, %v s", r.outcome.Broken, r.outcome.WaitedBefore)
	}
	if err := origin.Close(); err != nil {
		t.Fatal(err)
	}
	<-v.Done()
	r.severed(before)
	r.starved.End()
	if !strings.Contains(r.outcome.Broken, "lost its connection before the fault") || r.outcome.WaitedBefore < 7200 {
		t.Errorf("says %q, and that threads waited for %v s, want 7200", r.outcome.Broken, r.outcome.WaitedBefore)
	}
}
