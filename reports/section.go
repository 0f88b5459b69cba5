package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
)

// section is a spec or a cycle as the page draws it, all text made.
type section struct {
	ID, Title         string
	Level             int // of the headings of its parts
	Word              word
	Open              bool
	Reason            string
	Where, Fault, Why string
	Freed             string
	Others            []string // reasons of further judgements
	Findings          []string // where the sockets are not set as the target's file says
	File, Replay      string
	Labels            string
	Topology, Failure string
	Load, Outcome     []string
	Rows              []rowView
	Quiet             []string // gauges that have no row
	Figures           []figure
	Stacks            []*stackGroup
	Survivors         []survivorView
	Peers             []peerView
	MoreSurvivors     int
	Services          []serviceView
	Windows           []windowView
	Faults            []faultView
	Processes         []processView
	Soak              *soakView
}

type (
	rowView struct {
		Role, Resource, Baseline, Peak, End, Settled, Excess, Note string
		OK, Shown                                                  bool // Shown: not judged
	}
	survivorView struct {
		What, Local, Remote, State, Timer, RecvQ, SendQ, Silence, Age, Holder, Peer, Why, Moment string
	}
	serviceView struct {
		Client, After, Limit, Error string
		OK                          bool
	}
	windowView struct {
		Upper, Slack, Deadline, Last, Lower string
		Rows                                []boundView
	}
	boundView struct {
		Role, Sockets, Set, Detector, Formula, Earliest, Latest string
		Decides                                                 bool
	}
	faultView struct {
		Name, Place, Class, Injected, Witnessed, Healed, Witness, Exposures string
		Bit                                                                 bool
	}
	processView struct {
		Role, Host, PID, At, What, Detail, Command string
		Tail                                       string
		Open                                       bool
	}
	// soakView is what the section of a soak has more: its cycles.
	soakView struct {
		Tally  string
		Figure figure
		Drawn  bool
		Cycles []cycleView
		Many   bool // the table folds
		Rounds []section
	}
	cycleView struct {
		Number, Fault, Exposures, Returned, Window, Reason, Link string
		Word                                                     word
	}
)

// Limits of what is put on a page; the record has all of it.
const (
	mostSurvivors = 60
	mostText      = 4000
)

// section draws a spec. Its rounds are sections of their own in a soak; the one that
// the page has drawn already, told, is left out.
func (sp *spec) section(told *round) section {
	id := sp.anchor
	cycles := sp.cycles()
	if len(cycles) == 0 {
		s := sp.rounds[0].section(id, 4)
		sp.fillHead(&s)
		return s
	}
	s := section{ID: id, Level: 3}
	if sp.rounds[0].cycle == 0 {
		s = sp.rounds[0].section(id, 3) // processes of the whole soak, and what was judged outside its cycles
		if len(sp.rounds[0].faults) == 0 {
			s.Figures = nil // only the set-up
		}
	}
	sp.fillHead(&s)
	s.Soak = sp.soak(cycles, id, told)
	return s
}

// fillHead fills in what a section has from its spec.
func (sp *spec) fillHead(s *section) {
	s.Title, s.Word, s.Reason = sp.head.Name, verdictWord(sp.verdict), sp.reason()
	s.Open = sp.verdict != record.Pass && sp.verdict != record.Skipped && sp.verdict != ""
	s.Replay, s.Topology, s.Labels = sp.head.Replay, strings.Trim(sp.head.Topology, "\n"), strings.Join(sp.head.Labels, ", ")
	if sp.head.File != "" {
		s.File = fmt.Sprintf("%s:%d", sp.head.File, sp.head.Line)
	}
	if sp.end != nil {
		s.Failure = cutText(sp.end.Failure, mostText)
	}
}

// soak draws the cycles: a row each, and the worst, the first and the last whole.
func (sp *spec) soak(cycles []*round, id string, told *round) *soakView {
	v := &soakView{Many: len(cycles) > 24}
	whole := []*round{cycles[0]}
	if last := cycles[len(cycles)-1]; last != cycles[0] {
		whole = append(whole, last)
	}
	if sp.worst != nil && sp.worst.cycle > 0 && sp.verdict != record.Pass {
		whole = slices.DeleteFunc(whole, func(r *round) bool { return r == sp.worst })
		whole = append([]*round{sp.worst}, whole...)
	}
	whole = slices.DeleteFunc(whole, func(r *round) bool { return r == told })
	anchor := func(r *round) string {
		if r == told {
			return "focus"
		}
		return fmt.Sprintf("%s-c%d", id, r.cycle)
	}
	n := map[record.Verdict]int{}
	for _, r := range cycles {
		n[r.verdict]++
		c := cycleView{Number: fmt.Sprint(r.cycle), Word: verdictWord(r.verdict), Fault: r.faultText(), Window: "–", Returned: cleanAfter([]*round{r})}
		exposures, _ := totals([]*round{r})
		c.Exposures = fmt.Sprint(exposures)
		if w, known := r.upper(); known {
			c.Window = seconds(w)
		}
		if j := r.judgement(); j != nil && r.verdict != record.Pass {
			c.Reason = j.Reason
		}
		if r == told || slices.Contains(whole, r) {
			c.Link = anchor(r)
		}
		v.Cycles = append(v.Cycles, c)
	}
	v.Tally = count(len(cycles), "cycle") + ": " + tally(n)
	v.Figure, v.Drawn = soakFigure(cycles)
	for _, r := range whole {
		s := r.section(anchor(r), 4)
		name := "Cycle"
		switch {
		case r == sp.worst && sp.verdict != record.Pass:
			name = "Worst cycle"
		case r == cycles[0]:
			name = "First cycle"
		case r == cycles[len(cycles)-1]:
			name = "Last cycle"
		}
		s.Title = fmt.Sprintf("%s: %d", name, r.cycle)
		s.Word = verdictWord(r.verdict)
		s.Open = r == sp.worst && sp.verdict != record.Pass
		if j := r.judgement(); j != nil {
			s.Reason = j.Reason
		}
		v.Rounds = append(v.Rounds, s)
	}
	return v
}

// section draws a round; its parts have headings of that level.
func (r *round) section(id string, level int) section {
	s := section{ID: id, Level: level, Figures: r.figures(), Stacks: r.stackGroups(), Peers: r.peerViews(), Word: verdictWord(r.verdict)}
	worst := r.judgement()
	if worst != nil {
		s.Where, s.Why, s.Fault, s.Freed = worst.Where, worst.Why, worst.Fault, r.freed()
	}
	for i := range r.judgements {
		j := &r.judgements[i]
		if j != worst {
			s.Others = append(s.Others, string(j.Verdict)+": "+j.Reason)
		}
		for _, d := range j.Differences {
			s.Findings = append(s.Findings, d.Reason)
		}
		for _, row := range j.Table {
			if quiet(row) {
				s.Quiet = append(s.Quiet, row.Role+" "+strings.TrimPrefix(row.Resource, gauge))
				continue
			}
			s.Rows = append(s.Rows, drawRow(row))
		}
		for _, x := range j.Survivors {
			if x.Socket == nil && x.FD == nil {
				continue // a goroutine: among the stacks
			}
			if len(s.Survivors) == mostSurvivors {
				s.MoreSurvivors++
				continue
			}
			s.Survivors = append(s.Survivors, drawSurvivor(x))
		}
	}
	for _, l := range r.loads {
		s.Load = append(s.Load, drawLoad(l.it))
	}
	for _, x := range r.outcomes {
		s.Outcome = append(s.Outcome, drawOutcome(x.it))
	}
	for _, x := range r.services {
		v := serviceView{Client: x.it.Client, OK: x.it.OK, After: seconds(x.it.After), Limit: seconds(x.it.Limit), Error: cutText(x.it.Error, mostText)}
		if !x.it.OK {
			v.After = "not within"
		}
		s.Services = append(s.Services, v)
	}
	for _, w := range r.windows {
		s.Windows = append(s.Windows, drawWindow(w.it))
	}
	s.Faults = r.faultViews()
	s.Processes = r.processViews()
	return s
}

// drawOutcome tells what was measured around the fault.
func drawOutcome(o record.Outcome) string {
	text := "first connection given up: "
	if o.First < 0 {
		text = "no connection was given up"
	} else {
		text += seconds(o.First)
	}
	if o.Returned >= 0 {
		text += "; last: " + seconds(o.Returned)
	}
	back := "never back at the baseline"
	if o.SettledAfter >= 0 {
		back = "back at the baseline " + seconds(o.SettledAfter) + " after everybody had left"
	}
	return text + fmt.Sprintf("; %s. A ready thread of this machine waited for %s at most, %s in all, and some thread waited for a CPU in %.0f %% of the time",
		back, seconds(o.Starved), seconds(o.Waited+o.WaitedAfter), 100*o.Pressure)
}

// gauge begins the resource of a row that is one of the target's own counts.
const gauge = "gauge "

// quiet is a gauge that was 0 at every snapshot: nothing of it needs a row.
func quiet(row record.Row) bool {
	return strings.HasPrefix(row.Resource, gauge) && row.OK && row.Note == "" &&
		row.Baseline == 0 && row.Peak == 0 && row.End == 0 && row.Settled == 0
}

func drawRow(row record.Row) rowView {
	q := func(v float64) string { return quantity(v, row.Unit) }
	return rowView{Role: row.Role, Resource: row.Resource, Baseline: q(row.Baseline), Peak: q(row.Peak), End: q(row.End),
		Settled: q(row.Settled), Excess: signed(row.Excess, row.Unit), OK: row.OK, Note: row.Note,
		Shown: row.OK && (strings.Contains(row.Note, "not judged") || strings.HasPrefix(row.Note, "not observed"))}
}

func drawSurvivor(x record.Survivor) survivorView {
	v := survivorView{What: x.Resource, Age: seconds(x.Age), Peer: x.Peer, Why: x.Why, Moment: moment(x.Moment),
		Holder: fmt.Sprintf("%s pid %d", x.Role, x.PID)}
	if k := x.Socket; k != nil {
		v.Local, v.Remote, v.State, v.Timer = k.Local, k.Remote, k.State, timer(*k)
		v.RecvQ, v.SendQ, v.Silence = fmt.Sprint(k.RecvQ), fmt.Sprint(k.SendQ), seconds(k.Silence)
		if k.State == leak.ClosedState {
			v.RecvQ, v.SendQ, v.Silence = "–", "–", "–" // the kernel has forgotten them: what is known is of before
		}
		if x.FD == nil && k.FD >= 0 {
			v.Holder += fmt.Sprintf(" fd %d", k.FD)
		}
	}
	if x.FD != nil {
		v.Holder += fmt.Sprintf(" fd %d", x.FD.Number)
		if x.Socket == nil {
			v.Local = x.FD.Target
		}
	}
	return v
}

func moment(l record.Label) string {
	switch l {
	case record.WindowEnd:
		return "window end"
	case record.Settled:
		return "settled"
	}
	return string(l)
}

// timer is the kernel's timer in words; "none" on a dead connection means that
// the kernel will never look at it again.
func timer(k record.Socket) string {
	text := cmp.Or(k.Timer, "none")
	if text != "none" {
		text += ", in " + seconds(k.Expires)
	}
	if k.Retries > 0 {
		text += fmt.Sprintf(", %d unanswered", k.Retries)
	}
	return text
}

func drawWindow(w record.Window) windowView {
	v := windowView{Upper: seconds(w.Upper), Slack: seconds(w.Slack), Deadline: seconds(w.Deadline), Last: seconds(w.Last), Lower: seconds(w.Lower)}
	for i, b := range w.Rows {
		sockets, set := b.Sockets, b.Set
		if b.Count > 0 {
			sockets = fmt.Sprintf("%d %s", b.Count, b.Sockets)
		}
		if i > 0 && w.Rows[i-1].Role == b.Role && w.Rows[i-1].Sockets == b.Sockets && w.Rows[i-1].Set == b.Set {
			set = "" // the row above says it
		}
		v.Rows = append(v.Rows, boundView{Role: b.Role, Sockets: sockets, Set: set, Detector: b.Detector, Formula: b.Formula,
			Earliest: limitSeconds(b.Earliest), Latest: limitSeconds(b.Latest), Decides: b.Decides})
	}
	return v
}
