package probe

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

// A page as client_golang writes it.
const metricsPage = `# HELP pool_open Connections.
# TYPE pool_open gauge
pool_open{db="a",kind="idle"} 3
pool_open{db="b",kind="idle"} 4
pool_open{db="b",kind="busy"} 2
# HELP go_goroutines Number of goroutines that currently exist.
# TYPE go_goroutines gauge
go_goroutines 9
# TYPE big gauge
big 1.048576e+06
# TYPE requests_total counter
requests_total 17
# TYPE latency summary
latency{quantile="0.5"} 0.1
latency_sum 1
latency_count 10
# TYPE lost gauge
lost NaN
# TYPE below gauge
below{way="in"} 7
below{way="out"} -1
# TYPE load gauge
load 0.25
# TYPE endless gauge
endless +Inf
plain 5
`

func TestParseGauges(t *testing.T) {
	db := func(name string) map[string]string { return map[string]string{"db": name} }
	for _, c := range []struct {
		gauge   Gauge
		value   int
		trouble string
	}{
		{Gauge{Name: "go_goroutines"}, 9, ""},
		{Gauge{Name: "plain"}, 5, ""},
		{Gauge{Name: "big"}, 1 << 20, ""},
		{Gauge{Name: "pool_open"}, 9, ""},
		{Gauge{Name: "pool_open", Labels: db("b")}, 6, ""},
		{Gauge{Name: "pool_open", Labels: db("c")}, 0, "is not on the page"},
		{Gauge{Name: "pool"}, 0, "is not on the page"},
		{Gauge{Name: "requests_total"}, 0, "is a counter: only gauges come back to a baseline"},
		{Gauge{Name: "latency"}, 0, "is a summary: only"},
		{Gauge{Name: "lost"}, 0, "is NaN, which counts nothing"},
		{Gauge{Name: "below"}, 0, "is -1, which counts nothing"},
		{Gauge{Name: "load"}, 0, "is 0.25, which counts nothing"},
		{Gauge{Name: "endless"}, 0, "is +Inf, which counts nothing"},
	} {
		c.gauge.Text = c.gauge.Name
		got, err := parseGauges([]byte(metricsPage), []Gauge{c.gauge})
		if err != nil || len(got) != 1 || got[0].Name != c.gauge.Name || got[0].Value != c.value || !strings.HasPrefix(got[0].Trouble, c.trouble) || (c.trouble == "") != (got[0].Trouble == "") {
			t.Errorf("%s %v: %+v (%v)", c.gauge.Name, c.gauge.Labels, got, err)
		}
	}
	if _, err := parseGauges([]byte("<html>"), nil); err == nil {
		t.Error("a page that is not in the format is read")
	}
}

// Gauges come with a Sample, from beside pprof or from a page of their own, and what it
// costs to read them is not the target's. A page that is missing is an error that names it.
func TestGauges(t *testing.T) {
	c := start(t)
	p := c.process("server")
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RequestURI() != "/metrics?all=1" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(metricsPage))
	})
	elsewhere := httptest.NewServer(page)
	defer elsewhere.Close()
	p.Gauges = []Gauge{{Text: "pool", Name: "pool_open"}, {Text: "none", Name: "none"}}
	p.Metrics = elsewhere.URL + "/metrics?all=1"
	o := observe(t, p)
	want := []record.Gauge{{Name: "pool", Value: 9}, {Name: "none", Trouble: "is not on the page"}}
	for range 3 {
		if s := sample(t, o); !slices.Equal(s.Gauges, want) {
			t.Errorf("gauges are %+v", s.Gauges)
		}
	}
	p.Metrics = elsewhere.URL + "/elsewhere"
	if s, err := observe(t, p).Sample(t.Context()); err == nil || !strings.Contains(err.Error(), "read gauges: GET "+p.Metrics+": answered with 404") || len(s.FDs) == 0 {
		t.Errorf("sample without a page: %v", err)
	}
	elsewhere.Close()
	if _, err := o.Sample(t.Context()); err == nil || !strings.Contains(err.Error(), "read gauges: GET "+elsewhere.URL+"/metrics?all=1: ") {
		t.Errorf("sample of a page that nobody serves: %v", err)
	}
}

// This process tells both pprof and gauges, at one address or at two: what holds the
// observer's connections is in no sample.
func TestGaugesCostNothing(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/debug/", http.DefaultServeMux) // the child's import registers pprof there
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(metricsPage)) })
	one, two := httptest.NewServer(mux), httptest.NewServer(mux)
	defer one.Close()
	defer two.Close()
	dials := 0
	counted := dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
		dials++
		return here{}.DialContext(ctx, network, address)
	})
	for _, c := range []struct {
		page  string
		dials int
	}{{one.URL, 1}, {two.URL, 4}} {
		dials = 0
		o := observe(t, Process{Role: "server", PID: os.Getpid(), Host: counted, Pprof: strings.TrimPrefix(one.URL, "http://"),
			Metrics: c.page + "/metrics", Gauges: []Gauge{{Text: "plain", Name: "plain"}}})
		for range 3 {
			s := sample(t, o)
			if slices.ContainsFunc(s.Goroutines, func(g record.Goroutine) bool { return within(g.Frames, "net/http.(*conn).serve") }) {
				t.Errorf("%s: what serves the observer is in a sample", c.page)
			}
			if p, err := o.Point(t.Context()); err != nil || p.Sockets["ESTABLISHED"] != 0 {
				t.Errorf("%s: %+v (%v)", c.page, p, err)
			}
			if !eventually(func() bool { return serving() == 1 }) { // pprof's is kept
				t.Errorf("%s: %d connections are served", c.page, serving())
			}
		}
		if dials != c.dials {
			t.Errorf("%s: %d connections, want %d", c.page, dials, c.dials)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
		if !eventually(func() bool { return serving() == 0 }) {
			t.Errorf("%s: %d connections are served after the observer's end", c.page, serving())
		}
	}
}

// serving counts the connections that this process serves by HTTP.
func serving() int {
	buf := make([]byte, 1<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), "net/http.(*conn).serve(")
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

func (dialer) Do(fn func() error) error { return fn() }
func (d dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return d(ctx, network, address)
}
