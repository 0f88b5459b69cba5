// Package leak is the judge: windows, snapshots, survivors, bounds, verdicts. It
// is pure: it reads no clock, no file and no process, and says the same of a
// stored record as of a living run.
package leak

import "github.com/halfopen/halfopen/harness/record"

// order is LEAK > DEAD > LATE > INCONCLUSIVE > PASS; SKIPPED decides nothing.
var order = map[record.Verdict]int{
	record.Skipped:      0,
	record.Pass:         1,
	record.Inconclusive: 2,
	record.Late:         3,
	record.Dead:         4,
	record.Leak:         5,
}

// Worst is the worst of the verdicts; INCONCLUSIVE if none of them judged
// anything (none at all, or all skipped).
func Worst(verdicts ...record.Verdict) record.Verdict {
	worst := record.Skipped
	for _, v := range verdicts {
		if order[v] > order[worst] {
			worst = v
		}
	}
	if worst == record.Skipped {
		return record.Inconclusive
	}
	return worst
}

// ExitCode is the exit status that scripts see: 0 pass; 1 leak, late or dead; 3
// inconclusive. (2 is usage or set-up, and has no verdict.)
func ExitCode(v record.Verdict) int {
	switch v {
	case record.Pass:
		return 0
	case record.Leak, record.Late, record.Dead:
		return 1
	default:
		return 3
	}
}
