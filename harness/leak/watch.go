package leak

import "math"

// Watched is what ROUNDS says of a whole series of memory, after its last look.
type Watched struct {
	Rounds           // of the last look
	Window []float64 // the readings that the last look judged
	// Need is how many more readings there must be before anything can be said (N is
	// 0 then), or until what was seen can be confirmed on fresh ones.
	Need int
	// Leaks says that a look found growth, and that as many fresh cycles, judged alone,
	// found it again: Rounds are those of the fresh ones.
	Leaks bool
	// Before is the look that the fresh cycles confirmed, or failed to.
	Before *Rounds
}

// The number of readings at the first looks; it doubles from the second on. A look
// after every cycle would be as many chances for a false alarm.
const secondLook = 100

// WarmUp is how many readings are left out before n judged ones: caches fill, pools and
// tables reach the size that they keep. Measured, that takes about 60 cycles (in windows
// from the 20th on, the resolution is three times worse). retention is the number of
// cycles for which the target keeps something by design, twice over.
func WarmUp(n, retention int) int { return max(60, n/10, retention) }

// Watch looks at a series of quiescent readings, one a cycle from the run's first, at 20,
// 100, 200, 400 ... judged ones, and at its end. A candidate is judged again on as many
// fresh cycles alone; so is growth that slows, at most twice.
func (r Rule) Watch(series []float64, retention int) Watched {
	last := Watched{Need: max(1, WarmUp(FewestRounds, retention)+FewestRounds-len(series))}
	for _, n := range looks(len(series), retention) {
		last = r.look(series[WarmUp(n, retention):], n)
		if last.Leaks || last.Need > 0 {
			break // what waits for fresh cycles is not decided by another look
		}
	}
	return last
}

// looks are the numbers of judged readings at which a series of so many is looked at.
func looks(total, retention int) []int {
	var at []int
	fits := func(n int) bool { return WarmUp(n, retention)+n <= total }
	for n := FewestRounds; fits(n); {
		at = append(at, n)
		if n *= 2; n < secondLook {
			n = secondLook
		}
	}
	if len(at) == 0 {
		return nil
	}
	end := at[len(at)-1]
	for fits(end + 1) {
		end++
	}
	if end > at[len(at)-1] {
		at = append(at, end)
	}
	return at
}

// look judges the first n readings, and what calls for it again on fresh ones.
func (r Rule) look(series []float64, n int) Watched {
	w := Watched{Rounds: r.Judge(series[:n]), Window: series[:n]}
	for tries := 1; tries <= mostTries; tries++ {
		before := w.Rounds
		if before.Growth != Growing && before.Growth != Slowing {
			return w
		}
		from := tries * n
		if len(series) < from+n {
			w.Need = from + n - len(series)
			return w
		}
		w.Rounds, w.Window, w.Before = r.Judge(series[from:from+n]), series[from:from+n], &before
		if before.Growth == Growing && w.Growth == Growing {
			w.Leaks = true
			return w
		}
	}
	return w
}

// mostTries on fresh cycles: growth that slows is looked at twice, and what then is a
// candidate is confirmed.
const mostTries = 3

// Y is the resolution of the last look; +Inf if it was not flat.
func (r Rule) Y(w Watched) float64 {
	if w.N == 0 || w.Growth != Flat {
		return math.Inf(1)
	}
	return r.Resolution(w.Window)
}
