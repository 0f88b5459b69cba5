package leak

import "gonum.org/v1/gonum/stat/distuv"

// ClopperPearson is the exact two-sided interval for the chance of an event that came
// k times in n trials (Clopper and Pearson, Biometrika 26, 1934).
func ClopperPearson(k, n int, confidence float64) (low, high float64) {
	tail := (1 - confidence) / 2
	return lower(k, n, tail), upper(k, n, tail)
}

// Upper is the exact one-sided upper limit for the chance of an event that came k times
// in n trials: 1 - 0.05^(1/n) for k = 0 with 95 %, the "rule of three", about 3/n. It is
// 1 for no trials.
func Upper(k, n int, confidence float64) float64 { return upper(k, n, 1-confidence) }

func lower(k, n int, tail float64) float64 {
	if k <= 0 || n <= 0 {
		return 0
	}
	return distuv.Beta{Alpha: float64(k), Beta: float64(n - k + 1)}.Quantile(tail)
}

func upper(k, n int, tail float64) float64 {
	if n <= 0 || k >= n {
		return 1
	}
	return distuv.Beta{Alpha: float64(k + 1), Beta: float64(n - k)}.Quantile(1 - tail)
}
