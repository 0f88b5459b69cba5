package leak

import "slices"

// Floor is what FLOOR EVENTS says of one series of exact counts c(1) .. c(n), read at
// rest, one a cycle. Its floor is F(i) = min(c(i) .. c(n)): what is held at i and never
// let go of again. What comes and goes (a timer, a lazy goroutine that ends) does not
// raise it, a leak does:
//
//	c   4 4 5 4 4 6 5 5 5 7 6 6
//	F   4 4 4 4 4 5 5 5 5 6 6 6      events at 6 and 10
//
// The last few cycles raise no events: what they hold may still be let go of.
type Floor struct {
	Cycles    int   // n
	Effective int   // cycles in which an event could be seen: n - w
	Events    []int // the cycles, from 1, in which the floor rose
	Gain      int   // by how much in all
}

// Cycles at the end of a series in which a rise of the floor is not yet believed.
const (
	FloorConfirm = 5
	// FloorConfirmShared is for cycles that share state, such as connections that are
	// left to an idle timeout.
	FloorConfirmShared = 20
)

// floorCap is the number of cycles up to which a series is extended for one event.
const floorCap = 2000

// FloorOf finds the floor events of a series; w is FloorConfirm or larger.
func FloorOf(counts []int, w int) Floor {
	n := len(counts)
	f := Floor{Cycles: n, Effective: max(0, n-w)}
	if f.Effective == 0 {
		return f
	}
	floor := slices.Clone(counts)
	for i := n - 2; i >= 0; i-- {
		floor[i] = min(floor[i], floor[i+1])
	}
	for i := 1; i < f.Effective; i++ {
		if floor[i] > floor[i-1] {
			f.Events = append(f.Events, i+1)
		}
	}
	f.Gain = floor[f.Effective-1] - floor[0]
	return f
}

// Leaks says that the floor rose at least twice. Once may be a lazy singleton.
func (f Floor) Leaks() bool { return len(f.Events) >= 2 }

// Suspect says that the floor rose once, and that the series must be longer before
// this counts as once only.
func (f Floor) Suspect() bool { return len(f.Events) == 1 && f.Cycles < f.Until() }

// Until is the number of cycles after which one event is believed to stay the only
// one: four times those that it took to come.
func (f Floor) Until() int {
	if len(f.Events) == 0 {
		return 0
	}
	return min(floorCap, 4*f.Events[0])
}

// Rate is how many things leak a cycle, with the interval of 95 %: Clopper and Pearson's
// for the events, times the things an event.
func (f Floor) Rate() (rate, low, high float64) {
	k, n := len(f.Events), f.Effective
	if k == 0 || n == 0 {
		return 0, 0, Upper(0, n, Confidence)
	}
	size := float64(f.Gain) / float64(k)
	low, high = ClopperPearson(k, n, Confidence)
	return float64(f.Gain) / float64(n), low * size, high * size
}
