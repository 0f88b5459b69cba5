package harness

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/harness/target"
)

// clientOf gives a World of sleepers a target whose clients are that script, and nothing to
// visit: who has printed "ready" has served.
func clientOf(t *testing.T, script string) *World {
	t.Helper()
	w := sleepers(t)
	w.round = &round{injected: true, healedAt: time.Now(), fault: record.Fault{Name: "a fault", Bit: true, Exposures: 1}}
	program := target.Program{Command: []string{"sh", "-c", script}, Ready: target.Ready{Log: "ready"}}
	var err error
	if w.deployment, err = (&target.Target{Client: program}).Deploy(w.Lab, nil, t.TempDir(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	return w
}

// How long a new client takes to leave is none of its service, and is told of as what it is.
func TestLeavingIsNoService(t *testing.T) {
	for _, c := range []struct {
		name, script string
		goodbye      time.Duration
		stays        bool
	}{
		{"at once", "echo ready; exec sleep 1000", time.Minute, false},
		{"never", "trap '' TERM; echo ready; exec sleep 1000", 300 * time.Millisecond, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := clientOf(t, c.script)
			began := time.Now()
			services := w.serve(60, c.goodbye)
			took, o := time.Since(began), w.round.outcome
			if len(services) != 2 || !services[0].OK || !services[1].OK {
				t.Errorf("they are not served: %+v", services)
			}
			if after := seconds(services[1].After); c.stays && took-after < c.goodbye {
				t.Errorf("served after %v of %v: the goodbye is in it", after, took)
			}
			if (o.Stayed != nil) != c.stays || c.stays && (o.Stayed.Role != "newcomer" || o.Stayed.Runs == "") {
				t.Errorf("stayed: %+v, want %v", o.Stayed, c.stays)
			}
			if o.Died != "" {
				t.Error(o.Died)
			}
		})
	}
}

// A new client that leaves late on a machine that stood still is not to blame.
func TestLateGoodbyeOfTheStarved(t *testing.T) {
	w := clientOf(t, "trap '' TERM; echo ready; exec sleep 1000")
	guest, err := w.welcome(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	w.farewell(guest, time.Nanosecond, func() float64 {
		_ = unix.Kill(guest.PID(), unix.SIGKILL) // it ends while it has the machine's time; again, it has ended
		return 60
	})
	j := leak.Judge(leak.Round{Fault: w.round.fault, Outcome: w.round.outcome, Window: record.Window{May: true}})
	if j.Verdict != record.Inconclusive || !strings.Contains(j.Reason, "after SIGTERM") {
		t.Errorf("%s: %s, want %s", j.Verdict, j.Reason, record.Inconclusive)
	}
}

// A new client that ends by itself once it has served has died, like any other.
func TestNewClientDies(t *testing.T) {
	w := clientOf(t, "echo ready; exec sleep 1000")
	guest, err := w.welcome(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := crash(&Process{Instance: guest}); err != nil {
		t.Fatal(err)
	}
	w.farewell(guest, time.Minute, w.since())
	if want := "the newcomer ended by itself: signal: user defined signal 1: ready"; w.round.outcome.Died != want || w.round.outcome.Stayed != nil {
		t.Errorf("%q, want %q (%+v)", w.round.outcome.Died, want, w.round.outcome.Stayed)
	}
}
