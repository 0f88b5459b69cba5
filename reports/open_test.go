package reports

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/halfopen/halfopen/harness/record"
)

// longRound is one round of two hours at 250 ms: 28,800 readings of twelve series that
// never rest, the hardest to draw in few bytes.
func longRound(t testing.TB) *recordBuilder {
	b := newRecord(t).run("soak", "make soak DURATION=2h")
	b.begin("long", "Two hours without rest", "soak", "scenarios/soak_test.go", 30)
	noise := uint32(1)
	next := func() int {
		noise = noise*1664525 + 1013904223
		return int(noise >> 16 % 97)
	}
	states := []string{"ESTABLISHED", "CLOSE_WAIT", "FIN_WAIT1", "FIN_WAIT2", "LAST_ACK", "CLOSING", "SYN_SENT", "SYN_RECV"}
	b.add("long", 0, record.Event{Kind: record.KindFault, Fault: &record.Fault{ID: 1, Name: "kill -9", Place: "client", Class: record.Closed, Phase: "injected"}})
	for range 28_800 {
		p := record.Point{Role: "server", PID: 4121, FDs: next(), Survivors: next(), RssAnon: int64(next()) << 20, Sockets: map[string]int{}, Kernel: map[string]int{"TIME_WAIT": next()}}
		for _, state := range states {
			p.Sockets[state] = next()
		}
		b.add("long", 0, record.Event{Kind: record.KindPoint, Point: &p})
		b.pass(0.25)
	}
	b.end("long", "passed", "", 7200)
	return b.finish("done", 7200)
}

// BenchmarkOpenLongRun opens the page of the longest run in a browser. It says how many
// bytes the page has, and how long the browser took from the address to its load event
// and to the first text on the screen:
//
//	go test ./reports -run '^$' -bench OpenLongRun -benchtime 10x
func BenchmarkOpenLongRun(b *testing.B) {
	browser := chromium(b)
	dir := longRound(b).write()
	mustWrite(b, dir)
	file := filepath.Join(dir, PageName)
	info, err := os.Stat(file)
	if err != nil {
		b.Fatal(err)
	}
	var load, paint, charts, series float64
	for b.Loop() {
		tab, closeTab := chromedp.NewContext(browser)
		var got struct{ Load, Paint, Charts, Series float64 }
		err := chromedp.Do(tab,
			step(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: 1100, Height: 800, DeviceScaleFactor: 1}),
			chromedp.Navigate("file://"+file),
			into(&got, chromedp.Poll[struct{ Load, Paint, Charts, Series float64 }](`(() => {
				const [n] = performance.getEntriesByType("navigation"), [p] = performance.getEntriesByName("first-contentful-paint");
				return n && n.loadEventEnd && p ? {Load: n.loadEventEnd, Paint: p.startTime, Charts: document.querySelectorAll("svg.chart").length,
					Series: document.querySelectorAll("ul.keys li").length} : null; })()`)))
		closeTab()
		if err != nil {
			b.Fatal(err)
		}
		load, paint, charts, series = load+got.Load, math.Max(paint, got.Paint), got.Charts, got.Series
	}
	b.ReportMetric(float64(info.Size()), "bytes")
	b.ReportMetric(load/float64(b.N), "ms-to-load")
	b.ReportMetric(paint, "ms-to-text-at-most")
	b.ReportMetric(charts, "charts")
	b.ReportMetric(series, "series")
}
