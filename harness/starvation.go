package harness

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
)

// Starvation measures how long this machine let a ready thread wait: a ticker on a
// locked thread, which the target's own threads compete with. A target that is late
// on a machine that stood still is not to blame.
type Starvation struct {
	stop, stopped chan struct{}
	longest       time.Duration
	waited        atomic.Int64 // nanoseconds, all waits together
	pressure      time.Duration
	began         time.Time
}

// beat is the ticker's interval. A wait below prompt is a timer's own slack.
const (
	beat   = 10 * time.Millisecond
	prompt = 2 * time.Millisecond
)

// StartStarvation begins to measure. End it.
func StartStarvation() *Starvation {
	s := &Starvation{stop: make(chan struct{}), stopped: make(chan struct{}), began: time.Now(), pressure: cpuPressure()}
	go func() {
		defer close(s.stopped)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for last := time.Now(); ; {
			select {
			case <-s.stop:
				return
			default:
			}
			time.Sleep(beat)
			now := time.Now()
			if wait := now.Sub(last) - beat; wait > prompt {
				s.longest = max(s.longest, wait)
				s.waited.Add(int64(wait))
			}
			last = now
		}
	}()
	return s
}

// Waited is the sum of all waits so far, in seconds: what a chain of as many steps
// lost, each of which another thread had to take. A target takes many to let go of a
// connection: no single wait says how late that may make it.
func (s *Starvation) Waited() float64 { return time.Duration(s.waited.Load()).Seconds() }

// End stops the measurement: the longest wait in seconds, and the share of the time
// in which some thread of the machine waited for a CPU (/proc/pressure/cpu, "some";
// 0 where the kernel does not tell).
func (s *Starvation) End() (longest, pressure float64) {
	close(s.stop)
	<-s.stopped
	waited := cpuPressure() - s.pressure
	return s.longest.Seconds(), waited.Seconds() / time.Since(s.began).Seconds()
}

// starve measures anew how long the machine lets threads wait, and says how long it did
// while it was measured before, in seconds.
func (r *round) starve() (before float64) {
	if r.starved != nil {
		before = r.starved.Waited()
		r.starved.End()
	}
	r.starved = StartStarvation()
	return before
}

// withWaits is what came of do, and how long the machine let threads wait meanwhile, all waits
// together, in seconds.
func withWaits(do func() error) (waited float64, err error) {
	s := StartStarvation()
	defer s.End()
	err = do()
	return s.Waited(), err
}

// excuse says before what failed that the machine stood still meanwhile, if it did: a target
// with no time to run may look as if it cut its visitors off. Of many who were cut off, the
// last lines may not be shown.
func excuse(err error, waited float64) error {
	if text := leak.StoodStill(record.Outcome{Waited: waited}); err != nil && text != "" {
		return fmt.Errorf("%s: %w", text, err)
	}
	return err
}

// cpuPressure is the total of /proc/pressure/cpu.
// https://docs.kernel.org/accounting/psi.html
func cpuPressure() time.Duration {
	text, err := os.ReadFile("/proc/pressure/cpu")
	if err != nil {
		return 0
	}
	_, total, _ := strings.Cut(string(text), "total=")
	var microseconds int64
	if _, err := fmt.Sscan(total, &microseconds); err != nil {
		return 0
	}
	return time.Duration(microseconds) * time.Microsecond
}
