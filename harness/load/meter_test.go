package load

import (
	"testing"
	"time"
)

// A second of a visitor that looks each 10 ms keeps to the rate; one that stood still in the
// middle of it has lost that time, but for the burst.
func TestMeter(t *testing.T) {
	const rate, size = 1e6, 1000
	for _, c := range []struct {
		name      string
		rate      float64
		still     time.Duration
		low, high int // bytes
	}{
		{"keeps to its rate", rate, 0, 950_000, 1_100_000},
		{"does not make up for a pause", rate, 500 * time.Millisecond, 450_000, 600_000},
		{"has no limit", 0, 0, 100 * rate, 100 * rate},
	} {
		m, got := &meter{rate: c.rate}, 0
		begin := time.Unix(1000, 0)
		now := begin
		paused := c.still == 0
		for now.Before(begin.Add(time.Second)) && got < 100*rate {
			if !paused && now.Sub(begin) > 200*time.Millisecond {
				paused, now = true, now.Add(c.still)
			}
			got += size
			if wait := m.take(size, now); wait > 0 {
				now = now.Add(wait)
			}
		}
		if got < c.low || got > c.high {
			t.Errorf("a visitor that %s took %d bytes in a second, want %d to %d", c.name, got, c.low, c.high)
		}
	}
}
