package leak

import "slices"

// trend is what Theil and Sen say of y(0), y(1), ..: the slopes of all pairs, sorted.
type trend struct {
	slopes []float64
	points int
}

// trendOf sorts the slopes (y(j) - y(i)) / (j - i) of all pairs of points.
func trendOf(y []float64) trend {
	t := trend{points: len(y)}
	for j := range y {
		for i := range j {
			t.slopes = append(t.slopes, (y[j]-y[i])/float64(j-i))
		}
	}
	slices.Sort(t.slopes)
	return t
}

// slope is the median of the pairs' slopes (Sen, JASA 63, 1968).
func (t trend) slope() float64 { return medianSorted(t.slopes) }

// limit is the upper limit of the slope which a true one exceeds with a chance of at
// most tail: the r-th smallest of the pairs' slopes, where r is the smallest number with
// P(D >= r) <= tail. D, the number of pairs whose slope is below the true one, is
// Kendall's: the inversions of a random order. With too few points for that tail it is
// the largest slope.
func (t trend) limit(tail float64) float64 {
	return t.slopes[rank(t.points, tail)-1]
}

// lowerLimit is the same on the other side.
func (t trend) lowerLimit(tail float64) float64 {
	return t.slopes[len(t.slopes)-rank(t.points, tail)]
}

// rank is the smallest r with P(D >= r) <= tail, D the inversions among n in random
// order; the number of pairs if even that is more likely.
func rank(n int, tail float64) int {
	p := inversions(n)
	sum := 0.0
	for r := len(p) - 1; r > 0; r-- {
		sum += p[r]
		if sum > tail {
			return min(r+1, len(p)-1)
		}
	}
	return 1
}

// inversions is the exact distribution of the number of inversions of n things in
// random order (Mahonian numbers over n!): the k-th thing adds 0 .. k-1, each as likely.
func inversions(n int) []float64 {
	p := []float64{1}
	for k := 2; k <= n; k++ {
		next := make([]float64, len(p)+k-1)
		for d, chance := range p {
			for more := range k {
				next[d+more] += chance / float64(k)
			}
		}
		p = next
	}
	return p
}

// median of values in any order, which it leaves as they are.
func median(values []float64) float64 {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return medianSorted(sorted)
}

func medianSorted(sorted []float64) float64 {
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
