package leak

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/halfopen/halfopen/harness/record"
)

// mostRestless is the share of cycles that may be left out of a memory series because
// the process was not quiescent.
const mostRestless = 0.1

// Memory names, as a statement's resource.
const (
	Heap = "heap"
	RSS  = "RssAnon"
)

// figures are the memory figures that are judged, with their rules.
var figures = []struct {
	name string
	rule Rule
	read func(record.Memory) int64
}{
	{Heap, HeapRule, func(m record.Memory) int64 { return m.HeapAlloc }},
	{RSS, RSSRule, func(m record.Memory) int64 { return m.RssAnon }},
}

// Series are the readings of one process, in order, one a cycle.
type Series struct {
	Role     string
	Fast     bool
	Pace     float64 // seconds a cycle; 0: not known
	Longest  float64 // seconds for which the target keeps something by design
	Readings []record.Reading
}

// Memory states what the series says of heap and RssAnon. A figure that the process does
// not tell is not stated, and said to be missing.
func (s Series) Memory() []record.Statement {
	var all []record.Statement
	for _, f := range figures {
		x := record.Statement{Role: s.Role, Resource: f.name, Fast: s.Fast}
		var series []float64
		restless := 0
		for _, r := range s.Readings {
			switch v := f.read(r.Memory); {
			case !r.Quiescent:
				restless++
			case v > 0:
				series = append(series, float64(v))
			}
		}
		switch {
		case restless > 0 && float64(restless) > mostRestless*float64(len(s.Readings)):
			x.Verdict = record.Inconclusive
			x.Text = fmt.Sprintf("INCONCLUSIVE %s: not at rest after %d of %d cycles", f.name, restless, len(s.Readings))
		case len(series) == 0 && f.name == Heap:
			x.Text = "heap: not stated: the target does not tell its heap; RssAnon stands alone"
		default:
			s.state(&x, f.rule, f.rule.Watch(series, s.retention()))
		}
		all = append(all, x)
	}
	return all
}

// retention is twice the longest that the target keeps something, in cycles.
func (s Series) retention() int {
	if s.Pace <= 0 {
		return 0
	}
	return int(math.Ceil(2 * s.Longest / s.Pace))
}

// givenBack are the words for memory that shrinks: nothing is to blame for it.
const givenBack = "memory is being given back"

// state fills in a statement about memory.
func (s Series) state(x *record.Statement, rule Rule, w Watched) {
	x.Cycles = w.N
	switch {
	case w.N == 0:
		x.Text = fmt.Sprintf("%s: not stated: needs %s", x.Resource, s.more(w.Need))
	case w.Leaks:
		low, high := w.Interval()
		x.Verdict, x.Rate = record.Leak, &record.Rate{Value: w.Slope, Low: low, High: high, Unit: "bytes", Per: "cycle"}
		x.Text = fmt.Sprintf("LEAK %s: %s per cycle (95 %% CI %s to %s), found again in %d fresh cycles", x.Resource, Bytes(w.Slope), Bytes(low), Bytes(high), w.N)
	case w.Growth == Growing:
		x.Verdict = record.Inconclusive
		x.Text = fmt.Sprintf("INCONCLUSIVE %s: LEAK of %s per cycle, unconfirmed; needs %s", x.Resource, Bytes(w.Slope), s.more(w.Need))
	case w.Growth == Slowing:
		x.Verdict = record.Inconclusive
		x.Text = fmt.Sprintf("INCONCLUSIVE %s: growth is slowing (%s, then %s per cycle); %s needed", x.Resource, Bytes(w.First), Bytes(w.Last), s.more(max(w.Need, w.N)))
	case w.Growth == Shrinking:
		x.Verdict = record.Inconclusive
		x.Text = fmt.Sprintf("INCONCLUSIVE %s: %s (%s per cycle), and a leak could hide behind it; a longer warm-up is needed", x.Resource, givenBack, Bytes(min(w.Slope, w.First, w.Last)))
	default:
		y := rule.Y(w)
		x.Verdict = record.Pass
		x.Limit = &record.Limit{Resource: x.Resource, Value: y, Unit: "bytes", Per: "cycle", Confidence: Confidence}
		x.Text = fmt.Sprintf("NO LEAK %s: %s per cycle; no leak above %s per cycle could hide in these %d cycles (95 %%)", x.Resource, signedBytes(w.Slope), Bytes(y), w.N)
		if perExposure := y / s.exposures(); !math.IsInf(perExposure, 0) {
			x.Text += fmt.Sprintf(", %s per exposure", Bytes(perExposure))
		}
	}
}

// exposures a cycle.
func (s Series) exposures() float64 {
	sum := 0
	for _, r := range s.Readings {
		sum += r.Exposures
	}
	return float64(sum) / float64(max(1, len(s.Readings)))
}

// more says how many further cycles are needed, and how long they take.
func (s Series) more(cycles int) string {
	text := fmt.Sprintf("%d more cycles", cycles)
	if cycles == 1 {
		text = "1 more cycle"
	}
	if minutes := float64(cycles) * s.Pace / 60; minutes > 0 {
		text += fmt.Sprintf(", about %.0f min", max(1, math.Round(minutes)))
	}
	return text
}

// Counts states what the series says of the exact counts: a sentence for each that
// leaks or may, and one for each kind of which none does. w is FloorConfirm, or
// FloorConfirmShared. The first readings, of cycles in which the target meets everything
// for the first time, are the caller's to leave out.
func (s Series) Counts(w int) []record.Statement {
	var all []record.Statement
	for _, kind := range []string{"sockets", "fds", "goroutines", gaugesKind} {
		risen := s.rises(kind, w)
		if len(risen) == 0 && len(s.names(kind)) > 0 {
			risen = []record.Statement{s.none(kind, w)}
		}
		all = append(all, risen...)
	}
	return all
}

// rises are the statements on those counts of a kind whose floor rose.
func (s Series) rises(kind string, w int) []record.Statement {
	var all []record.Statement
	for _, name := range s.names(kind) {
		f := FloorOf(s.counts(name), w)
		x := record.Statement{Role: s.Role, Resource: kind, Fast: s.Fast, Cycles: f.Effective}
		switch {
		case f.Leaks():
			rate, low, high := f.Rate()
			x.Verdict, x.Rate = record.Leak, &record.Rate{Value: rate, Low: low, High: high, Per: "cycle"}
			x.Where = strings.TrimPrefix(name, kind+" ")
			if kind == gaugesKind {
				x.Where = gaugePrefix + x.Where + " of " + s.Role
			}
			x.Text = fmt.Sprintf("LEAK %s: %d in %d cycles, %.2g per cycle (95 %% CI %.2g to %.2g)", kind, f.Gain, f.Effective, rate, low, high)
			if n := s.within(f.Effective); n > 0 {
				x.Text += fmt.Sprintf(", 1 in %.0f exposures", float64(n)/float64(f.Gain))
			}
			if x.Where != kind {
				x.Text += ", " + x.Where
			}
		case f.Suspect():
			x.Verdict = record.Inconclusive
			x.Text = fmt.Sprintf("INCONCLUSIVE %s: SUSPECT, +%d once at cycle %d, %s; %s needed", kind, f.Gain, f.Events[0], name, s.more(f.Until()-f.Cycles))
		case len(f.Events) == 1:
			x.Verdict = record.Pass
			n := s.within(f.Effective)
			x.Limit = s.limit(kind, 1, n)
			x.Text = fmt.Sprintf("NO LEAK %s: +%d once at cycle %d of %d, %s; a leak of 1 in %s exposures or more would have been seen twice (95 %%)", kind, f.Gain, f.Events[0], f.Cycles, name, oneIn(x.Limit.Value))
		default:
			continue
		}
		all = append(all, x)
	}
	return all
}

// none is the statement on a kind of which nothing leaks.
func (s Series) none(kind string, w int) record.Statement {
	effective := max(0, len(s.Readings)-w)
	x := record.Statement{Role: s.Role, Resource: kind, Fast: s.Fast, Cycles: effective}
	n := s.within(effective)
	if n == 0 {
		x.Text = fmt.Sprintf("%s: not stated: needs %s", kind, s.more(w+2-len(s.Readings)))
		return x
	}
	x.Verdict, x.Limit = record.Pass, s.limit(kind, 0, n)
	x.Text = NoLeak(kind, 0, n, "exposure")
	return x
}

// NoLeak says what n trials of a kind exclude in which k leaked, if k is not held to be a leak.
func NoLeak(kind string, k, n int, per string) string {
	more := ""
	if k > 0 {
		more = " more often"
	}
	return fmt.Sprintf("NO LEAK %s: %d in %d %ss; a leak of 1 in %s or more would have been seen%s (95 %%)", kind, k, n, per, oneIn(Upper(k, n, Confidence)), more)
}

func (s Series) limit(kind string, k, n int) *record.Limit {
	return &record.Limit{Resource: kind, Value: Upper(k, n, Confidence), Unit: "leaks", Per: "exposure", Confidence: Confidence}
}

// within counts the exposures that could have raised the floor of the first so many
// readings. Those before the first are in its baseline.
func (s Series) within(readings int) int {
	n := 0
	for i := 1; i < readings; i++ {
		n += s.Readings[i].Exposures
	}
	return n
}

// names of the counts of a kind that any reading has.
func (s Series) names(kind string) []string {
	seen := map[string]bool{}
	for _, r := range s.Readings {
		for name := range r.Counts {
			if first, _, _ := strings.Cut(name, " "); first == kind {
				seen[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

func (s Series) counts(name string) []int {
	c := make([]int, len(s.Readings))
	for i, r := range s.Readings {
		n, told := r.Counts[name]
		if !told && i > 0 && strings.HasPrefix(name, gaugesKind+" ") {
			n = c[i-1] // unread, it is no zero, which would be a floor
		}
		c[i] = n
	}
	return c
}

// oneIn turns a chance into "200" of "1 in 200", rounded so that more is not claimed.
func oneIn(chance float64) string {
	if n := math.Floor(1 / chance); n >= 2 {
		return fmt.Sprintf("%.0f", n)
	}
	return "1"
}

// Bytes in words: "9 B", "2.1 KB", "-3.4 MB"; a KB is 1000 bytes.
func Bytes(b float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, "GB"}, {1e6, "MB"}, {1e3, "KB"}} {
		if v := b / u.size; math.Abs(v) >= 0.9995 {
			if math.Abs(v) < 9.95 {
				return fmt.Sprintf("%.1f %s", v, u.name)
			}
			return fmt.Sprintf("%.0f %s", v, u.name)
		}
	}
	return fmt.Sprintf("%.0f B", b)
}

func signedBytes(b float64) string {
	if math.Round(b) < 0 {
		return Bytes(b)
	}
	return "+" + Bytes(math.Abs(b))
}

// CountsOf are the counts of a sample, by name: "fds", "sockets LISTEN", "goroutines
// SIGNATURE", "gauges NAME".
func CountsOf(s record.Sample) map[string]int {
	counts := map[string]int{"fds": len(s.FDs)}
	for _, c := range s.Sockets {
		counts["sockets "+c.State]++
	}
	for _, g := range s.Groups {
		counts["goroutines "+g.Signature] += g.Count
	}
	for _, g := range s.Gauges {
		if g.Trouble == "" {
			counts[gaugesKind+" "+g.Name] = g.Value
		}
	}
	return counts
}

// Trial states what a trial of fast cycles says. Its first cycles are those in which the
// target meets everything for the first time: counts are judged from the third on.
func Trial(t record.Trial) []record.Statement {
	s := Series{Role: "server", Fast: true, Pace: t.Pace, Readings: t.Readings()}
	all := s.Memory()
	s.Readings = s.Readings[min(FirstCycles, len(s.Readings)):]
	return append(s.Counts(FloorConfirm), all...)
}

// FirstCycles are not in the series of counts.
const FirstCycles = 2
