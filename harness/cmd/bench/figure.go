package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// goal is what the ratio of ours to a peer's has to be.
type goal struct {
	peer  string
	ratio float64
}

// figure is one thing that is measured of every peer in every round.
type figure struct {
	name, unit string
	less       bool // is better
	goals      []goal
	take       func(ctx context.Context, b *bench, r *running) (float64, error)
	with       string // the figure that is taken in the same measurement, for its processor time
}

// warm is how long a measurement runs before it counts.
const warm = 300 * time.Millisecond

// rate measures visitors of one kind; new connections are asked for at the raw
// port, for a like with a like.
func rate(kind string, n int, web bool, scale float64) func(context.Context, *bench, *running) (float64, error) {
	return func(ctx context.Context, b *bench, r *running) (float64, error) {
		o := order{Kind: kind, Address: r.raw, Host: host, N: n, Warm: warm, Window: b.window}
		if web {
			o.Address = r.web
		}
		if n >= 500 {
			o.Warm *= 3 // all have to get in first
		}
		pids := r.pids()
		used := cpu(pids)
		t, err := b.visit(ctx, b.lab.Server, o)
		if err != nil {
			return 0, err
		}
		if t.Errors > t.Count/100 || t.Count == 0 {
			return 0, fmt.Errorf("%d of %d failed: %s", t.Errors, t.Count, t.Error)
		}
		b.spent[r.name] = (cpu(pids) - used) / float64(t.Total) * 1e9
		return float64(t.Count) / t.Window / scale, nil
	}
}

// spent is the processor time of server and client in the measurement just made:
// seconds a gigabyte.
func spent(_ context.Context, b *bench, r *running) (float64, error) {
	if r.name == direct {
		return 0, errNotHere
	}
	return b.spent[r.name], nil
}

// errNotHere says that a figure makes no sense for a peer.
var errNotHere = errors.New("not here")

const megabyte = 1e6

// figures are all that is measured in rounds.
var figures = []figure{
	{name: "bulk-down-1", unit: "MB/s", goals: []goal{{"haproxy", 1.05}, {"ssh", 0.75}}, take: rate("down", 1, false, megabyte)},
	{name: "bulk-up-1", unit: "MB/s", goals: []goal{{"haproxy", 1.05}, {"ssh", 0.75}}, take: rate("up", 1, false, megabyte)},
	{name: "bulk-down-32", unit: "MB/s", goals: []goal{{"haproxy", 1.35}, {"ssh", 1.4}}, take: rate("down", 32, false, megabyte)},
	{name: "cpu-down-32", unit: "s/GB", less: true, goals: []goal{{"haproxy", 0.75}}, take: spent, with: "bulk-down-32"},
	{name: "bulk-up-32", unit: "MB/s", goals: []goal{{"haproxy", 1.35}}, take: rate("up", 32, false, megabyte)},
	{name: "cpu-up-32", unit: "s/GB", less: true, goals: []goal{{"haproxy", 0.75}}, take: spent, with: "bulk-up-32"},
	{name: "http-50", unit: "1/s", goals: []goal{{"haproxy", 0.95}}, take: rate("http", 50, true, 1)},
	{name: "http-500", unit: "1/s", goals: []goal{{"ssh", 0.9}}, take: rate("http", 500, true, 1)},
	{name: "new", unit: "1/s", goals: []goal{{"ssh", 1.2}}, take: rate("new", 16, false, 1)},
	{name: "ws-50", unit: "1/s", goals: []goal{{"ssh", 0.8}}, take: rate("ws", 50, true, 1)},
	{name: "ws-1000", unit: "1/s", goals: []goal{{"ssh", 0.95}}, take: rate("ws", 1000, true, 1)},
}

// special is a figure of ours alone, measured once or in a way of its own.
type special struct {
	name string
	take func(ctx context.Context, b *bench) ([]row, error)
}

var specials = []special{
	{"idle", func(ctx context.Context, b *bench) ([]row, error) { return b.idle(ctx, "idle", 9000, 10) }},
	{"after-1mb", func(ctx context.Context, b *bench) ([]row, error) { return b.idle(ctx, "blob", 1000, 12) }},
	{"stall", func(ctx context.Context, b *bench) ([]row, error) { return b.stall(ctx) }},
	{"dead", func(ctx context.Context, b *bench) ([]row, error) { return b.dead(ctx) }},
	{"delay", func(ctx context.Context, b *bench) ([]row, error) { return b.delayed(ctx) }},
}

func figureNames() (names []string) {
	for _, f := range figures {
		names = append(names, f.name)
	}
	for _, s := range specials {
		names = append(names, s.name)
	}
	return names
}

// selected says which of all figures are named, or begin with a name; all without
// a name.
func selected(want []string) (names []string) {
	for _, name := range figureNames() {
		ok := len(want) == 0
		for _, w := range want {
			ok = ok || name == w || strings.HasPrefix(name, w) && !slices.Contains(figureNames(), w)
		}
		if ok {
			names = append(names, name)
		}
	}
	return names
}
