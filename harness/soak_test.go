package harness

import (
	"strings"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

func TestClockJump(t *testing.T) {
	for _, c := range []struct{ wall, monotonic, want time.Duration }{
		{9 * time.Second, 9 * time.Second, 0},
		{9900 * time.Millisecond, 9 * time.Second, 0}, // a clock that is being slewed
		{time.Hour, 9 * time.Second, time.Hour - 9*time.Second},
		{-time.Minute, 9 * time.Second, -69 * time.Second},
	} {
		if got := clockJump(c.wall, c.monotonic); got != c.want {
			t.Errorf("%v by the wall, %v in truth: %v, want %v", c.wall, c.monotonic, got, c.want)
		}
	}
}

// What nothing on a target ends in bounded time is left out of its soak, and named.
func TestBouts(t *testing.T) {
	all := []fault.Fault{fault.Kill{Role: "client"}, fault.Freeze{Role: "client"}, fault.Unplug{At: lab.AtClient}}
	w := &World{suite: &Suite{Settings: record.Settings{KeepaliveIdle: 2, KeepaliveInterval: 1, KeepaliveCount: 3}}}
	bouts, left := w.bouts(all)
	for _, b := range bouts {
		if _, frozen := b.fault.(fault.Freeze); frozen {
			t.Error("a frozen peer has a window without a heartbeat")
		}
	}
	if len(bouts) == 0 || len(left)+len(bouts) != 2*len(all) || !strings.HasPrefix(left[0], "frozen at client, idle: nothing ends a connection in bounded time: ") {
		t.Errorf("%d bouts, left out: %q", len(bouts), left)
	}
	w.suite.Settings.HeartbeatInterval, w.suite.Settings.HeartbeatDeadline, w.suite.Settings.UserTimeout = 1, 5, 5
	w.suite.Settings.Flush = 2
	if bouts, left := w.bouts(all); len(bouts) != 2*len(all) {
		t.Errorf("with every detector %d bouts, left out: %q", len(bouts), left)
	}
}

// The line of a cycle says what is excluded so far; after a leak, nothing is.
func TestTallyLine(t *testing.T) {
	tl := tally{bad: map[record.Verdict]int{}, exposures: 600, faults: 6, end: time.Now().Add(time.Minute)}
	r := &round{fault: record.Fault{Name: "kill -9", Place: "client"}, traffic: idle}
	j := record.Judgement{Verdict: record.Pass, Exposures: 100, Returned: .1}
	if line := tl.line(6, r, j, time.Second); !strings.Contains(line, "600 exposures: < 1 in 200, 6 faults") {
		t.Error(line)
	}
	for i := range 90 {
		e := record.Event{At: time.Unix(int64(6*i), 0), Kind: record.KindReading, Reading: &record.Reading{
			Role: "server", PID: 7, Quiescent: true, Memory: record.Memory{HeapAlloc: 1e6, RssAnon: 1e7}, Took: float64(i) / 1000}}
		tl.readings = append(tl.readings, e)
	}
	if line := tl.line(90, r, j, time.Second); !strings.Contains(line, "; heap < ") || tl.grows() {
		t.Error(line)
	}
	if text := tl.observed(); !strings.Contains(text, "took 45 ms (median; 89 ms at most)") {
		t.Error(text)
	}
	j.Returned = -1
	if line := tl.line(90, r, j, time.Second); strings.Contains(line, "NOT GONE") || !strings.Contains(line, "none may be lost") {
		t.Error(line)
	}
	tl.bad[record.Leak]++
	j.Verdict, j.Reason, j.Returned = record.Leak, "held", -1
	if line := tl.line(91, r, j, time.Second); strings.Contains(line, "1 in 200") || !strings.Contains(line, "NOT GONE") || !strings.HasSuffix(line, "held") {
		t.Error(line)
	}
	for i := range tl.readings {
		tl.readings[i].Reading.Memory.HeapAlloc += int64(3000 * i)
	}
	if !tl.grows() {
		t.Error("3 KB a cycle are no growth")
	}
}
