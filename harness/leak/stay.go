package leak

import (
	"fmt"

	"github.com/halfopen/halfopen/harness/record"
)

// Stayed is what it means that a process did not end in time when it was told to, and why:
// DEAD if it had to be killed, though it had as much more time as the machine let it wait;
// else as late as any other.
func Stayed(s record.Stay) (record.Verdict, string) {
	f := stayed(s)
	return f.verdict, f.reason
}

func stayed(s record.Stay) finding {
	who := fmt.Sprintf("the %s (pid %d)", s.Role, s.PID)
	if s.Runs == "" {
		return finding{late(s.After, s.Within, s.Waited), fmt.Sprintf("%s ended %.3g s after SIGTERM, and must within %.3g s", who, s.After, s.Within)}
	}
	most := fmt.Sprintf("%.3g s", s.Within)
	if s.Waited > starving {
		most += fmt.Sprintf(" and the %.3g s that the machine let it wait", s.Waited)
	}
	return finding{record.Dead, fmt.Sprintf("%s still ran %.3g s after SIGTERM, and must end within %s; it was killed with %s", who, s.After, most, s.Runs)}
}

// Runs says in a few words what a process still holds and does, and where its main
// goroutine stands: as long as that has not returned, a Go program has not ended.
func Runs(s record.Sample) string {
	text := fmt.Sprintf("%s, %s", plural(len(s.FDs), "descriptor"), plural(len(s.Sockets), "socket"))
	if len(s.Goroutines) > 0 {
		text += ", " + plural(len(s.Goroutines), "goroutine")
	}
	for _, g := range s.Goroutines {
		if g.ID == 1 {
			text += fmt.Sprintf(", main in %s [%s]", Place(g), g.State)
		}
	}
	return text
}
