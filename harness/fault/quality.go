package fault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

// Quality makes a cable slow, long or lossy, both ways. Connections must survive that:
// choose a quality whose round trips, resent packets included, are shorter than the
// detectors.
type Quality struct {
	At lab.Place
	Is lab.Quality
}

// Describe implements Fault.
func (q Quality) Describe() record.Fault {
	return record.Fault{Name: "cable with " + q.Is.String(), Place: string(q.At), Class: record.Flap}
}

// Inject implements Fault. It returns when the cable has been measured, with packets of
// its own: the round trip, the rate, and so many that some must have been lost. The
// Heal gives the cable back the quality that it had.
func (q Quality) Inject(ctx context.Context, on *lab.Lab) (Heal, Witness, error) {
	if q.Is == (lab.Quality{}) {
		return nil, nil, errors.New("degrade a cable: set Is: what its quality is to be")
	}
	end, err := on.End(q.At)
	if err != nil {
		return nil, nil, fmt.Errorf("degrade a cable: %w", err)
	}
	ends := []*lab.End{end, end.Peer}
	was := []lab.Quality{end.Quality(), end.Peer.Quality()}
	heal := func(context.Context) error {
		for i, e := range ends {
			if err := e.Shape(was[i]); err != nil {
				return fmt.Errorf("mend a cable: %w", err)
			}
		}
		return nil
	}
	fail := func(err error) (Heal, Witness, error) {
		return nil, nil, errors.Join(fmt.Errorf("degrade the cable at %s: %w", end, err), heal(ctx))
	}
	if err := end.Link.Shape(q.Is); err != nil {
		return fail(err)
	}
	m, err := q.measure(ctx, ends)
	if err != nil {
		return fail(err)
	}
	return heal, func(ctx context.Context) (string, bool, error) { return q.look(ctx, ends, &m) }, nil
}

// measured is what a cable did to the fault's own packets.
type measured struct {
	echoes lab.Echoes
	speeds []float64 // bits a second, there and back; nil if there is no limit
	// from are the counts of each end when the packets began whose loss is judged; nil is
	// when the cable was shaped.
	from []lab.Tally
}

// enough is how many packets a loss, a jitter, a reorder is to be seen in.
const enough = 20

// tries is how often at most something is measured until it is as asked.
const tries = 5

// speedTime is for how long the rate is measured.
const speedTime = 400 * time.Millisecond

func (q Quality) measure(ctx context.Context, ends []*lab.End) (m measured, err error) {
	n := 2 * enough
	for _, share := range []float64{q.Is.Loss, q.Is.Duplicate, q.Is.Reorder} {
		if share > 0 {
			n = max(n, int(math.Ceil(enough/share)))
		}
	}
	// A busy machine is late, and a sender that waits for its turn does not fill the
	// cable: each gets a few tries. Pings tell nothing of a cable that is only narrow.
	narrow := lab.Quality{Rate: q.Is.Rate}
	for try := 0; try < tries && q.Is != narrow; try++ {
		if m.echoes, err = q.ping(ctx, ends, n); err != nil {
			return m, err
		}
		if q.Is.Delay == 0 || near(q.trip(m.echoes).Seconds(), 2*q.Is.Delay.Seconds()) {
			break
		}
	}
	if q.Is.Rate == 0 {
		return m, nil
	}
	for _, e := range ends {
		var got []float64
		for range tries {
			speed, err := e.Speed(ctx, q.Is.Rate, speedTime)
			if err != nil {
				return m, err
			}
			if got = append(got, speed); near(speed, float64(q.Is.Rate)) {
				break
			}
		}
		m.speeds = append(m.speeds, nearest(got, float64(q.Is.Rate)))
	}
	return m, nil
}

// ping sends n pings over the cable, or as many as it can count, and leaves most of its
// rate to others.
func (q Quality) ping(ctx context.Context, ends []*lab.End, n int) (lab.Echoes, error) {
	pause := time.Millisecond
	if q.Is.Rate > 0 {
		const ping = 8 * 50 // bits: a quarter of what passes
		pause = max(pause, time.Duration(4*ping/float64(q.Is.Rate)*float64(time.Second)))
	}
	return ends[0].Ping(ctx, min(n, math.MaxUint16), pause)
}

// trip is the round trip to compare with what was asked: the shortest where each packet
// has the same delay, for what the others took longer is the machine's; else the median.
func (q Quality) trip(e lab.Echoes) time.Duration {
	if q.Is.Jitter > 0 || q.Is.Reorder > 0 || len(e.Times) == 0 {
		return e.Median()
	}
	return e.Times[0]
}

// nearest is the measurement that is nearest to what was asked: a clock that is read late
// makes one too small or too large.
func nearest(got []float64, asked float64) float64 {
	return slices.MinFunc(got, func(a, b float64) int {
		return cmp.Compare(math.Abs(a-asked), math.Abs(b-asked))
	})
}

// near says whether a measurement is within 10 % of what was asked.
func near(got, asked float64) bool { return math.Abs(got-asked) <= asked/10 }

// look compares the measurements, and the counts up to now, with what was asked.
func (q Quality) look(ctx context.Context, ends []*lab.End, m *measured) (string, bool, error) {
	var saw []string
	bit := true
	say := func(as bool, format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if !as {
			text += " (not as asked)"
		}
		saw, bit = append(saw, text), bit && as
	}
	for _, e := range ends {
		if now := e.Quality(); now != q.Is {
			say(false, "%s has %s", e, now)
		}
	}
	if q.Is.Delay > 0 {
		asked, got := 2*q.Is.Delay, q.trip(m.echoes)
		say(near(got.Seconds(), asked.Seconds()), "round trip %v of %v", got.Round(10*time.Microsecond), asked)
	}
	if q.Is.Jitter > 0 || q.Is.Reorder > 0 {
		say(m.echoes.Overtaken > 0, "%d of %d pings overtaken", m.echoes.Overtaken, m.echoes.Sent)
	}
	if q.Is.Duplicate > 0 {
		say(m.echoes.Twice > 0, "%d of %d pings answered twice", m.echoes.Twice, m.echoes.Sent)
	}
	for i, speed := range m.speeds {
		say(near(speed, float64(q.Is.Rate)), "%.4g of %.4g Mbit/s from %s", speed/1e6, float64(q.Is.Rate)/1e6, ends[i])
	}
	again := 0 // nothing that is not as asked already is asked again
	if bit {
		again = asks - 1
	}
	counts, err := q.losses(ctx, ends, m, again)
	if err != nil {
		return "", false, err
	}
	for i, t := range counts {
		if low, high, fits := q.fits(t); q.Is.Loss > 0 {
			say(fits, "%d of %d packets from %s lost, may be %d to %d", t.Lost, t.Packets, ends[i], low, high)
		}
		if t.Overflow > 0 {
			say(false, "%d packets from %s lost for want of room", t.Overflow, ends[i])
		}
	}
	return strings.Join(saw, "; "), bit, nil
}

// asks is how often at most a cable is asked whether its loss is as it should be.
const asks = 3

// losses counts the packets from each end whose loss is judged. A cable that is right is
// outside the interval by chance, 1 time in 1000 an end. So one that is outside is asked
// again, with fresh packets and by their loss alone; there are so many that one which
// loses twice what it should is outside each time.
func (q Quality) losses(ctx context.Context, ends []*lab.End, m *measured, again int) ([]lab.Tally, error) {
	if m.from == nil {
		m.from = make([]lab.Tally, len(ends))
	}
	for ; ; again-- {
		var counts, now []lab.Tally
		fit := true
		for i, e := range ends {
			t, err := e.Tally()
			if err != nil {
				return nil, err
			}
			now = append(now, t)
			// Another fault may have shaped the cable in between: then it counts from zero.
			if from := m.from[i]; from.Packets <= t.Packets && from.Lost <= t.Lost {
				t.Packets, t.Lost = t.Packets-from.Packets, t.Lost-from.Lost
			}
			_, _, fits := q.fits(t)
			counts, fit = append(counts, t), fit && fits
		}
		if fit || q.Is.Loss == 0 || again <= 0 {
			return counts, nil
		}
		m.from = now
		if _, err := q.ping(ctx, ends, int(math.Ceil(4*enough/q.Is.Loss))); err != nil {
			return nil, err
		}
	}
}

// fits says whether of so many packets so many may be lost.
func (q Quality) fits(t lab.Tally) (low, high uint64, fits bool) {
	low, high = binomial(t.Packets, q.Is.Loss)
	return low, high, t.Lost > 0 && low <= t.Lost && t.Lost <= high
}

// binomial is the interval that a count of n trials with probability p is in, 999
// times of 1000: less than 1 in 2000 is below low, and less than 1 in 2000 above high.
// The sums are exact: normal approximation is bad where losses are few.
func binomial(n uint64, p float64) (low, high uint64) {
	if p >= 1 {
		return n, n
	}
	const tail = 0.0005
	sum, low := 0.0, n
	found := false
	for k := uint64(0); k <= n; k++ {
		sum += mass(n, k, p)
		if !found && sum >= tail {
			low, found = k, true
		}
		if sum >= 1-tail {
			return low, k
		}
	}
	return low, n
}

// mass is the probability of k successes in n trials.
func mass(n, k uint64, p float64) float64 {
	gamma := func(x uint64) float64 { v, _ := math.Lgamma(float64(x) + 1); return v }
	return math.Exp(gamma(n) - gamma(k) - gamma(n-k) + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
}
