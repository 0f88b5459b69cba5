package reports

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/halfopen/halfopen/harness/record"
)

// focus is the one round that the page tells first and whole: the one that decides
// a bad verdict; of a pass, the one that came closest to its deadline. Its fields
// are nil if there is none.
type focus struct {
	spec  *spec
	round *round
}

func (s *story) focus() focus {
	if s.summary.Verdict != record.Pass {
		if worst := s.byHarm(); len(worst) > 0 && worst[0].worst != nil && worst[0].verdict == s.summary.Verdict {
			return focus{worst[0], worst[0].worst}
		}
		return focus{} // the reason is the run's own: its self-check, or that nothing ran
	}
	var found focus
	most := -1.0
	for _, sp := range s.specs {
		for _, r := range sp.rounds {
			upper, _ := r.upper()
			if r.verdict != record.Pass || len(r.outcomes) == 0 {
				continue
			}
			share := 0.0 // of a fault that was to be survived, or that ends at once
			if returned := r.outcomes[len(r.outcomes)-1].it.Returned; upper > 0 && returned > 0 {
				share = returned / upper
			}
			if share > most {
				most, found = share, focus{sp, r}
			}
		}
	}
	return found
}

func (f focus) name() string {
	if f.round.cycle > 0 {
		return fmt.Sprintf("%s, cycle %d", f.spec.head.Name, f.round.cycle)
	}
	return f.spec.head.Name
}

// closest says how near a pass came to its deadline.
func (f focus) closest() string {
	fault := f.round.faultText()
	if j := f.round.judgement(); len(f.round.windows) > 0 && f.round.windows[len(f.round.windows)-1].it.Survive {
		return fault + ": all connections survived, as they must"
	} else if upper, known := f.round.upper(); known && j.Returned >= 0 {
		return fmt.Sprintf("%s: all gone after %s; the window was %s, late begins at %s", fault, seconds(j.Returned), seconds(upper), seconds(f.round.deadline()))
	}
	return fault
}

// drawFocus draws the round, with its window apart: that comes with the environment.
func (p *page) drawFocus(f focus) {
	if f.round == nil {
		return
	}
	sec := f.round.section("focus", 3)
	if len(f.spec.cycles()) == 0 {
		f.spec.fillHead(&sec)
	}
	sec.Reason, sec.Where, sec.Why, sec.Fault, sec.Replay = "", "", "", "", "" // the banner has them
	p.Windows, sec.Windows = sec.Windows, nil
	p.WindowsOf = f.name()
	p.Focus = &sec
	p.FocusTitle, p.FocusNote = "The finding", f.name()
	if f.spec.verdict == record.Pass {
		p.FocusTitle = "The closest call"
	}
}

// freed says when the exposed connections were given up, and which detectors of the
// window can have acted at that time: what freed them.
func (r *round) freed() string {
	if len(r.outcomes) == 0 || len(r.windows) == 0 {
		return ""
	}
	o, w := r.outcomes[len(r.outcomes)-1].it, r.windows[len(r.windows)-1].it
	if w.Survive || w.May {
		return ""
	}
	var parts []string
	if o.First >= 0 {
		parts = append(parts, "the first connection "+seconds(o.First)+" after the fault"+acted(w, o.First))
	}
	switch held := r.held(); {
	case o.Returned >= 0:
		parts = append(parts, "the last "+seconds(o.Returned)+" after it"+acted(w, o.Returned))
	case o.First < 0 && held > 0:
		parts = append(parts, "none")
	case held > 0:
		parts = append(parts, fmt.Sprintf("%d never", held))
	}
	return strings.Join(parts, "; ")
}

// held counts the sockets and descriptors among the survivors.
func (r *round) held() int {
	n := 0
	for _, j := range r.judgements {
		for _, v := range j.Survivors {
			if v.Goroutine == nil {
				n++
			}
		}
	}
	return n
}

// acted names the detectors that can have fired so long after the fault.
func acted(w record.Window, after float64) string {
	var names []string
	for _, b := range w.Rows {
		if b.Latest < 0 || after < b.Earliest || after > b.Latest+w.Slack || slices.Contains(names, b.Detector) {
			continue
		}
		if strings.HasPrefix(b.Detector, "end of what carries") {
			continue // it follows from another
		}
		names = append(names, b.Detector)
	}
	if len(names) == 0 {
		return ""
	}
	return " (the time of " + strings.Join(names, ", ") + ")"
}

// peerView is a surviving socket as its other end sees it.
type peerView struct{ Socket, Process, Sees string }

// peerViews looks for the other end of each surviving socket among the sockets of
// the other processes, in the snapshot that still had it.
func (r *round) peerViews() []peerView {
	var list []peerView
	for _, j := range r.judgements {
		for _, v := range j.Survivors {
			if v.Socket == nil || len(list) == mostSurvivors {
				continue
			}
			view := peerView{Socket: v.Socket.Local + " → " + v.Socket.Remote, Process: "none of the target's processes",
				Sees: "no snapshot has the other end: it is a visitor or an origin, or its process has ended"}
			if role, label, s, ok := r.otherEnd(v); ok {
				view.Process = fmt.Sprintf("%s pid %d", role.Role, role.PID)
				view.Sees = fmt.Sprintf("%s, kernel timer %s, Recv-Q %d, Send-Q %d", s.State, timer(s), s.RecvQ, s.SendQ)
				if label != v.Moment {
					view.Sees = fmt.Sprintf("gone at the %s; it was %s %s", moment(v.Moment), s.State, before(label))
				}
				view.Sees += r.ended(role)
			}
			list = append(list, view)
		}
	}
	return list
}

func before(l record.Label) string {
	if l == record.Exposed {
		return "just before the fault"
	}
	return "at the " + moment(l)
}

// otherEnd finds the survivor's other end: at the same moment, else before the
// fault. Behind a NAT the addresses differ, and the port alone tells.
func (r *round) otherEnd(v record.Survivor) (record.Sample, record.Label, record.Socket, bool) {
	for _, label := range []record.Label{v.Moment, record.Exposed} {
		for _, snap := range r.snapshots {
			if snap.it.Label != label || snap.it.Sample.Role == v.Role {
				continue
			}
			for _, s := range snap.it.Sample.Sockets {
				if s.State != "LISTEN" && (s.Local == v.Socket.Remote || port(s.Local) == port(v.Socket.Remote)) && port(s.Remote) == port(v.Socket.Local) {
					return snap.it.Sample, label, s, true
				}
			}
		}
	}
	return record.Sample{}, "", record.Socket{}, false
}

// ended says that the process at the other end had ended, and when.
func (r *round) ended(s record.Sample) string {
	for _, p := range r.processes {
		if p.it.PID == s.PID && p.it.What == "exited" {
			return fmt.Sprintf("; that process ended %s after the fault", seconds(r.after(p.at)))
		}
	}
	for _, f := range r.faults {
		if f.it.Ends == s.Role {
			return "; the fault ended that process"
		}
	}
	return ""
}

func port(address string) uint16 {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return 0
	}
	return a.Port()
}
