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
			}
			e := record.Event{At: time.Now(), Kind: record.KindPoint, Spec: w.id, Cycle: r.cycle, Point: &point}
			if w.suite.record.Write(e) != nil {
				return // the next event of the spec itself fails on it
			}
		}
	}
}

// timeline is the time between two points.
const timeline = 250 * time.Millisecond

// stopSampler ends the timeline; it may be called again.
func (r *round) stopSampler() {
	r.once.Do(func() { close(r.stop) })
	<-r.stopped
}
