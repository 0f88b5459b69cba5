package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"time"
)

// measure is the whole run. It returns the exit status.
func measure(ctx context.Context, o options) (status int, err error) {
	chosen, skipped := choose(o)
	for _, line := range skipped {
		fmt.Fprintln(os.Stderr, "bench:", line)
	}
	b, err := newBench(o)
	if err != nil {
		return unfit, err
	}
	defer func() { err = errors.Join(err, b.lab.Close()) }()
	names := selected(o.figures)
	fmt.Printf("bench: %d rounds of %v, congestion control %s, one certificate (ECDSA P-256), AES-128-GCM\n", o.rounds, o.window, congestion)
	all, err := b.inRounds(ctx, chosen, names)
	if err != nil {
		return unfit, err
	}
	for _, s := range specials {
		if !slices.Contains(names, s.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s\n", s.name)
		more, err := s.take(ctx, b)
		if ctx.Err() != nil {
			return unfit, context.Cause(ctx)
		}
		if err != nil {
			all = append(all, row{Figure: s.name, Error: err.Error()})
			continue
		}
		all = append(all, more...)
	}
	r := result{Taken: time.Now().UTC().Truncate(time.Second), Rounds: o.rounds, Window: o.window.Seconds(), Congestion: congestion, Skipped: skipped, Figures: all}
	r.print(os.Stdout)
	if err := r.save(o.out); err != nil {
		return unfit, err
	}
	return r.status(), nil
}

// values are what a peer's figure was in each round; NaN where it failed.
type values map[string]map[string][]float64

// inRounds measures every figure of every peer in every round.
func (b *bench) inRounds(ctx context.Context, chosen []peer, names []string) ([]row, error) {
	var wanted []figure
	for _, f := range figures {
		if slices.Contains(names, f.name) {
			wanted = append(wanted, f)
		}
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	var all []*running
	for i, p := range chosen {
		r, err := b.start(ctx, p, b.lab.Server, firstPort+10*i)
		if err != nil && (p.name == ours || ctx.Err() != nil) {
			return nil, err
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s is not measured: %v\n", p.name, err)
			continue
		}
		all = append(all, r)
	}
	defer func() {
		for _, r := range all {
			_ = r.stop() // they end with the lab at the latest
		}
	}()
	got := values{}
	for _, f := range wanted {
		got[f.name] = map[string][]float64{}
	}
	for round := range b.rounds {
		for _, f := range wanted {
			if f.with != "" {
				continue
			}
			fmt.Fprintf(os.Stderr, "bench: round %d of %d, %s\n", round+1, b.rounds, f.name)
			rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			for _, r := range all {
				b.note(ctx, got, f, r, round)
				for _, g := range wanted {
					if g.with == f.name {
						b.note(ctx, got, g, r, round)
					}
				}
				if ctx.Err() != nil {
					return nil, context.Cause(ctx)
				}
			}
		}
	}
	return rows(wanted, chosen, got), nil
}

// note takes one measurement. What fails is told, and missing from the medians.
func (b *bench) note(ctx context.Context, got values, f figure, r *running, round int) {
	v, err := f.take(ctx, b, r)
	if err != nil {
		v = math.NaN()
		if !errors.Is(err, errNotHere) && ctx.Err() == nil {
			fmt.Fprintf(os.Stderr, "bench: %s of %s failed in round %d: %v\n", f.name, r.name, round+1, err)
		}
	}
	got[f.name][r.name] = append(got[f.name][r.name], v)
}

// rows compares ours with each peer, figure by figure.
func rows(wanted []figure, chosen []peer, got values) (all []row) {
	for _, f := range wanted {
		mine := got[f.name][ours]
		for _, p := range chosen {
			theirs := got[f.name][p.name]
			if p.name == ours || len(theirs) == 0 {
				continue
			}
			g := goal{peer: p.name}
			for _, want := range f.goals {
				if want.peer == p.name {
					g = want
				}
			}
			ratios := make([]float64, len(mine))
			for i := range mine {
				ratios[i] = mine[i] / theirs[i]
			}
			if r := relative(f.name, f.unit, p.name, mine, theirs, ratios, g, f.less); r.Rounds > 0 {
				all = append(all, r)
			}
		}
	}
	return all
}
