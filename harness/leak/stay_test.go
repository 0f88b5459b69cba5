package leak

import (
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

// A process that does not end when it is told to is DEAD, whatever else was clean, and
// however long the machine let it wait: it had that time. A leak of its peer is worse. One
// that ends late is LATE, unless the machine is to blame.
func TestStayed(t *testing.T) {
	stays := record.Stay{Role: "client", PID: 9, After: 10.02, Within: 10, Waited: 0.02, Runs: "1 descriptor"}
	starved := stays
	starved.After, starved.Waited = 14, 4
	late, excused, tooLate := stays, starved, starved
	late.Runs, excused.Runs, tooLate.Runs = "", "", ""
	tooLate.After = 14.5
	for _, c := range []struct {
		name    string
		stay    record.Stay
		holds   bool
		verdict record.Verdict
		says    string
	}{
		{"stays", stays, false, record.Dead, "the client (pid 9) still ran 10 s after SIGTERM, and must end within 10 s; it was killed with 1 descriptor"},
		{"stays longer than the machine let it wait", starved, false, record.Dead, "still ran 14 s after SIGTERM, and must end within 10 s and the 4 s that the machine let it wait; it was killed"},
		{"is late", late, false, record.Late, "the client (pid 9) ended 10 s after SIGTERM, and must within 10 s"},
		{"is as late as the machine let it wait", excused, false, record.Inconclusive, "ended 14 s after SIGTERM"},
		{"is later than that", tooLate, false, record.Late, "ended 14.5 s after SIGTERM"},
		{"stays, and its peer holds a connection", stays, true, record.Leak, "outlived the window"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := healthy()
			r.Outcome.Stayed = &c.stay
			if c.holds {
				socket(8, 108, "10.0.0.1:4443", "10.0.0.2:40001", "ESTABLISHED")(&r.Processes[0].F)
			}
			j := Judge(r)
			if j.Verdict != c.verdict || !strings.Contains(j.Reason, c.says) {
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
