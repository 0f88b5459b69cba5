package fault

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

func TestQuality(t *testing.T) {
	for _, is := range []lab.Quality{
		{Delay: 40 * time.Millisecond},
		{Delay: 40 * time.Millisecond, Jitter: 20 * time.Millisecond},
		{Loss: 0.05},
		{Delay: 40 * time.Millisecond, Reorder: 0.2},
		{Rate: 5e6},
		{Delay: 40 * time.Millisecond, Loss: 0.1, Rate: 20e6},
	} {
		t.Run(is.String(), func(t *testing.T) {
			l := build(t, lab.BehindNAT)
			near, far := connect(t, l)
			heal, witness := inject(t, Quality{At: lab.AtClient, Is: is}, l)
			expect(t, witness, true)
			if !passes(t, near, far, 10*time.Second) || !passes(t, far, near, 10*time.Second) {
				t.Error("no byte passes a cable that is only bad")
			}
			expect(t, witness, true)
			healTwice(t, heal)
			expect(t, witness, false) // it sees a cable that is perfect again
			e, err := l.End(lab.AtClient)
			if err != nil {
				t.Fatal(err)
			}
			if e.Quality() != (lab.Quality{}) || e.Peer.Quality() != (lab.Quality{}) {
				t.Errorf("after the heal the cable has %s, %s", e.Quality(), e.Peer.Quality())
			}
		})
	}
}

// The outer fault's heal gives back what the inner one found.
func TestQualitiesStack(t *testing.T) {
	l := build(t, lab.Direct)
	first, second := lab.Quality{Loss: 0.01}, lab.Quality{Delay: 40 * time.Millisecond}
	outer, _ := inject(t, Quality{At: lab.AtServer, Is: first}, l)
	inner, _ := inject(t, Quality{At: lab.AtServer, Is: second}, l)
	e, err := l.End(lab.AtServer)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		heal Heal
		want lab.Quality
	}{{inner, first}, {outer, lab.Quality{}}} {
		healTwice(t, step.heal)
		if e.Quality() != step.want || e.Peer.Quality() != step.want {
			t.Errorf("the cable has %s, %s, want %s", e.Quality(), e.Peer.Quality(), step.want)
		}
	}
}

func TestQualityNotAsAsked(t *testing.T) {
	l := build(t, lab.Direct)
	e, err := l.End(lab.AtServer)
	if err != nil {
		t.Fatal(err)
	}
	ends := []*lab.End{e, e.Peer}
	is := lab.Quality{Delay: 20 * time.Millisecond, Jitter: 5 * time.Millisecond, Rate: 10e6}
	if err := e.Link.Shape(is); err != nil {
		t.Fatal(err)
	}
	good := measured{echoes: lab.Echoes{Sent: 40, Times: []time.Duration{41 * time.Millisecond}, Overtaken: 3}, speeds: []float64{9.5e6, 10.2e6}}
	late, ordered, slow := good, good, good
	late.echoes.Times = []time.Duration{45 * time.Millisecond}
	ordered.echoes.Overtaken = 0
	slow.speeds = []float64{9.5e6, 8.9e6}
	for _, c := range []struct {
		m    measured
		want string // the part that is not as asked
	}{{good, ""}, {late, "45ms of 40ms"}, {ordered, "0 of 40"}, {slow, "8.9 of 10 Mbit/s"}, {measured{}, "0s of 40ms"}} {
		saw, bit, err := Quality{Is: is}.look(t.Context(), ends, &c.m)
		if err != nil {
			t.Fatal(err)
		}
		if bit != (c.want == "") || !strings.Contains(saw, c.want) || bit == strings.Contains(saw, "not as asked") {
			t.Errorf("witness says %v: %q, want %q not as asked", bit, saw, c.want)
		}
	}
}

// A cable that is outside the interval is asked again: by chance it was, or it loses twice
// what it should.
func TestLossIsAskedAgain(t *testing.T) {
	for share, want := range map[float64]bool{0.05: true, 0.1: false} {
		t.Run(fmt.Sprint(share), func(t *testing.T) {
			l := build(t, lab.Direct)
			e, err := l.End(lab.AtServer)
			if err != nil {
				t.Fatal(err)
			}
			ends := []*lab.End{e, e.Peer}
			if err := e.Link.Shape(lab.Quality{Loss: share}); err != nil {
				t.Fatal(err)
			}
			q := Quality{Is: lab.Quality{Loss: 0.05}}
			if _, err := q.ping(t.Context(), ends, 1000); err != nil {
				t.Fatal(err)
			}
			before, err := e.Tally()
			if err != nil {
				t.Fatal(err)
			}
			m := measured{from: []lab.Tally{{Lost: before.Lost}, {}}} // as if none of them were lost
			counts, err := q.losses(t.Context(), ends, &m, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, fits := q.fits(counts[0]); fits {
				t.Fatalf("%+v fits", counts[0])
			}
			if counts, err = q.losses(t.Context(), ends, &m, asks-1); err != nil {
				t.Fatal(err)
			}
			_, _, there := q.fits(counts[0])
			_, _, back := q.fits(counts[1])
			if got := there && back; got != want || counts[0].Packets >= before.Packets+1600 {
				t.Errorf("%+v of fresh packets fit: %v, want %v", counts, got, want)
			}
		})
	}
}

func TestMeasurementsOfABusyMachine(t *testing.T) {
	const ms = time.Millisecond
	late := lab.Echoes{Times: []time.Duration{41 * ms, 60 * ms, 70 * ms}}
	for is, want := range map[lab.Quality]time.Duration{
		{Delay: 20 * ms}:                 41 * ms,
		{Delay: 20 * ms, Loss: 0.1}:      41 * ms,
		{Delay: 20 * ms, Jitter: 5 * ms}: 60 * ms,
		{Delay: 20 * ms, Reorder: 0.1}:   60 * ms,
	} {
		if got := (Quality{Is: is}).trip(late); got != want {
			t.Errorf("%s: round trip %v, want %v", is, got, want)
		}
	}
	if got := (Quality{Is: lab.Quality{Delay: 20 * ms}}).trip(lab.Echoes{}); got != 0 {
		t.Errorf("no answers took %v", got)
	}
	for _, c := range []struct{ got, want float64 }{{12, 9.8}, {9, 9.8}} {
		if got := nearest([]float64{c.got, 9.8, 30}, 10); got != c.want {
			t.Errorf("of %v, 9.8 and 30 the nearest to 10 is %v", c.got, got)
		}
	}
}

func TestQualityRefuses(t *testing.T) {
	l := build(t, lab.Direct)
	for word, q := range map[string]Quality{
		"Is":     {At: lab.AtServer},
		"moon":   {At: "moon", Is: lab.Quality{Loss: 0.1}},
		"jitter": {At: lab.AtServer, Is: lab.Quality{Jitter: time.Second}},
	} {
		if _, _, err := q.Inject(t.Context(), l); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("error is %v, want it to name %s", err, word)
		}
	}
}

// The quantiles were computed apart, by summing in another language.
func TestBinomial(t *testing.T) {
	for _, c := range []struct {
		n         uint64
		p         float64
		low, high uint64
	}{
		{0, 0.5, 0, 0},
		{10, 0.5, 0, 10},
		{1000, 0.1, 70, 132},
		{200, 0.01, 0, 8},
		{100000, 0.02, 1856, 2147},
		{500, 1, 500, 500},
	} {
		if low, high := binomial(c.n, c.p); low != c.low || high != c.high {
			t.Errorf("%d trials of %v: %d to %d, want %d to %d", c.n, c.p, low, high, c.low, c.high)
		}
	}
}
