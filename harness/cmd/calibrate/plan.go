package main

import "github.com/halfopen/halfopen/harness/record"

// experiment is a number of trials alike.
type experiment struct {
	name, what string
	runs       int // trials that are wanted
	// cycles are at least so many, and have at least so many exposures in all: each has
	// between least and most connections.
	cycles, exposures, least, most int
	loaded                         bool // every third trial with all CPUs busy

	kind string // of the server
	// untold: the server has no /debug/free, and its heap is read from its pprof.
	untold bool
	leak   string // "" for a healthy one
	oneIn  int
	bytes  int
	// finds is the resource that must be found to leak; "" for a healthy server.
	finds string
}

// healthy is a server that leaks nothing, in 100 judged cycles after 60 of warm-up.
func healthy(name, kind, what string, least, most int) experiment {
	return experiment{name: name, what: what, runs: 60, cycles: 160, least: least, most: most, loaded: true, kind: kind}
}

// planted is a server that leaks a thing at one connection in 100.
func planted(leak, finds string) experiment {
	return experiment{
		name: leak + " 1 in 100", what: "a " + leak + " leaked at 1 exposure in 100, at random; 1000 exposures",
		runs: 20, exposures: 1000, least: 6, most: 18, kind: "plain", leak: leak, oneIn: 100, finds: finds,
	}
}

// perCycle is about the number of connections of a cycle, for leaks of so many bytes a
// cycle.
const perCycle = 12

// plan is all that is calibrated. The cheap trials come first.
var plan = []experiment{
	healthy("plain", "plain", "healthy: a buffer a connection", 6, 18),
	healthy("sync.Pool", "pool", "healthy: buffers of 64 KiB in a sync.Pool", 6, 18),
	healthy("cache", "cache", "healthy: a cache that fills up, and stays", 6, 18),
	healthy("burst", "plain", "healthy: 30 to 90 connections a cycle", 30, 90),
	healthy("idle", "idle", "healthy: connections left to an idle timeout of 100 ms", 6, 18),
	{
		name: "pprof only", what: "healthy: a buffer a connection; its heap is read from its pprof", runs: 30,
		cycles: 160, least: 6, most: 18, loaded: true, kind: "plain", untold: true,
	},
	planted("goroutine", "goroutines"),
	planted("fd", "fds"),
	planted("socket", "fds"),
	{
		name: "2 KB a cycle", what: "2 KB a cycle leaked in the heap; looked at after 20 judged cycles",
		runs: 20, cycles: 100, least: 6, most: 18, kind: "plain", leak: "heap", oneIn: 1, bytes: 2048 / perCycle, finds: "heap",
	},
	{
		name: "512 B a cycle", what: "512 B a cycle leaked in the heap; looked at after 100 judged cycles",
		runs: 10, cycles: 260, least: 6, most: 18, kind: "plain", leak: "heap", oneIn: perCycle, bytes: 512, finds: "heap",
	},
	{
		name: "labels", what: "a new metric label every 12 connections; looked at after 800 judged cycles",
		runs: 5, cycles: 1680, least: 6, most: 18, kind: "plain", leak: "labels", oneIn: perCycle, finds: "heap",
	},
}

// firstSeed of the trials of an experiment; they count up from it.
const firstSeed = 1

// want is the seed of the next trial of an experiment, given those that are stored, and
// whether one is wanted at all.
func (x experiment) want(done []record.Trial) (seed uint64, wanted bool) {
	n := 0
	seed = firstSeed
	for _, t := range done {
		if t.Name == x.name {
			n++
			seed = max(seed, t.Seed+1)
		}
	}
	return seed, n < x.runs
}

// load says whether the trial with this seed runs under load.
func (x experiment) load(seed uint64) bool { return x.loaded && seed%3 == 0 }
