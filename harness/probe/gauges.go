package probe

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/halfopen/halfopen/harness/record"
)

// Gauge is the sum of all series of one name that have these labels, whatever others
// they have.
type Gauge struct {
	Text   string // for the record
	Name   string
	Labels map[string]string
}

// gauged finds where the gauges are told. Where pprof is told there too, they come by the
// same connection.
func (o *Observer) gauged() error {
	if o.process.Metrics == "" {
		return nil
	}
	u, err := url.Parse(o.process.Metrics)
	if err != nil || u.Scheme != "http" {
		return fmt.Errorf("read gauges: %q is no URL of http", o.process.Metrics)
	}
	o.page = u.RequestURI()
	if o.metrics = o.pprof; u.Host != o.process.Pprof {
		o.metrics = &client{host: o.process.Host, address: u.Host}
	}
	return nil
}

// gauges reads the gauges. One that the page lacks, or that is no count, says so itself; a
// page that does not come, or cannot be read, is an error.
func (o *Observer) gauges(ctx context.Context) ([]record.Gauge, error) {
	body, err := o.metrics.get(ctx, http.MethodGet, o.page)
	if o.metrics != o.pprof {
		o.metrics.drop() // kept, it would be a goroutine of the target that nobody takes out
	}
	if err != nil {
		return nil, fmt.Errorf("read gauges: %w", err)
	}
	found, err := parseGauges(body, o.process.Gauges)
	if err != nil {
		return nil, fmt.Errorf("read gauges: GET %s: %w", o.process.Metrics, err)
	}
	return found, nil
}

// parseGauges reads the wanted gauges from a page in Prometheus's text format.
func parseGauges(page []byte, wanted []Gauge) ([]record.Gauge, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	if err != nil {
		return nil, err
	}
	found := make([]record.Gauge, 0, len(wanted))
	for _, g := range wanted {
		found = append(found, g.sum(families[g.Name]))
	}
	return found, nil
}

// sum adds up the gauge's series of its family, which is nil where the page has none.
func (g Gauge) sum(f *dto.MetricFamily) record.Gauge {
	found := record.Gauge{Name: g.Text, Trouble: "is not on the page"}
	for _, m := range f.GetMetric() {
		if !g.fits(m) {
			continue
		}
		var v float64
		switch f.GetType() {
		case dto.MetricType_GAUGE:
			v = m.GetGauge().GetValue()
		case dto.MetricType_UNTYPED:
			v = m.GetUntyped().GetValue()
		default:
			return record.Gauge{Name: g.Text, Trouble: fmt.Sprintf("is a %s: only gauges come back to a baseline", strings.ToLower(f.GetType().String()))}
		}
		if !(v >= 0 && v < 1<<53) || v != math.Trunc(v) { // NaN, too
			return record.Gauge{Name: g.Text, Trouble: fmt.Sprintf("is %v, which counts nothing", v)}
		}
		found.Value, found.Trouble = found.Value+int(v), ""
	}
	return found
}

// fits says whether a series has the gauge's labels.
func (g Gauge) fits(m *dto.Metric) bool {
	left := len(g.Labels)
	for _, l := range m.GetLabel() {
		if want, ok := g.Labels[l.GetName()]; ok && want == l.GetValue() {
			left--
		}
	}
	return left == 0
}
