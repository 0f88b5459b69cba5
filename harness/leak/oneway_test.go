package leak

import (
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

func TestOneWay(t *testing.T) {
	kernel := without(testSettings, func(s *record.Settings) { s.HeartbeatInterval, s.HeartbeatDeadline = 0, 0 })
	keepaliveAlone := without(kernel, func(s *record.Settings) { s.UserTimeout = 0 })
	for _, c := range []struct {
		name     string
		settings record.Settings
		busy     bool
		times    float64 // how often the upper bound of a silence
	}{
		{"the program closes, and its peer is told", testSettings, true, 1},
		{"keepalive sends RST", keepaliveAlone, false, 1},
		{"the user timeout tells nobody", kernel, true, 2},
	} {
		x := Exposure{Class: record.Silent, Busy: c.busy}
		silent := WindowOf(Stated(c.settings, x), x)
		x.Class = record.OneWay
		w := WindowOf(Stated(c.settings, x), x)
		if w.Upper != c.times*silent.Upper || w.Deadline != w.Upper+Slack || w.Last < w.Upper+10 || w.Lower != silent.Lower {
			t.Errorf("%s: window %+v, of a silence %+v", c.name, w, silent)
		}
		x.Class = record.Spared
		if w := WindowOf(Stated(c.settings, x), x); !w.Survive || w.Upper != silent.Upper {
			t.Errorf("%s: what is spared has the window %+v", c.name, w)
		}
	}
	none := Exposure{Class: record.OneWay}
	if w := WindowOf(Stated(record.Settings{}, none), none); w.Upper != never {
		t.Errorf("without detectors: %+v", w)
	}
}

func TestLongestSilence(t *testing.T) {
	for _, c := range []struct {
		beat, idle float64
		count      int
		want       float64
	}{{1, 2, 3, 1}, {5, 2, 3, 2}, {0, 2, 3, 2}, {0, 2, 0, 0}, {3, 0, 0, 3}} {
		s := record.Settings{HeartbeatInterval: c.beat, KeepaliveIdle: c.idle, KeepaliveCount: c.count}
		if got := LongestSilence(s); got != c.want {
			t.Errorf("heartbeat %v, keepalive %v x %d: silence %v, want %v", c.beat, c.idle, c.count, got, c.want)
		}
	}
}

func TestUnfinished(t *testing.T) {
	x := Exposure{Class: record.Unfinished, Edge: "server"}
	w := WindowOf(Stated(testSettings, x), x)
	if w.Upper != testSettings.Handshake || w.Lower != 0 || w.Deadline != w.Upper+Slack {
		t.Errorf("window %+v, want the handshake's deadline", w)
	}
	without := testSettings
	without.Handshake = 0
	groups := Stated(without, x)
	if w := WindowOf(groups, x); w.Upper != never || !strings.Contains(Unbounded(groups, x), "no handshake deadline") {
		t.Errorf("window %+v, %q", w, Unbounded(groups, x))
	}
}
