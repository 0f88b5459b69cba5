package harness

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/load"
	"github.com/halfopen/halfopen/harness/record"
)

// serves takes so long, or fails when its time is over.
func serves(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error { return pause(ctx, d) }
}

func TestEachClientHasItsOwnTimeToServe(t *testing.T) {
	const limit = 0.4
	for _, c := range []struct {
		name                string
		returning, newcomer time.Duration
		ok                  [2]bool
	}{
		{"both at once", 0, 0, [2]bool{true, true}},
		{"the one late in its time, the other, too", 300 * time.Millisecond, 300 * time.Millisecond, [2]bool{true, true}},
		{"the one not at all, the other is not to blame", time.Minute, 100 * time.Millisecond, [2]bool{false, true}},
		{"the new one not at all", 0, time.Minute, [2]bool{true, false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &World{ctx: t.Context(), round: &round{healedAt: time.Now()}}
				got := w.ask(limit, serves(c.returning), serves(c.newcomer))
				for i, s := range got {
					if s.OK != c.ok[i] || s.OK != (s.Error == "") || s.Limit != limit || s.OK && s.After > limit {
						t.Errorf("%+v, want OK %v", s, c.ok[i])
					}
				}
			})
		})
	}
}

func TestFirstIsWhenTheTimelineMissedIt(t *testing.T) {
	began := time.Now().Add(-5 * time.Second)
	w := &World{round: &round{outcome: record.Outcome{First: -1}, holders: map[string]int{"server": 7}, began: began}}
	w.round.miss("server", 8, 3, began.Add(time.Second)) // another process, which never held them
	w.round.miss("server", 7, 0, began.Add(time.Second))
	w.first(false)
	if w.round.outcome.First >= 0 {
		t.Errorf("given up after %v s, and nothing is missing", w.round.outcome.First)
	}
	w.round.miss("server", 7, 1, began.Add(2*time.Second))
	w.round.miss("server", 7, 2, began.Add(3*time.Second))
	w.first(true)
	if w.round.outcome.First != 2 {
		t.Errorf("first given up after %v s, want 2", w.round.outcome.First)
	}
	ended := &round{holders: map[string]int{"client": 7}, began: began, fault: record.Fault{Ends: "client"}}
	ended.miss("client", 7, 1, time.Now())
	if !ended.gaveUp.IsZero() {
		t.Error("what a process gives up that the fault ends is held against it")
	}
	early := &round{holders: map[string]int{"server": 7}}
	early.miss("server", 7, 1, time.Now())
	if !early.gaveUp.IsZero() {
		t.Error("what was given up before the fault is held against it")
	}
}

func TestInTransit(t *testing.T) {
	sample := func(queued ...int) []record.Sample {
		s := record.Sample{Role: "server", Sockets: []record.Socket{{State: "LISTEN", SendQ: 128}}}
		for i, n := range queued {
			s.Sockets = append(s.Sockets, record.Socket{Inode: uint64(100 + i), Local: "a", Remote: "b", State: "ESTABLISHED", SendQ: n})
		}
		return []record.Sample{s}
	}
	done := map[uint64]bool{}
	if got := inTransit(sample(0, 20), done); !strings.Contains(got, "server: 20 bytes from a to b") {
		t.Errorf("says %q of what is not acknowledged", got)
	}
	if got := inTransit(sample(20, 0), done); got != "" {
		t.Errorf("says %q, and each was acknowledged once", got)
	}
}

func TestWhatSurvivedIsWaitedFor(t *testing.T) {
	holds := record.Sample{Role: "server", PID: 7, FDs: []record.FD{{Number: 8, Target: "socket:[108]", Inode: 108}},
		Sockets: []record.Socket{{FD: 8, Inode: 108, State: "ESTABLISHED", Local: "10.0.0.1:4443", Remote: "10.0.0.2:40000"}}}
	gone := record.Sample{Role: "server", PID: 7}
	for _, c := range []struct {
		f       record.Sample
		survive bool
		want    bool
	}{{gone, false, true}, {holds, true, true}, {holds, false, false}} {
		r := round{window: record.Window{Survive: c.survive}, snapshots: map[string]*leak.Snapshots{"server": {B: gone, E: holds, F: c.f}}}
		if r.mayReturn() != c.want {
			t.Errorf("%+v: waits %v", c, !c.want)
		}
	}
}

// What the visitor's own kernel has taken of an upload has not come through.
func TestUploadThatIsStuck(t *testing.T) {
	w := sleepers(t)
	ln, err := w.Lab.Origin.Listen(t.Context(), netip.AddrPortFrom(w.Lab.OriginIP, 7000).String())
	if err != nil {
		t.Fatal(err)
	}
	w.origin = load.Serve(nil, ln)
	defer w.origin.Close()
	v, err := load.Open(t.Context(), w.Lab.Client.DialContext, load.Visit{Protocol: load.TCP, Address: ln.Addr().String(), Seed: 5, Flow: load.Upload})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	w.round = &round{visitors: []*load.Visitor{v}}
	flows := func(since map[*load.Visitor]int64, sent int64) bool {
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(poll) {
			if n, all := stuck(since, w.through()); n == 0 && all == 1 && v.Bytes() > sent {
				return true
			}
		}
		return false
	}
	if !flows(w.through(), v.Bytes()) {
		t.Fatal("nothing flows")
	}
	cable, err := w.Lab.End(lab.AtOrigin)
	if err != nil {
		t.Fatal(err)
	}
	if err := cable.Down(); err != nil {
		t.Fatal(err)
	}
	// What had passed the cable may still be read.
	for end := time.Now().Add(10 * time.Second); ; {
		then, sent := w.through(), v.Bytes()
		for v.Bytes() == sent && time.Now().Before(end) {
			time.Sleep(poll)
		}
		if n, all := stuck(then, w.through()); n == 1 && all == 1 && v.Bytes() > sent {
			return
		}
		if time.Now().After(end) {
			t.Fatal("an upload over a cable that is out is not stuck")
		}
	}
}
