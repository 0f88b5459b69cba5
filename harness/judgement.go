package harness

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
)

// ExpectClean takes snapshot G and asks the judge. It fails the spec on every
// verdict but PASS, with the survivors, the command that runs the spec again, and
// the report's path.
func (w *World) ExpectClean(processes ...*Process) {
	w.t.Helper()
	j := w.judge(processes)
	if j.Verdict != record.Pass {
		w.t.Fatalf("%s", explain(j, w.suite))
	}
	w.t.Logf("%s: %s (%.1f s after the window)", j.Verdict, j.Reason, j.Took)
}

// explain is the message of a failed spec.
func explain(j record.Judgement, s *Suite) string {
	text := fmt.Sprintf("%s: %s", j.Verdict, j.Reason)
	if j.Where != "" {
		text += "\n  where: " + j.Where
	}
	if j.Why != "" {
		text += "\n  why:   " + j.Why
	}
	for i, d := range j.Differences {
		if i == maxListed {
			text += fmt.Sprintf("\n  ... and %d more", len(j.Differences)-i)
			break
		}
		text += "\n  finding: " + d.Reason
	}
	for i, v := range j.Survivors {
		if i == maxListed {
			text += fmt.Sprintf("\n  ... and %d more", len(j.Survivors)-i)
			break
		}
		switch {
		case v.Goroutine != nil:
			text += fmt.Sprintf("\n  %s: goroutine %d [%s] %s", v.Role, v.Goroutine.ID, v.Goroutine.State, leak.Place(*v.Goroutine))
		case v.Socket != nil:
			text += fmt.Sprintf("\n  %s: fd %d %s -> %s %s, kernel timer: %s", v.Role, v.FD.Number, v.Socket.Local, v.Socket.Remote, v.Socket.State, v.Socket.Timer)
		}
	}
	return text + "\n  report: " + s.reportPath()
}

// maxListed survivors are listed in a message; the report has all.
const maxListed = 10

// Grace is how long the target may take to be back at its baseline once the
// visitors have left.
func (w *World) Grace() time.Duration { return seconds(leak.SettleWindow(w.suite.Settings).Deadline) }

// judge takes snapshot G of the processes, judges the round and records the
// verdict.
func (w *World) judge(processes []*Process) record.Judgement {
	w.t.Helper()
	r := w.round
	switch {
	case len(processes) == 0:
		w.abort(errors.New("expect clean: name the processes: w.ExpectClean(w.Server, w.Client)"))
	case !r.injected:
		w.abort(errors.New("expect clean: no fault was injected"))
	case r.healedAt.IsZero():
		w.abort(errors.New("expect clean: call Heal first"))
	}
	settle := leak.SettleWindow(w.suite.Settings)
	r.outcome.SettledAfter = w.baseline(settle, processes)
	w.living() // notes a process that ended by itself
	r.outcome.WaitedAfter = r.starved.Waited() - r.waited
	r.outcome.Starved, r.outcome.Pressure = r.starved.End()
	r.starved = nil
	verdict := leak.Round{
		Settings: w.suite.Settings, Fault: r.fault, Window: r.window, Settle: settle,
		Outcome: r.outcome, Services: r.services,
	}
	for _, p := range processes {
		// A process that the fault killed has left nothing; its successor began
		// after the baseline.
		if s := r.snapshots[p.Role]; s.B.PID == p.PID() {
			verdict.Processes = append(verdict.Processes, *s)
			verdict.Outcome.Judged = append(verdict.Outcome.Judged, p.Role)
		}
	}
	w.emit(record.Event{Kind: record.KindOutcome, Outcome: &verdict.Outcome})
	j := leak.Judge(verdict)
	j.Took = time.Since(r.passed).Seconds()
	w.emit(record.Event{Kind: record.KindVerdict, Verdict: &j})
	r.judged, r.verdict = true, j.Verdict
	r.stopSampler()
	w.keepEvidence(j.Verdict)
	return j
}

// baseline takes snapshot G: as soon as every process is quiescent and back at its
// baseline, or at the end of the grace. It returns how long that took, in seconds; -1 if it
// never was.
func (w *World) baseline(settle record.Window, processes []*Process) float64 {
	w.t.Helper()
	r := w.round
	start := time.Now()
	end := start.Add(seconds(settle.Last))
	looked := map[string]bool{}
	back := true
	var began time.Time // the last look: it takes long where the machine is busy
	for {
		back, began = true, time.Now()
		for _, p := range processes {
			if !p.Running() || r.snapshots[p.Role].B.PID != p.PID() {
				continue
			}
			g, err := p.Sample(w.ctx)
			if err != nil {
				if !p.Running() {
					continue
				}
				w.abort(fmt.Errorf("take snapshot G: %w", err))
			}
			back = r.settles(p.Role, g) && back
			looked[p.Role] = true
		}
		if back || time.Now().After(end) {
			break
		}
		if err := pause(w.ctx, 2*poll); err != nil {
			w.t.Fatalf("take snapshot G: %v", err)
		}
	}
	took := began.Sub(start).Seconds()
	if !back {
		took = -1
	}
	for _, p := range processes {
		if s := r.snapshots[p.Role]; looked[p.Role] {
			if u := s.U; u.PID != 0 {
				w.emit(record.Event{Kind: record.KindSnapshot, At: u.At, Snapshot: &record.Snapshot{Label: record.Unsettled, Sample: u}})
			}
			g := s.G
			w.weigh(p, &g, end)
			s.G = g
			w.emit(record.Event{Kind: record.KindSnapshot, At: g.At, Snapshot: &record.Snapshot{Label: record.Settled, Sample: g}})
		}
	}
	return took
}

// settles takes a look at one process for its snapshot G, until the next, and says whether
// the process is back at its baseline, and as it was at the look before.
func (r *round) settles(role string, g record.Sample) bool {
	s := r.snapshots[role]
	rest := leak.Alike(s.G, g)
	if s.U = s.G; rest {
		s.U = record.Sample{}
	}
	s.G = g
	if !r.mayReturn() {
		return rest
	}
	rows, _ := s.Excesses()
	return rest && !slices.ContainsFunc(rows, func(row record.Row) bool { return !row.OK })
}

// mayReturn says whether there is a baseline to wait for: not where something outlived its
// window, which is a leak already. What survived by design leaves with its visitors.
func (r *round) mayReturn() bool {
	if r.window.Survive || r.window.May {
		return true
	}
	for _, s := range r.snapshots {
		if len(leak.Survivors(r.fault, s.B, s.E, s.F)) > 0 {
			return false
		}
	}
	return true
}

// weigh reads a process's memory into its snapshot G, again and again while that is
// too much and there is time: the runtime gives pages back in its own time.
func (w *World) weigh(p *Process, g *record.Sample, end time.Time) {
	w.t.Helper()
	s := w.round.snapshots[p.Role]
	for {
		asked := time.Now()
		if err := p.weigh(w.ctx, g); err != nil {
			if p.Running() {
				w.abort(fmt.Errorf("take snapshot G: %w", err))
			}
			return
		}
		w.round.weighed[p.Role] = time.Since(asked).Seconds()
		if !leak.TooHeavy(s.B, *g) || time.Now().After(end) {
			return
		}
		if err := pause(w.ctx, 10*poll); err != nil {
			w.t.Fatalf("take snapshot G: %v", err)
		}
	}
}
