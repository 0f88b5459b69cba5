package reports

import (
	"math"
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

func TestDecimateKeepsPeaks(t *testing.T) {
	l := line{base: math.NaN(), breaks: []int{15000}}
	for i := range 28800 {
		v := 7.0
		switch i {
		case 12345:
			v = 99
		case 20000:
			v = 1
		}
		l.x, l.y = append(l.x, float64(i)), append(l.y, v)
	}
	d := l.decimate(axis{from: 0, to: 28800})
	if len(d.x) > 4*columns+4 {
		t.Errorf("%d points are left", len(d.x))
	}
	least, most := math.Inf(1), math.Inf(-1)
	for i, v := range d.y {
		least, most = min(least, v), max(most, v)
		if i > 0 && d.x[i] <= d.x[i-1] {
			t.Fatalf("time goes back at %d", i)
		}
	}
	if least != 1 || most != 99 || len(d.breaks) != 1 {
		t.Errorf("least %v, greatest %v, breaks %v", least, most, d.breaks)
	}
}

func TestFillShowsOnlyWhatStaysAfterTheHeal(t *testing.T) {
	a := axis{from: 0, to: 10, excessFrom: 4, healedAt: 6}
	fill := func(y ...float64) bool {
		l := line{base: 3, excess: math.NaN(), fill: true, x: []float64{0, 3, 7, 9, 10}, y: y}
		var b strings.Builder
		l.drawFill(&b, a, func(v float64) float64 { return -v })
		return b.Len() > 0
	}
	for _, c := range []struct {
		what string
		y    []float64
		want bool
	}{
		{"back at once", []float64{9, 3, 3, 3, 3}, false},
		{"held in the window", []float64{9, 4, 3, 3, 3}, true},
		{"load after the heal", []float64{9, 0, 9, 9, 3}, false},
		{"stays after the heal", []float64{9, 0, 9, 4, 4}, true},
	} {
		if got := fill(c.y...); got != c.want {
			t.Errorf("%s: filled %v, want %v", c.what, got, c.want)
		}
	}
}

func TestNoPidStepAcrossARestart(t *testing.T) {
	b := leakRun(t)
	s := tell(b.events, false)
	for _, sp := range s.specs {
		if sp.id == "leaky" {
			l := sp.rounds[0].series("client", func(p record.Point) (float64, bool) { return float64(p.FDs), true }, nil)
			if len(l.breaks) != 1 {
				t.Errorf("breaks %v, want one: the client was restarted once", l.breaks)
			}
			return
		}
	}
	t.Fatal("no spec leaky")
}

func TestWhatTheJudgeClearedIsNotFilled(t *testing.T) {
	r := &round{verdict: record.Leak, judgements: []record.Judgement{{Verdict: record.Leak, Table: []record.Row{
		{Role: "server", Resource: "fds", OK: true}, {Role: "server", Resource: "goroutines"}}}}}
	for resource, want := range map[string]bool{"fds": false, "goroutines": true, "sockets CLOSE_WAIT": true} {
		if r.guilty("server", resource) != want {
			t.Errorf("%s: guilty %v", resource, !want)
		}
	}
	if r.verdict = record.Pass; r.guilty("server", "sockets CLOSE_WAIT") {
		t.Error("a pass has something filled")
	}
}

func TestScaleEndsAndHoldsItsTicks(t *testing.T) {
	for _, top := range []float64{0, 1, 3, 4, 7, 24, 99, 1000, 1e9, 1e300, math.Inf(1)} {
		p := panel{lines: []line{{y: []float64{top}, base: math.NaN()}}}
		scale, ticks := p.yScale()
		if scale < top || len(ticks) < 1 || len(ticks) > 6 {
			t.Errorf("top %v: scale %v, ticks %v", top, scale, ticks)
		}
	}
}

func TestOwnFrames(t *testing.T) {
	for name, want := range map[string]bool{
		"runtime.gopark": false, "internal/poll.(*FD).Read": false, "net.(*conn).Read": false, "crypto/tls.(*Conn).Read": false,
		"vendor/golang.org/x/net/http.x": false, "golang.org/x/net/http2.(*Framer).ReadFrame": false, "sync.OnceFunc[github.com/a/b.T].func1": false,
		"main.main": true, "tunnel.(*session).pumpUp": true, "github.com/a/b.F": true, "go.uber.org/zap.New": true, "main.F[net/http.X]": true,
	} {
		if own(name) != want {
			t.Errorf("own(%q) = %v", name, !want)
		}
	}
	for name, want := range map[string]string{
		"github.com/a/b/tunnel.(*session).read": "tunnel.(*session).read", "main.F[net/http.X]": "main.F[net/http.X]", "a/b.F[c/d.T].func1": "b.F[c/d.T].func1", "": "",
	} {
		if got := shortFunc(name); got != want {
			t.Errorf("shortFunc(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestWords(t *testing.T) {
	for in, want := range map[float64]string{0: "0 s", 0.31: "0.31 s", 5.25: "5.2 s", 42: "42 s", 131: "131 s", 750: "12 min 30 s", 18000: "5 h 00 min", -5: "−5 s"} {
		if got := seconds(in); got != want {
			t.Errorf("seconds(%v) = %q, want %q", in, got, want)
		}
	}
	for _, c := range []struct {
		l    record.Limit
		want string
	}{
		{record.Limit{Value: 0.00499, Per: "exposure"}, "1 of 200 exposures"},
		{record.Limit{Value: 0.95, Per: "fault event"}, "95 % of the fault events"},
	} {
		if got := shareWords(c.l); got != c.want {
			t.Errorf("shareWords = %q, want %q", got, c.want)
		}
	}
	if got := thousands(1234567); got != "1\u202f234\u202f567" {
		t.Errorf("thousands = %q", got)
	}
}

func TestCleanText(t *testing.T) {
	for in, want := range map[string]string{"a\tb\n": "a\tb\n", "a\r\nb": "a\nb", "\x00\x1b[1m": "\ufffd\ufffd[1m", "\xff": "\ufffd", "x\u202ey": "x\ufffdy", "ä€": "ä€"} {
		events := []record.Event{{Load: &record.Load{Visitors: map[string]int{in: 1}, Traffic: in}}}
		clean(events)
		if got := events[0].Load; got.Traffic != want || got.Visitors[want] != 1 {
			t.Errorf("clean(%q) = %q and %v, want %q", in, got.Traffic, got.Visitors, want)
		}
	}
}

// Twelve series of 28,800 readings that never rest, two hours at 250 ms, stay below what
// a page may weigh.
func TestLongSeriesStaySmall(t *testing.T) {
	a := axis{from: 0, to: 7200, excessFrom: math.Inf(1), healedAt: math.Inf(1)}
	var panels []panel
	state := uint32(1)
	for range 12 {
		l := line{name: "noise", class: "k-blue", base: 3, excess: math.NaN()}
		for i := range 28800 {
			state = state*1664525 + 1013904223
			l.x, l.y = append(l.x, float64(i)/4), append(l.y, float64(state>>16%97))
		}
		panels = append(panels, panel{title: "noise", height: 96, show: counts, lines: []line{l}})
	}
	size := len(styleText) + len(scriptText)
	for _, d := range drawPanels(a, panels) {
		size += len(d.SVG)
	}
	if t.Logf("%d bytes", size); size > 400_000 {
		t.Errorf("%d bytes", size)
	}
}
