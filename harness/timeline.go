package harness

import (
	"maps"
	"time"

	"github.com/halfopen/halfopen/harness/record"
)

// sample writes the timeline of a round until it is stopped.
func (w *World) sample(r *round) {
	defer close(r.stopped)
	tick := time.NewTicker(timeline)
	defer tick.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-tick.C:
		}
		w.mu.Lock()
		server, client := w.Server, w.Client
		exposed := maps.Clone(r.exposed)
		w.mu.Unlock()
		for _, p := range []*Process{server, client} {
			point, err := p.Point(w.ctx)
			if err != nil {
				continue // gone, or about to be replaced: the timeline has a gap there
			}
			if inodes := exposed[p.Role]; inodes != nil {
				if point.Survivors, err = p.Holds(inodes); err != nil {
					continue
				}
				w.mu.Lock()
				r.miss(p.Role, point.PID, len(inodes)-point.Survivors, time.Now())
				w.mu.Unlock()
			}
			e := record.Event{At: time.Now(), Kind: record.KindPoint, Spec: w.id, Cycle: r.cycle, Point: &point}
			if w.suite.record.Write(e) != nil {
				return // the next event of the spec itself fails on it
			}
		}
	}
}

// miss notes when exposed connections were first seen to be fewer, after the fault has
// begun: a story may do much before it settles. A process that came in the place of the
// one that held them has lost none, and one that the fault itself ends is not asked why
// it closes them, though it may take a moment to be gone.
func (r *round) miss(role string, pid, gone int, at time.Time) {
	if gone == 0 || pid != r.holders[role] || r.began.IsZero() || !r.gaveUp.IsZero() {
		return
	}
	if role != r.fault.Ends {
		r.gaveUp = at
	}
}

// first notes when the first exposed connection was given up, once: as the timeline has
// it, or just now, if there are fewer.
func (w *World) first(fewer bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.round
	switch {
	case r.outcome.First >= 0:
	case !r.gaveUp.IsZero():
		r.outcome.First = r.gaveUp.Sub(r.began).Seconds()
	case fewer:
		r.outcome.First = time.Since(r.began).Seconds()
	}
}

// timeline is the time between two points.
const timeline = 250 * time.Millisecond

// stopSampler ends the timeline; it may be called again.
func (r *round) stopSampler() {
	r.once.Do(func() { close(r.stop) })
	<-r.stopped
}
