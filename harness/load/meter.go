package load

import "time"

// meter lets so many bytes a second pass. Who comes late has the right to a burst, and no
// more: what was not there to be taken in time is lost, and cannot be made up for later.
type meter struct {
	rate float64 // 0: all
	due  time.Time
}

// burst is for how long a visitor that stood still may make up.
const burst = 50 * time.Millisecond

// take tells how long to wait after n bytes.
func (m *meter) take(n int, now time.Time) time.Duration {
	if m.rate == 0 {
		return 0
	}
	if early := now.Add(-burst); m.due.Before(early) {
		m.due = early
	}
	m.due = m.due.Add(time.Duration(float64(n) / m.rate * float64(time.Second)))
	return m.due.Sub(now)
}
