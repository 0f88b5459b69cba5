package reports

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/halfopen/halfopen/harness/record"
)

func drawLoad(l record.Load) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(l.Visitors)) {
		parts = append(parts, fmt.Sprintf("%d %s", l.Visitors[k], k))
	}
	text := cmp.Or(strings.Join(parts, ", "), "no visitors")
	if l.Traffic != "" {
		text += ", traffic " + l.Traffic
	}
	if l.Bytes > 0 {
		text += ", " + size(l.Bytes) + " checked byte by byte"
	}
	return text
}

// faultViews is one line a fault, its phases joined.
func (r *round) faultViews() []faultView {
	var list []faultView
	index := map[int]int{}
	for _, f := range r.faults {
		at, ok := index[f.it.ID]
		if !ok {
			at = len(list)
			index[f.it.ID] = at
			list = append(list, faultView{Injected: "–", Witnessed: "–", Healed: "not healed"})
		}
		v := &list[at]
		when := seconds(r.after(f.at))
		switch f.it.Phase {
		case "injected":
			v.Injected = when
		case "witnessed":
			v.Witnessed = when
		case "healed":
			v.Healed = when
		}
		v.Name, v.Place, v.Class = cmp.Or(f.it.Name, v.Name), cmp.Or(f.it.Place, v.Place), cmp.Or(string(f.it.Class), v.Class)
		v.Witness, v.Bit = cmp.Or(f.it.Witness, v.Witness), v.Bit || f.it.Bit
		if f.it.Exposures > 0 {
			v.Exposures = fmt.Sprint(f.it.Exposures)
		}
	}
	return append(list, r.stepViews()...)
}

// processViews lists the changes in the processes' lives, with the last output
// of those that went. An exit that no fault explains is open.
func (r *round) processViews() []processView {
	var list []processView
	for _, p := range r.processes {
		v := processView{Role: p.it.Role, Host: p.it.Host, PID: fmt.Sprint(p.it.PID), At: seconds(r.after(p.at)),
			What: p.it.What, Detail: p.it.Detail, Command: cutText(strings.Join(p.it.Argv, " "), mostText)}
		if p.it.What == "exited" {
			v.Open = !r.hit(p)
		}
		if p.it.What == "exited" || p.it.What == "stopped" {
			v.Tail = cutText(strings.Join(p.it.Tail, "\n"), mostText)
		}
		list = append(list, v)
	}
	return list
}

// hit tells whether a fault at that process explains its exit.
func (r *round) hit(p timed[record.Process]) bool {
	for _, f := range r.faults {
		if f.it.Phase == "injected" && p.it.Role != "" && strings.Contains(f.it.Place, p.it.Role) && !f.at.After(p.at) {
			return true
		}
	}
	return false
}
