package leak

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/halfopen/halfopen/harness/record"
)

// Round is one fault with all that was seen around it: what the judge judges.
type Round struct {
	Fault    record.Fault    // as witnessed; Bit says whether it took effect
	Settings record.Settings // of the target's file
	Window   record.Window   // of the fault
	Settle   record.Window   // of the return to the baseline after the heal
	// Processes are the judged processes: the server, and the client where it lives.
	Processes []Snapshots
	Outcome   record.Outcome
	Services  []record.Service
}

// starving is the wait for a CPU, in seconds, from which on a late target is not to
// blame.
const starving = 0.5

// Keeps is the share of its rate that a client keeps beside a fault which is not its own.
const Keeps = 0.8

// Starved says whether the machine stood still for so long around a fault that what
// was late then says nothing.
func Starved(o record.Outcome) bool { return stood(o) > starving }

// stood is the longest of the times that the machine stood still around a fault, in seconds.
func stood(o record.Outcome) float64 { return max(beforeFault(o), inWindow(o), afterHeal(o)) }

// StoodStill is what stands beside a finding on a machine that starved; "" on another.
func StoodStill(o record.Outcome) string {
	if !Starved(o) {
		return ""
	}
	return fmt.Sprintf("%s%.3g s", stoodStill, stood(o))
}

// BlamesMachine says whether a reason has the words of StoodStill: a story that is broken
// off before its fault leaves no outcome, but tells why.
func BlamesMachine(reason string) bool { return strings.Contains(reason, stoodStill) }

const stoodStill = "the machine itself stood still for up to "

// beforeFault, inWindow and afterHeal are how late the machine may have made a target, in
// seconds, that takes many steps: all waits of that time together, which are no less than the
// longest. What it stood still at another time excuses nothing.
func beforeFault(o record.Outcome) float64 { return o.WaitedBefore }
func inWindow(o record.Outcome) float64    { return o.Waited }
func afterHeal(o record.Outcome) float64   { return o.WaitedAfter }

// Judge says what a round proves.
//
// A fault that did not bite proves nothing, but for a process that died by itself and a
// wrong byte, which no fault excuses. Otherwise all that was found is weighed, and the
// worst decides: LEAK if something exposed is still held at the end of
// the window's grace, or if more is held after the heal than before; DEAD if the
// target died, gave up a healthy connection, served wrong bytes, or does not serve
// again; LATE if all is gone, but after the deadline. On a machine that starved, what
// is late by no more than that is INCONCLUSIVE, and so is what was given up too early,
// lost before the fault, or flowed no more; a finding that starving does not explain stands beside it. So is
// what would be a PASS, if nothing was judged, or if
// the live sockets are not set as the target's file says: the window is that of the
// sockets, but a file that is wrong about what can be read is not to be believed about what can't.
func Judge(r Round) record.Judgement {
	o := r.Outcome
	j := record.Judgement{
		Exposures: r.Fault.Exposures, FaultEvents: 1, Returned: o.Returned,
		Fault: fmt.Sprintf("%s at %s, %d connections exposed", r.Fault.Name, r.Fault.Place, r.Fault.Exposures),
	}
	for _, p := range r.Processes {
		for _, v := range survivors(r, p) {
			v.Age = p.F.At.Sub(p.E.At).Seconds()
			j.Survivors = append(j.Survivors, v)
		}
		j.Differences = append(j.Differences, Differences(r.Settings, p.E)...)
		rows, excess := p.Excesses()
		j.Table = append(j.Table, rows...)
		j.Excess = append(j.Excess, excess...)
	}
	j.Differences = append(j.Differences, Contradictions(r.Settings, r.Window, o)...)
	worst := finding{record.Pass, passed(r)}
	for _, f := range findings(r, j) {
		if order[f.verdict] > order[worst.verdict] {
			worst = f
		}
	}
	j.Verdict, j.Reason = worst.verdict, worst.reason
	if j.Verdict == record.Inconclusive && Starved(o) {
		j.Starved = gaugeDoubt(r) == "" && !slices.ContainsFunc(j.Differences, lies) // which no wait explains
		j.Reason += "; " + StoodStill(o)
	}
	if j.Verdict == record.Leak {
		j.Where, j.Why = where(j), why(j)
		if j.Where == "" {
			j.Where = held(r.Processes)
		}
		if where, why := gaugeHolder(j); j.Where == "" {
			j.Where, j.Why = where, why
		}
	}
	return j
}

// finding is one thing that is wrong with a round.
type finding struct {
	verdict record.Verdict
	reason  string
}

// findings are all of them; of those that are equally bad, the one that says more comes
// first.
func findings(r Round, j record.Judgement) []finding {
	o := r.Outcome
	var found []finding
	add := func(when bool, v record.Verdict, format string, args ...any) {
		if when {
			found = append(found, finding{v, fmt.Sprintf(format, args...)})
		}
	}
	add(o.Died != "", record.Dead, "%s", o.Died)
	add(o.Corrupt != "", record.Dead, "%s", o.Corrupt)
	if o.Stayed != nil {
		found = append(found, stayed(*o.Stayed))
	}
	add(!r.Fault.Bit, record.Inconclusive, "the fault did not bite: %s: %s", r.Fault.Name, r.Fault.Witness)
	add(r.Fault.Exposures == 0, record.Inconclusive, "no connection went through %s", r.Fault.Name)
	if !r.Fault.Bit || r.Fault.Exposures == 0 {
		return found
	}
	add(len(j.Survivors) > 0, record.Leak, "%s outlived the window of %.3g s after %s", tally(j.Survivors), r.Window.Upper, r.Fault.Name)
	if o.Died != "" {
		// Its peer has nobody to log in to: G is not at rest as B was.
		return found
	}
	starved := inWindow(o) > starving
	// What was lost before the fault says nothing of how long one lives after it.
	given := o.First
	if o.Lost != "" {
		given = -1
	}
	mustLive := r.Window.Survive || r.Window.Lower > 0
	add(o.Lost != "" && mustLive, unless(starved, record.Dead), "%s", o.Lost)
	add(!back(j, slices.ContainsFunc(r.Services, unserved)), record.Leak, "after %s was healed, %s", r.Fault.Name, shortfall(j))
	if r.Window.Survive {
		add(given >= 0, unless(starved, record.Dead),
			"a connection was given up %.3g s after %s, which a healthy one survives", given, r.Fault.Name)
		add(o.Lost == "" && lost(r) > 0, unless(starved, record.Dead),
			"%s gone when %s had been survived", plural(lost(r), "connection"), r.Fault.Name)
	}
	add(o.Broken != "", unless(beforeFault(o) > starving, record.Dead), "%s", o.Broken)
	if x := o.Offer; x != nil {
		add(x.Before < Keeps*x.Offered, record.Inconclusive,
			"another client was offered %.3g MB/s and got %.3g MB/s before the fault already", x.Offered/1e6, x.Before/1e6)
		add(x.Before >= Keeps*x.Offered && x.During < Keeps*x.Offered, unless(excused(*x), record.Dead),
			"another client was offered %.3g MB/s, got that before %s, which was not for it, and %.3g MB/s beside it", x.Offered/1e6, r.Fault.Name, x.During/1e6)
	}
	add(o.Beside != "", unless(starved, record.Dead), "%s", o.Beside)
	add(o.Stalled != "", unless(starved, record.Dead), "%s", o.Stalled)
	// What should have put the detector off may have waited.
	add(!r.Window.Survive && given >= 0 && given < r.Window.Lower, unless(starved && given >= r.Window.Lower-inWindow(o), record.Dead),
		"a connection was given up %.3g s after %s, but a healthy one must live for %.3g s", given, r.Fault.Name, r.Window.Lower)
	for _, s := range r.Services {
		since := fmt.Sprintf("after %s was healed", r.Fault.Name)
		if s.Client == record.Moved {
			since = fmt.Sprintf("after the window of %s", r.Fault.Name)
		}
		add(unserved(s), record.Dead, "no service for the %s client within %.3g s %s: %s", s.Client, s.Limit, since, s.Error)
		add(tardy(s), unless(afterHeal(o) > starving, record.Dead),
			"the %s client was served %.3g s %s, and not within %.3g s", s.Client, s.After, since, s.Limit)
	}
	add(o.Returned > r.Window.Deadline, late(o.Returned, r.Window.Deadline, inWindow(o)),
		"all is gone %.3g s after %s, but the deadline was %.3g s", o.Returned, r.Fault.Name, r.Window.Deadline)
	// The last look still saw it, and snapshot F, a moment later, did not.
	add(o.Returned < 0 && !r.Window.Survive && !r.Window.May && len(j.Survivors) == 0, late(r.Window.Last, r.Window.Deadline, inWindow(o)),
		"something was still held %.3g s after %s, and gone a moment later; the deadline was %.3g s", r.Window.Last, r.Fault.Name, r.Window.Deadline)
	// G is one moment of a process whose counts still moved: it proves nothing.
	add(o.SettledAfter < 0, record.Inconclusive, "not at rest %.3g s after the visitors had left", r.Settle.Last)
	add(o.SettledAfter > r.Settle.Deadline, late(o.SettledAfter, r.Settle.Deadline, afterHeal(o)),
		"back at the baseline %.3g s after the visitors had left, but the deadline was %.3g s", o.SettledAfter, r.Settle.Deadline)
	missing := unseen(r)
	add(missing != "", record.Inconclusive, "nothing was judged: %s", missing)
	unread := gaugeDoubt(r)
	add(unread != "", record.Inconclusive, "%s", unread)
	if i := slices.IndexFunc(j.Differences, lies); i >= 0 {
		add(true, record.Inconclusive, "the target's file belies its sockets: %s", j.Differences[i].Reason)
	}
	return found
}

// unseen says what a judgement lacks: a process to judge, or one of its snapshots; "" if
// there is all. A process that the fault freezes has no F.
func unseen(r Round) string {
	if len(r.Processes) == 0 {
		return "no process that was there before the fault is asked about, and lives"
	}
	for _, p := range r.Processes {
		frozen := r.Fault.Class == record.Frozen && r.Fault.Place == p.B.Role
		for _, s := range p.labelled() {
			if s.sample.PID == 0 && !(frozen && s.label == record.WindowEnd) {
				return fmt.Sprintf("a process has no snapshot %s", s.label)
			}
		}
	}
	return ""
}

// passed is what a round without any finding proves.
func passed(r Round) string {
	text := fmt.Sprintf("%d connections went through %s; the last was gone after %.1f s of the window of %.3g s", r.Fault.Exposures, r.Fault.Name, r.Outcome.Returned, r.Window.Upper)
	switch {
	case r.Window.May:
		text = fmt.Sprintf("%d connections went through %s; %.3g s after its end all have left, and nothing is held", r.Fault.Exposures, r.Fault.Name, r.Window.Upper)
	case r.Window.Survive:
		text = fmt.Sprintf("%d connections survived %s", r.Fault.Exposures, r.Fault.Name)
	}
	if len(r.Services) == 0 {
		text += "; service after the heal was not asked for"
	}
	return text
}

// late is the verdict on what came after its deadline, on a machine that let ready
// threads wait for up to starved seconds.
func late(after, deadline, starved float64) record.Verdict {
	return unless(starved > starving && after <= deadline+starved, record.Late)
}

// unless is a verdict that the machine may be to blame for.
func unless(starved bool, v record.Verdict) record.Verdict {
	if starved {
		return record.Inconclusive
	}
	return v
}

// excused says whether another client lost no more of its rate than the share of the time
// that the machine stood still for.
func excused(x record.Offer) bool {
	return x.Waited > starving && x.During >= (Keeps-x.Waited/x.Over)*x.Offered
}

// lies says whether a difference belies the target's file; options that could not be
// read do not.
func lies(d record.Difference) bool { return d.Option != "" }

// survivors of a process, none if the fault was to be survived, or may have been.
func survivors(r Round, p Snapshots) []record.Survivor {
	if r.Window.Survive || r.Window.May {
		return nil
	}
	return Survivors(r.Fault, p.B, p.E, p.F)
}

// lost counts the exposed connections of living processes that snapshot F has not any
// more, although the fault was to be survived.
func lost(r Round) int {
	n := 0
	for _, p := range r.Processes {
		if p.E.PID != p.F.PID {
			continue
		}
		held := map[uint64]bool{}
		for _, d := range p.F.FDs {
			held[d.Inode] = true
		}
		for _, c := range Exposed(r.Fault, p.B, p.E) {
			if !held[c.Inode] {
				n++
			}
		}
	}
	return n
}

func unserved(s record.Service) bool { return !s.OK }

// tardy is a client that was served, but only in what a busy machine was given.
func tardy(s record.Service) bool { return s.OK && s.After > s.Limit }

// back says whether G is at the baseline. A client that does not serve is not logged in
// as it was in B: what it does meanwhile, waiting or dialling, is another signature and
// no leak.
func back(j record.Judgement, dark bool) bool {
	return !slices.ContainsFunc(j.Table, func(r record.Row) bool {
		return !r.OK && !(dark && r.Role == "client")
	})
}

// shortfall says in a few words what G has too much of.
func shortfall(j record.Judgement) string {
	var parts []string
	for _, r := range j.Table {
		if !r.OK {
			parts = append(parts, describe(r))
		}
	}
	return "more is held than before: " + strings.Join(parts, ", ")
}

// tally counts survivors: "server: 3 sockets and 1 goroutine".
func tally(survivors []record.Survivor) string {
	var roles []string
	count := map[string]map[string]int{}
	for _, s := range survivors {
		if count[s.Role] == nil {
			count[s.Role] = map[string]int{}
			roles = append(roles, s.Role)
		}
		count[s.Role][s.Resource]++
	}
	var parts []string
	for _, role := range roles {
		var things []string
		for _, resource := range []string{"socket", "fd", "goroutine"} {
			if n := count[role][resource]; n > 0 {
				things = append(things, plural(n, resource))
			}
		}
		parts = append(parts, role+": "+strings.Join(things, " and "))
	}
	return strings.Join(parts, "; ")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// where is the function that holds on: of a surviving goroutine, else of one
// whose signature is in excess.
func where(j record.Judgement) string {
	for _, s := range j.Survivors {
		if s.Goroutine != nil {
			return s.Role + ": " + Place(*s.Goroutine)
		}
	}
	if len(j.Excess) > 0 {
		x := j.Excess[0]
		if len(x.Holders) > 0 {
			return x.Role + ": " + Place(x.Holders[0])
		}
		return x.Role + ": " + x.Signature
	}
	if len(j.Survivors) > 0 {
		s := j.Survivors[0]
		return fmt.Sprintf("%s: pid %d, fd %d", s.Role, s.PID, s.FD.Number)
	}
	return ""
}

// Place names the function of a goroutine that is its program's own, with file and
// line, and who started it: "tunnel.(*Server).serveSession server.go:212, created
// by ...". Where a library's helper started it, that is the outermost function of
// the program's own on its stack.
func Place(g record.Goroutine) string {
	if len(g.Frames) == 0 {
		return "unknown"
	}
	at := func(f record.Frame) string {
		return fmt.Sprintf("%s %s:%d", path.Base(f.Func), path.Base(f.File), f.Line)
	}
	own := OwnFrame(g)
	text := at(own)
	outermost := g.Creator
	for i := len(g.Frames) - 1; i >= 0 && !isOwn(outermost); i-- {
		outermost = g.Frames[i]
	}
	if isOwn(outermost) && outermost != own {
		text += ", created by " + at(outermost)
	}
	return text
}

// OwnFrame is the first frame from the leaf that is the program's own, not the
// standard library's; the leaf if there is none.
func OwnFrame(g record.Goroutine) record.Frame {
	for _, f := range g.Frames {
		if isOwn(f) {
			return f
		}
	}
	if len(g.Frames) == 0 {
		return record.Frame{}
	}
	return g.Frames[0]
}

// isOwn tells a program's own function by its package path: it has a domain, or
// is main.
func isOwn(f record.Frame) bool {
	first, _, _ := strings.Cut(f.Func, "/")
	return strings.HasPrefix(f.Func, "main.") || (first != f.Func && strings.Contains(first, "."))
}

// why says what keeps the first survivor alive.
func why(j record.Judgement) string {
	var parts []string
	for _, s := range j.Survivors {
		if s.Why != "" && !slices.Contains(parts, s.Why) {
			parts = append(parts, s.Why)
		}
	}
	for _, x := range j.Excess {
		for _, g := range x.Holders {
			if w := waits(g); !slices.Contains(parts, w) {
				parts = append(parts, w)
			}
		}
	}
	return strings.Join(parts[:min(3, len(parts))], "; ")
}
