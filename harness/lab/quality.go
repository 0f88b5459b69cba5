package lab

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Quality is what a cable does to the packets that go through it one way. The zero
// value is a perfect cable. With a Delay alone the kernel passes large pieces on
// whole, as it does without; with any other quality it cuts them into packets of the
// cable's size first, so that a loss is the loss of one packet.
type Quality struct {
	Delay  time.Duration
	Jitter time.Duration // a packet takes Delay plus or minus up to Jitter, evenly spread, and may overtake others
	// Loss, Duplicate and Reorder are shares of the packets, 0 to 1: those that vanish,
	// arrive twice, or are not delayed and so overtake those that are.
	Loss, Duplicate, Reorder float64
	Rate                     int64 // bits a second, Ethernet headers included; 0 is no limit
}

// maxDelay keeps what is on its way at one time within bounds.
const maxDelay = 10 * time.Second

func (q Quality) check() error {
	for name, share := range map[string]float64{"loss": q.Loss, "duplicate": q.Duplicate, "reorder": q.Reorder} {
		if !(share >= 0 && share <= 1) {
			return fmt.Errorf("%s is %v: give a share of the packets, 0 to 1", name, share)
		}
	}
	switch {
	case q.Delay < 0 || q.Delay > maxDelay:
		return fmt.Errorf("delay is %v: give 0 to %v", q.Delay, maxDelay)
	case q.Jitter < 0 || q.Jitter > q.Delay:
		return fmt.Errorf("jitter is %v: give 0 to the delay, %v", q.Jitter, q.Delay)
	case q.Reorder > 0 && q.Delay == 0:
		return errors.New("reorder needs a delay: a packet overtakes others by not being delayed")
	case q.Rate < 0 || q.Rate > 0 && q.Rate < minRate:
		return fmt.Errorf("rate is %d bit/s: give at least %d, or 0 for no limit", q.Rate, minRate)
	}
	return nil
}

// minRate is one packet a second or so: less is a cable that is pulled.
const minRate = 16_000

func (q Quality) String() string {
	var parts []string
	add := func(is bool, format string, args ...any) {
		if is {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(q.Delay > 0, "delay %v", q.Delay)
	add(q.Jitter > 0, "jitter %v", q.Jitter)
	add(q.Loss > 0, "loss %.4g %%", 100*q.Loss)
	add(q.Duplicate > 0, "duplicates %.4g %%", 100*q.Duplicate)
	add(q.Reorder > 0, "reorder %.4g %%", 100*q.Reorder)
	add(q.Rate > 0, "%.4g Mbit/s", float64(q.Rate)/1e6)
	if parts == nil {
		return "perfect"
	}
	return strings.Join(parts, ", ")
}

// whole says whether the quality leaves large pieces whole.
func (q Quality) whole() bool { return q == Quality{Delay: q.Delay} }

// Quality is what the cable does now to what leaves this end.
func (e *End) Quality() Quality {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.quality
}

// Shape gives the cable a quality, both ways.
func (l *Link) Shape(q Quality) error {
	if err := l.A.Shape(q); err != nil {
		return err
	}
	return l.B.Shape(q)
}

// Shape gives the cable a quality for what leaves this end, in place of the one that
// it had; traffic may run. A Quality of zero makes it perfect again, and lets go of
// what is still on its way. If it fails, the cable is as it was, or perfect.
//
// Where the kernel has netem, netem does it. Else there are three means:
//
//	this end                          the other end
//	tbf (rate) ------- cable -------- statistic DROP (loss) - NFQUEUE (delay, jitter, reorder)
//
// The rules stand in the table raw: a packet that is lost or late on the cable has
// not been seen by the other end's connection tracking. They are at the receiving end
// because a packet that waits at the sending one counts against its socket, and TCP
// keeps only a millisecond's worth of packets there (tcp_limit_output_bytes): a long
// cable would look like a slow one.
func (e *End) Shape(q Quality) error {
	if err := q.check(); err != nil {
		return fmt.Errorf("shape %s: %w", e, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if q == e.quality {
		return nil
	}
	err := e.shape(q)
	if err != nil && e.quality != (Quality{}) {
		err = errors.Join(err, e.shape(Quality{}))
		e.quality = Quality{}
	}
	if err != nil {
		return fmt.Errorf("shape %s (%s): %w", e, q, err)
	}
	e.quality = q
	return nil
}
