package leak

import "github.com/halfopen/halfopen/harness/record"

// oneWay is the window of a path that is cut one way only. To the deaf end it is a
// silence like any other. The mute end hears the deaf one until that gives up:
//
//	deaf  <---- nothing ----  mute
//	deaf  ---- still heard -> mute
//
// A program that gives up closes its connection, and keepalive sends RST
// (tcp_send_active_reset): the mute end is told. The retransmission timer tells nobody
// (tcp_write_err); the silence of the mute end begins then, and has its own bound.
func oneWay(groups []Group, x Exposure) record.Window {
	x.Class = record.Silent
	w := WindowOf(groups, x)
	if w.Upper == never {
		return w
	}
	more := 0.0
	for _, r := range w.Rows {
		if r.Decides && (r.Detector == byUserTimeout || r.Detector == byRetries || r.Detector == byProbes) {
			more = max(more, r.Latest)
		}
	}
	w.Upper += more
	w.Deadline = w.Upper + w.Slack
	w.Last = max(2*w.Upper, w.Upper+10)
	return w
}
