package leak

import (
	"slices"

	"github.com/halfopen/halfopen/harness/record"
)

// Snapshots are the samples of one process.
type Snapshots struct {
	B, E, F, G record.Sample
	// U is the look before G, if the counts still moved between the two.
	U record.Sample
	// Before is G of the last round of a soak that was a PASS, if none but INCONCLUSIVE ones
	// came between: what they left behind, and what came with no load, counts as this round's.
	Before record.Sample
}

// Carry is what the next round of a soak has as its Before, after one with this verdict;
// a sample without a process for none.
func (s Snapshots) Carry(v record.Verdict) record.Sample {
	switch v {
	case record.Pass:
		return s.G
	case record.Inconclusive:
		return s.Before
	}
	return record.Sample{} // it has a finding, which the next rounds need not repeat
}

// floor is B with the counts that the round must come back to.
func (s Snapshots) floor() record.Sample {
	b := s.B
	if s.Before.PID == b.PID {
		b.FDs, b.Sockets, b.Groups, b.Gauges = s.Before.FDs, s.Before.Sockets, s.Before.Groups, s.Before.Gauges
	}
	return b
}

// moment is one of them, with its label.
type moment struct {
	label  record.Label
	sample record.Sample
}

func (s Snapshots) labelled() []moment {
	return []moment{{record.Baseline, s.B}, {record.Exposed, s.E}, {record.WindowEnd, s.F}, {record.Settled, s.G}}
}

// Excesses compares G with the floor of the round. Where the counts still moved, what was
// not in the look before it either came and went, as far as anybody knows: each row is
// judged by the smaller of the two, each signature and each kind of descriptor by itself.
func (s Snapshots) Excesses() ([]record.Row, []record.Excess) {
	rows, excess := Excesses(s.floor(), s.E, s.F, s.G)
	if s.U.PID == 0 || s.U.PID != s.G.PID {
		return rows, excess
	}
	earlier, had := Excesses(s.floor(), s.E, s.F, s.U)
	excess = slices.DeleteFunc(excess, func(x record.Excess) bool {
		return !slices.ContainsFunc(had, func(y record.Excess) bool { return y.Signature == x.Signature })
	})
	kinds := moreOf(s.floor(), s.U)
	for i := range rows {
		r := &rows[i]
		at := slices.IndexFunc(earlier, func(x record.Row) bool { return x.Resource == r.Resource })
		switch {
		case r.OK, r.Unit == "bytes": // memory is read with G alone
			continue
		case r.Resource == "goroutines":
			r.OK = len(excess) == 0
		case r.Resource == "fds":
			r.OK = true
			for kind := range moreOf(s.floor(), s.G) {
				r.OK = r.OK && kinds[kind] == 0
			}
		default:
			r.OK = at < 0 || earlier[at].OK
		}
		if at >= 0 {
			r.Excess = min(r.Excess, earlier[at].Excess)
		}
		if r.OK {
			r.Excess, r.Note = 0, "not judged: the counts still moved"
		}
	}
	return rows, excess
}
