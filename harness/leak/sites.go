package leak

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/google/pprof/profile"

	"github.com/halfopen/halfopen/harness/record"
)

// mostSites are named of those that grew.
const mostSites = 5

// Sites says which places in a program hold more of the heap in the profile last than in
// the profile first, so many cycles before: the largest growth first. Both are pprof's heap
// profiles, gzipped or not. The program must have run with GODEBUG=memprofilerate=1: the
// default samples one allocation in 512 KiB, and misses what leaks slowly.
func Sites(first, last []byte, cycles int) ([]record.Site, error) {
	before, err := inUseBy(first)
	if err != nil {
		return nil, err
	}
	after, err := inUseBy(last)
	if err != nil {
		return nil, err
	}
	var sites []record.Site
	total := 0.0
	for _, where := range slices.Sorted(maps.Keys(after)) {
		bytes := float64(after[where].bytes - before[where].bytes)
		if bytes <= 0 {
			continue
		}
		total += bytes
		sites = append(sites, record.Site{Where: where, Bytes: bytes / float64(cycles), Objects: float64(after[where].objects-before[where].objects) / float64(cycles)})
	}
	slices.SortStableFunc(sites, func(a, b record.Site) int { return cmp.Compare(b.Bytes, a.Bytes) })
	for i := range sites {
		sites[i].Share = sites[i].Bytes * float64(cycles) / total
	}
	return sites[:min(mostSites, len(sites))], nil
}

type inUse struct{ objects, bytes int64 }

// inUseBy adds up what is in use by place: the first frame from the allocation upwards
// that is the program's own.
func inUseBy(data []byte) (map[string]inUse, error) {
	p, err := profile.ParseData(data)
	if err != nil {
		return nil, fmt.Errorf("read heap profile: %w", err)
	}
	objects := slices.IndexFunc(p.SampleType, func(t *profile.ValueType) bool { return t.Type == "inuse_objects" })
	bytes := slices.IndexFunc(p.SampleType, func(t *profile.ValueType) bool { return t.Type == "inuse_space" })
	if objects < 0 || bytes < 0 {
		return nil, fmt.Errorf("read heap profile: it is one of %d other values", len(p.SampleType))
	}
	held := map[string]inUse{}
	for _, s := range p.Sample {
		where := site(s)
		h := held[where]
		held[where] = inUse{h.objects + s.Value[objects], h.bytes + s.Value[bytes]}
	}
	return held, nil
}

// site is "cache.go:77 Put".
func site(s *profile.Sample) string {
	name := func(l profile.Line) string {
		return fmt.Sprintf("%s:%d %s", path.Base(l.Function.Filename), l.Line, path.Base(l.Function.Name))
	}
	text := "unknown"
	for _, at := range s.Location {
		for _, l := range at.Line {
			if l.Function == nil {
				continue
			}
			if isOwn(record.Frame{Func: l.Function.Name}) {
				return name(l)
			}
			if text == "unknown" {
				text = name(l)
			}
		}
	}
	return text
}

// blame adds to the statement on a heap that leaks, or may, where it grows.
func blame(x *record.Statement, sites []record.Site) {
	if x.Resource != Heap || x.Verdict != record.Leak && x.Verdict != record.Inconclusive || len(sites) == 0 || strings.Contains(x.Text, givenBack) {
		return
	}
	s := sites[0]
	x.Where = s.Where
	x.Text += fmt.Sprintf("; %.0f %% of what grew is at %s, %.2f objects per cycle", math.Round(100*s.Share), s.Where, s.Objects)
}
