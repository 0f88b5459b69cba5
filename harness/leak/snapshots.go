package leak

import "github.com/halfopen/halfopen/harness/record"

// Snapshots are the four samples of one process.
type Snapshots struct {
	B, E, F, G record.Sample
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
