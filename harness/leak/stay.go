package leak

import (
	"fmt"

	"github.com/halfopen/halfopen/harness/record"
)

// Stayed is what it means that a process did not end when it was told to, and why: DEAD,
// or INCONCLUSIVE where the machine let it wait.
func Stayed(s record.Stay) (record.Verdict, string) {
	f := stayed(s)
	return f.verdict, f.reason
}

func stayed(s record.Stay) finding {
	return finding{
		unless(s.Waited > starving, record.Dead),
		fmt.Sprintf("the %s (pid %d) still ran %.3g s after SIGTERM, and must end within %.3g s; it was killed with %s", s.Role, s.PID, s.After, s.Within, s.Runs),
	}
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
