package probe

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/pprof/profile"

	"github.com/halfopen/halfopen/harness/record"
)

const (
	profilePath = "/debug/pprof/goroutine"
	stacksPath  = "/debug/pprof/goroutine?debug=2"
	// Frames by which the observer's own goroutines are known: the handler that
	// answers it, and the reader that watches its connection meanwhile.
	profiler = "runtime/pprof."
	reader   = "net/http.(*connReader).backgroundRead"
	starting = "net/http.(*connReader).startBackgroundRead" // its first instants
)

// groups counts goroutines by the signature without creator.
type groups map[string]int

// goroutines reads both forms. The counts are the profile form's; debug=2, a
// moment later, tells their creators and is the list of identities.
func (o *Observer) goroutines(ctx context.Context) ([]record.Group, []record.Goroutine, error) {
	counts, err := o.profile(ctx)
	if err != nil {
		return nil, nil, err
	}
	dump, err := o.pprof.get(ctx, http.MethodGet, stacksPath)
	if err != nil {
		return nil, nil, err
	}
	all, err := ParseStacks(dump)
	if err != nil {
		return nil, nil, err
	}
	all = others(all)
	return o.blame(counts, all), all, nil
}

// others takes the observer's own goroutines out of a dump. The runtime writes
// the goroutine that asks first: it is the handler that answers the observer.
// What that goroutine started (the connection's reader) is there for the observer
// too.
func others(all []record.Goroutine) []record.Goroutine {
	if len(all) == 0 || !within(all[0].Frames, profiler) {
		return all
	}
	self := all[0].ID
	return slices.DeleteFunc(all, func(g record.Goroutine) bool {
		return g.ID == self || g.Parent == self
	})
}

func within(frames []record.Frame, prefix string) bool {
	return slices.ContainsFunc(frames, func(f record.Frame) bool { return strings.HasPrefix(f.Func, prefix) })
}

// profile reads the profile form, without the observer's own goroutines.
func (o *Observer) profile(ctx context.Context) (groups, error) {
	data, err := o.pprof.get(ctx, http.MethodGet, profilePath)
	if err != nil {
		return nil, err
	}
	p, err := profile.ParseData(data)
	if err != nil {
		return nil, fmt.Errorf("parse goroutine profile: %w", err)
	}
	return tally(p), nil
}

// tally counts a goroutine profile by signature and subtracts the goroutine that
// wrote it, and one reader of a connection, for the one that it came through. The
// form has no identities; where readers differ, ours is the one that has only
// just started, for the others wait.
func tally(p *profile.Profile) groups {
	counts := make(groups)
	var writer, waiting, young string
	for _, sample := range p.Sample {
		if len(sample.Value) == 0 {
			continue
		}
		var frames []record.Frame
		for _, location := range sample.Location {
			for _, line := range location.Line { // inlined calls, innermost first
				if line.Function != nil {
					frames = append(frames, record.Frame{Func: line.Function.Name})
				}
			}
		}
		if len(frames) == 0 {
			// No goroutine: the runtime counts its own (cleanups) into the length of the
			// profile and leaves their records empty (goroutineProfileWithLabelsConcurrent).
			continue
		}
		signature := record.Signature(frames, "")
		counts[signature] += int(sample.Value[0])
		switch {
		case within(frames, profiler+"writeRuntimeProfile"):
			writer = signature
		case within(frames, reader) && within(frames, "internal/poll.runtime_pollWait"):
			waiting = signature
		case within(frames, reader), within(frames, starting) && !within(frames, "net/http.(*conn).serve"):
			young = signature
		}
	}
	if writer == "" {
		return counts
	}
	for _, own := range []string{writer, cmp.Or(young, waiting)} {
		if own == "" {
			continue // a server other than net/http's
		}
		if counts[own]--; counts[own] == 0 {
			delete(counts, own)
		}
	}
	return counts
}

// blame adds the creators to the groups. Where goroutines with one stack have
// several creators, debug=2 says how many each; where it saw none of them (the
// two forms are a moment apart), an earlier sample does.
func (o *Observer) blame(counts groups, all []record.Goroutine) []record.Group {
	fresh := make(map[string]map[string]int)
	for _, g := range all {
		signature := record.Signature(g.Frames, "")
		if fresh[signature] == nil {
			fresh[signature] = make(map[string]int)
		}
		fresh[signature][g.Creator.Func]++
	}
	for signature, creators := range fresh {
		o.creators[signature] = creators
	}
	result := make([]record.Group, 0, len(counts))
	for signature, n := range counts {
		for creator, share := range divide(n, o.creators[signature]) {
			if creator != "" {
				creator = " < " + creator
			}
			result = append(result, record.Group{Signature: signature + creator, Count: share})
		}
	}
	slices.SortFunc(result, func(a, b record.Group) int {
		return cmp.Or(b.Count-a.Count, strings.Compare(a.Signature, b.Signature))
	})
	return result
}

// divide gives n goroutines to creators as they were seen; a difference goes to
// the most frequent ones.
func divide(n int, seen map[string]int) map[string]int {
	if len(seen) == 0 {
		return map[string]int{"": n}
	}
	names := make([]string, 0, len(seen))
	total := 0
	for name, count := range seen {
		names = append(names, name)
		total += count
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(seen[b]-seen[a], strings.Compare(a, b)) })
	shares := make(map[string]int, len(seen))
	for _, name := range names {
		share := max(0, seen[name]+n-total)
		n, total = n-share, total-seen[name]
		if share > 0 {
			shares[name] = share
		}
	}
	return shares
}
