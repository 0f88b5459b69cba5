package harness

import (
	"regexp"
)

// listen notes how far the outputs of the target's processes have come, if its file
// says how to find in them which detector ended a connection.
func (w *World) listen() {
	w.t.Helper()
	if w.suite.Target.Noticed == "" {
		return
	}
	w.round.printed = map[*Process]int64{}
	for _, p := range w.living() {
		n, err := p.PrintedBytes()
		if err != nil {
			w.abort(err)
		}
		w.round.printed[p] = n
	}
}

// noticed counts the detectors that the processes have named since listen.
func (w *World) noticed() map[string]int {
	w.t.Helper()
	if w.suite.Target.Noticed == "" {
		return nil
	}
	find := regexp.MustCompile(w.suite.Target.Noticed) // checked when the file was read
	count := map[string]int{}
	for p, from := range w.round.printed {
		text, err := p.Printed(from)
		if err != nil {
			w.abort(err)
		}
		for _, m := range find.FindAllSubmatch(text, -1) {
			count[string(m[1])]++
		}
	}
	return count
}
