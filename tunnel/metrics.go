package tunnel

import (
	"errors"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// held is how much of each resource a server or a client holds now: what must
// come back to its base when all visitors and clients have left.
type held struct {
	Logins   int `json:"logins"`
	Names    int `json:"names"`
	Ports    int `json:"ports"`
	Sessions int `json:"sessions"`
	Draining int `json:"draining_sessions"` // of them, those that take no new streams
	Streams  int `json:"streams"`
	PreAuth  int `json:"pre_auth"` // connections that have not logged in yet
	Heads    int `json:"heads"`    // visitors without a stream, whose request head is awaited
	QueuedIn int `json:"queued_in_bytes"`
	QueueOut int `json:"queued_out_bytes"`
}

// add adds what a session holds.
func (h *held) add(s *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.Sessions++
	if s.away {
		h.Draining++
	}
	h.Streams += len(s.streams)
	h.QueuedIn += s.heldIn
	h.QueueOut += s.heldOut
}

// metrics are what /metrics shows: counters of events, and held at that moment.
// A nil metrics counts nothing.
type metrics struct {
	registry   *prometheus.Registry
	logins     prometheus.Counter
	reconnects prometheus.Counter
	requests   prometheus.Counter
	refusals   *prometheus.CounterVec // at: login, visitor, stream; reason
	deaths     *prometheus.CounterVec // detector
	resets     *prometheus.CounterVec // reason
	recycled   *prometheus.CounterVec // reason
	accepts    prometheus.Counter     // that failed
}

// newMetrics registers all of them. limits are shown beside what is held, by the
// name of the gauge that they bound.
func newMetrics(about func() held, limits map[string]int) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "tunnel_" + name + "_total", Help: help})
		m.registry.MustRegister(c)
		return c
	}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tunnel_" + name + "_total", Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	m.logins = counter("logins", "Logins that were accepted.")
	m.reconnects = counter("reconnects", "Waits before another attempt to reach the server.")
	m.requests = counter("requests", "HTTP requests that were passed on, and TCP visitors.")
	m.refusals = vector("refusals", "What was refused: logins, visitors (HTTP: by the status of their page), streams (by a client).", "at", "reason")
	m.deaths = vector("session_ends", "Ends of sessions, by what noticed.", "detector")
	m.resets = vector("stream_resets", "Streams that ended before both directions had.", "reason")
	m.recycled = vector("sessions_recycled", "Sessions that were replaced by a successor.", "reason")
	m.accepts = counter("accept_failures", "Connections that could not be accepted, for want of descriptors for example.")
	limit := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "tunnel_limit", Help: "The most there may be."}, []string{"of"})
	for of, n := range limits {
		limit.WithLabelValues(of).Set(float64(n))
	}
	m.registry.MustRegister(limit, gauges(about), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// gauges collects held when it is asked.
type gauges func() held

var gaugeDescs = []struct {
	desc  *prometheus.Desc
	value func(held) int
}{
	gauge("logins", "Logins.", func(h held) int { return h.Logins }),
	gauge("names", "Host names that are taken.", func(h held) int { return h.Names }),
	gauge("ports", "Public TCP ports that are open.", func(h held) int { return h.Ports }),
	gauge("sessions", "Sessions, with those that are drained.", func(h held) int { return h.Sessions }),
	gauge("draining_sessions", "Sessions that take no new streams.", func(h held) int { return h.Draining }),
	gauge("streams", "Streams.", func(h held) int { return h.Streams }),
	gauge("pre_auth_connections", "Connections that have not logged in yet.", func(h held) int { return h.PreAuth }),
	gauge("head_connections", "Visitors without a stream, whose request head is awaited: their first, or after their session was replaced.", func(h held) int { return h.Heads }),
	gauge("queued_in_bytes", "Bytes that wait for visitors or origins.", func(h held) int { return h.QueuedIn }),
	gauge("queued_out_bytes", "Bytes that wait for sessions.", func(h held) int { return h.QueueOut }),
}

func gauge(name, help string, value func(held) int) struct {
	desc  *prometheus.Desc
	value func(held) int
} {
	return struct {
		desc  *prometheus.Desc
		value func(held) int
	}{prometheus.NewDesc("tunnel_"+name, help, nil, nil), value}
}

// Describe is that of a prometheus.Collector.
func (gauges) Describe(descs chan<- *prometheus.Desc) {
	for _, g := range gaugeDescs {
		descs <- g.desc
	}
}

// Collect is that of a prometheus.Collector.
func (about gauges) Collect(values chan<- prometheus.Metric) {
	h := about()
	for _, g := range gaugeDescs {
		values <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, float64(g.value(h)))
	}
}

// handler answers /metrics.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// ended counts the end of a session.
func (m *metrics) ended(c cause) { m.deaths.WithLabelValues(c.detector).Inc() }

// reset counts a stream that was reset.
func (m *metrics) reset(code wire.Code) {
	if m != nil {
		m.resets.WithLabelValues(code.String()).Inc()
	}
}

// refused counts a login that was refused.
func (m *metrics) refused(err error) {
	reason := "handshake"
	if r := (*refusal)(nil); errors.As(err, &r) {
		reason = r.code.String()
	} else if errors.Is(err, errSeats) {
		reason = wire.Limit.String()
	}
	m.refusals.WithLabelValues("login", reason).Inc()
}

// refusedStream counts a stream that a client refused.
func (m *metrics) refusedStream(code wire.Code) {
	if m != nil {
		m.refusals.WithLabelValues("stream", code.String()).Inc()
	}
}
