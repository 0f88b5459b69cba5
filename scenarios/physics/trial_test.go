package physics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
)

// trial is one measurement.
type trial struct {
	row, name string
	lab       lab.Topology                             // Direct if nil
	sysctls   map[string]string                        // of both hosts, "tcp_retries2": set before there are sockets
	here      record.Settings                          // of the end that is measured
	there     record.Settings                          // of the other
	x         leak.Exposure                            // Class Silent if it has none
	residue   leak.Leftover                            // what is measured is what the kernel keeps after a close
	process   bool                                     // the other end is a process of its own
	deaf      bool                                     // the other end reads nothing
	echo      bool                                     // the other end sends back what it reads
	do        func(ctx context.Context, p *pair) error // strikes, once, by p.strike
	watch     time.Duration                            // of those that live: how long they are watched at least
	slow      bool
	order     int
}

// patience is how long beyond its bound a connection is waited for, to tell by how much it
// was late.
const patience = 5 * time.Second

// tried counts the trials, in the order of the files.
var tried int

// try makes specs of trials.
func try(trials ...trial) {
	for _, t := range trials {
		tried++
		t.order = tried
		labels := ginkgo.Label("scaled")
		if t.slow {
			labels = ginkgo.Label("slow")
		}
		ginkgo.It(t.row+": "+t.name, labels, func(ctx ginkgo.SpecContext) {
			if err := t.measure(ctx); err != nil {
				ginkgo.Fail(err.Error())
			}
		})
	}
}

// window is what the judge says of the trial.
func (t trial) window() (w record.Window, formula string) {
	if t.residue != "" {
		ns := record.Namespace{FinTimeout: 60}
		_, _ = fmt.Sscan(t.sysctls["tcp_orphan_retries"], &ns.OrphanRetries) // 0 is the default, too
		_, _ = fmt.Sscan(t.sysctls["tcp_fin_timeout"], &ns.FinTimeout)
		b := leak.ResidueOf(t.settings(), ns, t.residue)
		return record.Window{Upper: b.Latest, Lower: b.Earliest}, b.Formula
	}
	x := t.x
	if x.Class == "" {
		x.Class = record.Silent
	}
	x.Without = "client" // the other end, which is not asked
	w = leak.WindowOf(leak.Stated(t.settings(), x), x)
	if t.slow && w.Upper < 0 { // beyond what a story waits for: the formula all the same
		for _, r := range w.Rows {
			if r.Latest >= 0 && (w.Upper < 0 || r.Latest < w.Upper) {
				w.Upper, formula = r.Latest, r.Formula
			}
		}
	}
	for _, r := range w.Rows {
		if r.Decides && formula == "" {
			formula = r.Formula
		}
	}
	if formula == "" && len(w.Rows) > 0 {
		formula = w.Rows[0].Formula
	}
	switch {
	case w.Survive:
		formula = "survives"
	case formula == "":
		formula = "no detector"
	}
	return w, formula
}

// settings are those of the measured end, with its host's retransmission limit.
func (t trial) settings() record.Settings {
	s := t.here
	if text := t.sysctls["tcp_retries2"]; text != "" {
		_, _ = fmt.Sscan(text, &s.Retries) // 0 is the default, too
	}
	return s
}

// measure runs the trial and hands on what it measured; an error says that it could not be
// run, or that the formula does not hold.
func (t trial) measure(ctx context.Context) (err error) {
	topology := t.lab
	if topology == nil {
		topology = lab.Direct
	}
	l, err := topology()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	for _, key := range slices.Sorted(maps.Keys(t.sysctls)) {
		for _, h := range []*lab.Host{l.Server, l.Client} {
			if err := h.Sysctl("net.ipv4."+key, t.sysctls[key]); err != nil {
				return err
			}
		}
	}
	p, err := join(ctx, l, t)
	if err != nil {
		return err
	}
	defer p.close()
	starved := harness.StartStarvation()
	if err := t.do(ctx, p); err != nil {
		starved.End()
		return err
	}
	if p.at.IsZero() {
		starved.End()
		return errors.New("the trial never struck")
	}
	w, formula := t.window()
	m := measurement{Row: t.row, Case: t.name, Formula: formula, Lower: w.Lower, Upper: w.Upper, Order: t.order}
	lives := w.Survive || w.Upper < 0
	until := t.watch
	if !lives {
		until = time.Duration((w.Upper+leak.Slack)*float64(time.Second)) + patience
	}
	gone, early, is := p.gone(ctx, t, until)
	m.Starved, _ = starved.End()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	m.Measured, m.Lives = gone, !is
	switch {
	case !is:
		m.Measured = time.Since(p.at).Seconds()
		m.OK = lives && (!w.Survive || p.speaks())
	case !lives:
		m.OK = early >= w.Lower && gone <= w.Upper+leak.Slack
		if w.Upper > 0 {
			m.Ratio = gone / w.Upper
		}
		m.Inconclusive = m.Starved > 0.5 && gone > w.Upper+leak.Slack && gone <= w.Upper+leak.Slack+m.Starved
	}
	ginkgo.AddReportEntry(entry, m, ginkgo.ReportEntryVisibilityNever)
	switch {
	case m.OK:
		return nil
	case m.Inconclusive:
		ginkgo.Skip(fmt.Sprintf("this machine stood still for up to %.3g s: nothing is proved", m.Starved))
		return nil
	case lives && is:
		return fmt.Errorf("gone after %.3f s (%v), but it must live: %s", gone, p.why, formula)
	case lives:
		return fmt.Errorf("it lives, and no byte passes %.3f s after the fault", m.Measured)
	case !is:
		return fmt.Errorf("still there after %.3f s, but the bound is %.3f s + S: %s", m.Measured, w.Upper, formula)
	}
	return fmt.Errorf("gone after %.3f s (%v), but must be between %.3f and %.3f s + S: %s", gone, p.why, w.Lower, w.Upper, formula)
}
