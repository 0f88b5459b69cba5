package leak

import (
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

// A process that does not end when it is told to is DEAD, whatever else was clean; a leak
// of its peer is worse; a machine that let it wait proves nothing.
func TestStayed(t *testing.T) {
	const says = "the client (pid 9) still ran 10 s after SIGTERM, and must end within 10 s; it was killed with 1 descriptor"
	for _, c := range []struct {
		name    string
		waited  float64
		holds   bool
		verdict record.Verdict
		says    string
	}{
		{"stays", 0.1, false, record.Dead, says},
		{"stays on a machine that let it wait", 0.6, false, record.Inconclusive, says},
		{"stays, and its peer holds a connection", 0.1, true, record.Leak, "outlived the window"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := healthy()
			r.Outcome.Waited = c.waited
			r.Outcome.Stayed = &record.Stay{Role: "client", PID: 9, After: 10.02, Within: 10, Waited: c.waited, Runs: "1 descriptor"}
			if c.holds {
				socket(8, 108, "10.0.0.1:4443", "10.0.0.2:40001", "ESTABLISHED")(&r.Processes[0].F)
			}
			if j := Judge(r); j.Verdict != c.verdict || !strings.Contains(j.Reason, c.says) {
				t.Errorf("%s: %s, want %s: %s", j.Verdict, j.Reason, c.verdict, c.says)
			}
		})
	}
}

func TestRuns(t *testing.T) {
	got := Runs(holdings(0, goroutine(7, "select (no cases)", nil, own+"(*Server).park")))
	if want := "1 descriptor, 1 socket, 2 goroutines, main in tunnel.(*Server).accept server.go:10, created by tunnel.(*Server).accept server.go:88 [IO wait]"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
