package leak

import (
	"math"
	"slices"
)

// Rule is ROUNDS for one figure of memory. A healthy process grows a little, ever more
// slowly, and its readings hang together; a test of "slope > 0" would find a leak in
// each. ROUNDS asks for growth that is larger than a tolerance and comes back in almost
// every round of the run.
type Rule struct {
	// Total is how many bytes a run may grow by in all, Least the smallest tolerance
	// for one cycle of it.
	Total, Least float64
}

// The rules: the tolerance of a run of n cycles is so much in all, shared out.
var (
	HeapRule = Rule{Total: 16 << 10, Least: 32}
	RSSRule  = Rule{Total: 512 << 10, Least: 1 << 10}
)

// FewestRounds is the smallest number of readings that ROUNDS judges.
const FewestRounds = 20

// Growth says how a series of memory moved.
type Growth string

// Slowing and Shrinking decide nothing: warm-up can look so, and a leak can hide behind
// memory that is given back.
const (
	Flat      Growth = "flat"
	Growing   Growth = "growing" // a candidate: it must do so again on fresh cycles
	Slowing   Growth = "slowing"
	Shrinking Growth = "shrinking"
)

// Rounds is one look at a series. Slopes are in bytes a cycle.
type Rounds struct {
	Growth Growth
	N      int
	D      float64 // tolerance: of the rule, or what the readings scatter if that is more
	Slope  float64 // Theil-Sen over the block medians
	// First and Last are the slopes of the two halves of the blocks.
	First, Last float64
	Rises       int // steps between blocks that are more than half the tolerance
	Medians     []float64

	length float64 // cycles a block
}

// Tolerance for one cycle of n.
func (r Rule) Tolerance(n int) float64 { return max(r.Total/float64(n), r.Least) }

// blocks is how many blocks n readings are cut into.
func blocks(n int) int {
	if n < 64 {
		return 5
	}
	return 8
}

// medians cuts a series into its blocks, equal but for a reading, and takes the median
// of each.
func medians(series []float64) []float64 {
	n, k := len(series), blocks(len(series))
	m := make([]float64, k)
	for b := range m {
		m[b] = median(series[b*n/k : (b+1)*n/k])
	}
	return m
}

// sure is how many standard errors a slope must have to be told from scatter.
const sure = 3

// scatter is the standard error, in bytes a cycle, of the slope over k blocks of length
// cycles, by what the readings of a block differ from its median. After some faults a
// target holds more than after others, and is sound: its sessions lived, with their
// buffers. The median of L readings has the error sqrt(pi/2) s/sqrt(L), s their deviation
// (sqrt(pi/2) times the mean absolute one, which a few high readings count in); a line over
// k of them, L apart, has that divided by L sqrt(k(k^2-1)/12). Theil and Sen's slope is
// about as good as least squares'.
func scatter(series, medians []float64, k int) float64 {
	n, blocks := len(series), len(medians)
	off := 0.0
	for b, m := range medians {
		for _, v := range series[b*n/blocks : (b+1)*n/blocks] {
			off += math.Abs(v - m)
		}
	}
	length := float64(n) / float64(blocks)
	deviation := math.Pi / 2 * off / float64(n) / math.Sqrt(length)
	return deviation / (length * math.Sqrt(float64(k*(k*k-1))/12))
}

// Judge looks at a series of at least FewestRounds readings, one a cycle.
func (r Rule) Judge(series []float64) Rounds {
	m, n := medians(series), len(series)
	k := len(m)
	length := float64(n) / float64(k)
	half := (k + 1) / 2 // the halves of five blocks share the middle one
	tolerance, whole := r.Tolerance(n), sure*scatter(series, m, k)
	x := Rounds{
		N: n, D: max(tolerance, whole), Medians: m, length: length,
		Slope: trendOf(m).slope() / length,
		First: trendOf(m[:half]).slope() / length,
		Last:  trendOf(m[k-half:]).slope() / length,
	}
	for b := 1; b < k; b++ {
		if m[b]-m[b-1] > length*x.D/2 {
			x.Rises++
		}
	}
	switch {
	case x.Rises >= k-2 && x.Slope > x.D && x.Last > x.D/2 && x.Last >= x.Slope/2:
		x.Growth = Growing
	case x.Rises >= k-2 && x.Slope > x.D:
		x.Growth = Slowing
	case x.Slope < -max(tolerance/2, whole), min(x.First, x.Last) < -max(tolerance/2, sure*scatter(series, m, half)):
		x.Growth = Shrinking
	default:
		x.Growth = Flat
	}
	return x
}

// Interval is Sen's two-sided interval of the slope, with 95 % confidence.
func (x Rounds) Interval() (low, high float64) {
	t := trendOf(x.Medians)
	return t.lowerLimit((1-Confidence)/2) / x.length, t.limit((1-Confidence)/2) / x.length
}

// Upper is the largest slope that the series may have: the larger of Sen's one-sided
// limit on all blocks (was it more than we saw?) and the largest slope of a pair of
// blocks of the last half (has it only just begun?).
func (x Rounds) Upper() float64 {
	k := len(x.Medians)
	all := trendOf(x.Medians).limit(1 - Confidence)
	last := trendOf(x.Medians[k-(k+1)/2:]).slopes
	return max(all, last[len(last)-1]) / x.length
}

// plantStep is the ratio of two leaks that are tried one after the other.
const plantStep = 1.1

// Planted is b*: the smallest leak, in bytes a cycle, that this rule would have found in
// this very series, had it been there. Leaks are tried from above, in steps of a tenth;
// it is the smallest above which all are found. No model of the noise is assumed.
func (r Rule) Planted(series []float64) float64 {
	n := len(series)
	length := float64(n / blocks(n))
	// So large a leak that the series' own moves cannot hide it.
	b := 4 * (r.Tolerance(n) + (slices.Max(series)-slices.Min(series))/length)
	found := math.Inf(1)
	with := make([]float64, n)
	for ; b > r.Least/8; b /= plantStep {
		for i, v := range series {
			with[i] = v + b*float64(i)
		}
		if r.Judge(with).Growth != Growing {
			break
		}
		found = b
	}
	return found
}

// Resolution is Y, the smallest leak that could not have hidden in a series that was
// found flat: with 95 % confidence no larger one was there, and growing all the while.
func (r Rule) Resolution(series []float64) float64 {
	return max(r.Judge(series).Upper(), 0) + r.Planted(series)
}
