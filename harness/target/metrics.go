package target

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// Metrics are those gauges of a process that must come back to their baseline, and the
// page, in Prometheus's text format, that tells them. The zero value: there are none.
type Metrics struct {
	URL    string  `yaml:"url"` // T; "http://127.0.0.1:9100/metrics" on its host
	Gauges []Gauge `yaml:"gauges"`
}

// Gauge is the sum of all series of one name that have these labels, whatever others
// they have.
type Gauge struct {
	Text   string // as the file has it: `conns`, `conns{kind="tcp"}`
	Name   string
	Labels map[string]string
}

// UnmarshalYAML reads a gauge as a line of the page has it, without a value.
func (g *Gauge) UnmarshalYAML(node *yaml.Node) error {
	if err := node.Decode(&g.Text); err != nil {
		return err
	}
	wrong := fmt.Errorf(`line %d: gauge %q: want a name, as conns, or one with labels, as 'conns{kind="tcp"}'`, node.Line, g.Text)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(g.Text + " 0\n"))
	if err != nil || len(families) != 1 {
		return wrong
	}
	for name, f := range families {
		series := f.GetMetric()
		// "conns 5" is a value, and the 0 its time.
		if len(series) != 1 || series[0].GetUntyped().GetValue() != 0 || series[0].TimestampMs != nil {
			return wrong
		}
		g.Name, g.Labels = name, map[string]string{}
		for _, l := range series[0].GetLabel() {
			g.Labels[l.GetName()] = l.GetValue()
		}
	}
	return nil
}

// check says what is wrong; filled is the URL with the values of an example.
func (m Metrics) check(filled string) error {
	if (m.URL == "") != (len(m.Gauges) == 0) {
		return errors.New("give both url and gauges, or leave it out")
	}
	if u, err := url.Parse(filled); m.URL != "" && (err != nil || u.Scheme != "http" || u.Port() == "") {
		return fmt.Errorf("url is %q: want http://ADDRESS:PORT/PATH", m.URL)
	}
	for i, g := range m.Gauges {
		if slices.ContainsFunc(m.Gauges[:i], func(o Gauge) bool { return o.Text == g.Text }) {
			return fmt.Errorf("gauge %s is named twice", g.Text)
		}
	}
	return nil
}
