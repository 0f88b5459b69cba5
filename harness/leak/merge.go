package leak

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/halfopen/halfopen/harness/record"
)

// Source is a record that is to be merged with others.
type Source struct {
	Name   string // as the user wrote it
	Events []record.Event
}

// head is the first run of a record.
func (s Source) head() (record.Event, error) {
	for _, e := range s.Events {
		if e.Run != nil {
			return e, nil
		}
	}
	return record.Event{}, fmt.Errorf("merge %s: its record has no head", s.Name)
}

// Belong says why records must not be added up, nil if they may: they are of one target
// with one set of settings, built from one commit, on one kernel, and none drew the faults
// of another.
func Belong(sources []Source) error {
	if len(sources) < 2 {
		return errors.New("merge: name at least two runs")
	}
	first, err := sources[0].head()
	if err != nil {
		return err
	}
	seeds := map[int64]string{}
	for _, s := range sources {
		e, err := s.head()
		if err != nil {
			return err
		}
		a, b := first.Run, e.Run
		for _, d := range []struct {
			what string
			same bool
			a, b any
		}{
			{"target", a.Target == b.Target, a.Target, b.Target},
			{"target's file", a.TargetHash == b.TargetHash, short(a.TargetHash), short(b.TargetHash)},
			{"settings", a.Settings == b.Settings, "its own", "others"},
			{"planted leak", a.Mutant == b.Mutant, "\"" + a.Mutant + "\"", "\"" + b.Mutant + "\""},
			{"commit that the programs were built from", a.Environment.Commit == b.Environment.Commit, orNone(a.Environment.Commit), orNone(b.Environment.Commit)},
			{"kernel", a.Environment.Kernel == b.Environment.Kernel, a.Environment.Kernel, b.Environment.Kernel},
		} {
			if !d.same {
				return fmt.Errorf("merge %s: the %s differs from that of %s: %v, not %v", s.Name, d.what, sources[0].Name, d.b, d.a)
			}
		}
		if other, taken := seeds[b.Seed]; taken {
			return fmt.Errorf("merge %s: %s has the same seed %d, and drew the same faults", s.Name, other, b.Seed)
		}
		seeds[b.Seed] = s.Name
	}
	return nil
}

// orNone names what may be missing.
func orNone(s string) string { return cmp.Or(s, "none") }

// short is enough of a hash to tell two apart.
func short(hash string) string { return hash[:min(12, len(hash))] }

// Merge makes one record of several: exposures and fault events add up, every series of
// memory starts anew. What a killed run was at when it died is left out; what it had
// judged counts. Cheap samples and snapshots are kept of those rounds that were no pass,
// and snapshot G of the round before, which such a one is compared with.
// command is the head's.
func Merge(sources []Source, command string) ([]record.Event, error) {
	var merged []record.Event
	var head record.Event
	finish := record.Finish{Reason: "done"}
	for n, s := range sources {
		first, err := s.head()
		if err != nil {
			return nil, err
		}
		if n == 0 {
			head = first
			run := *first.Run
			run.Name, run.Command, run.Merged = "merge", command, nil
			head.Run = &run
		}
		part := record.Part{Name: filepath.Base(s.Name), Seed: first.Run.Seed, Kernel: first.Run.Environment.Kernel, Shard: first.Run.Shard}
		end, whole := finished(s.Events)
		part.Cut = !whole
		finish.Duration += end
		finish.Failed = finish.Failed || slices.ContainsFunc(s.Events, func(e record.Event) bool { return e.Finish != nil && e.Finish.Failed })
		head.Run.Merged = append(head.Run.Merged, part)
		if first.At.Before(head.At) {
			head.At = first.At
		}
		merged = append(merged, s.judged(fmt.Sprintf("%d/", n+1), whole)...)
	}
	if len(merged) == 0 {
		return nil, errors.New("merge: none of the runs judged anything")
	}
	last := slices.MaxFunc(merged, func(a, b record.Event) int { return a.At.Compare(b.At) })
	merged = append([]record.Event{head}, merged...)
	return append(merged, record.Event{At: last.At, Kind: record.KindFinish, Finish: &finish}), nil
}

// finished is how long a run took, in seconds, and whether it came to its end.
func finished(events []record.Event) (took float64, whole bool) {
	for _, e := range events {
		if e.Finish != nil {
			return e.Finish.Duration, true
		}
	}
	if n := len(events); n > 0 {
		took = events[n-1].At.Sub(events[0].At).Seconds()
	}
	return took, false
}

// judged are the events of specs that were judged, with prefix before the specs' names.
func (s Source) judged(prefix string, whole bool) []record.Event {
	type round struct {
		spec  string
		cycle int
	}
	verdicts, ended, specs := map[round]record.Verdict{}, map[string]bool{}, map[string]bool{}
	for _, e := range s.Events {
		if e.Verdict != nil {
			k := round{e.Spec, e.Cycle}
			verdicts[k] = Worst(e.Verdict.Verdict, orPass(verdicts[k]))
			specs[e.Spec] = true
		}
		ended[e.Spec] = ended[e.Spec] || e.End != nil
	}
	var kept []record.Event
	var last record.Event
	for _, e := range s.Events {
		verdict, known := verdicts[round{e.Spec, e.Cycle}]
		bulky := e.Point != nil || e.Snapshot != nil || e.Process != nil
		switch {
		case e.Run != nil, e.Finish != nil:
			continue
		case e.Check == nil && !specs[e.Spec]:
			continue // under way when the run was killed
		case e.Cycle > 0 && !known:
			continue // as well
		case bulky && uneventful(verdict):
			next, known := verdicts[round{e.Spec, e.Cycle + 1}]
			if e.Snapshot == nil || e.Snapshot.Label != record.Settled || !known || uneventful(next) {
				continue
			}
		}
		last = e
		if e.Spec != "" {
			e.Spec = prefix + e.Spec
		}
		kept = append(kept, e)
	}
	if !whole {
		for spec := range specs {
			if !ended[spec] {
				kept = append(kept, record.Event{At: last.At, Kind: record.KindEnd, Spec: prefix + spec, End: &record.End{State: "interrupted"}})
			}
		}
	}
	return kept
}

// uneventful says whether nobody will ask how a round was judged.
func uneventful(v record.Verdict) bool { return v == record.Pass || v == record.Skipped }

func orPass(v record.Verdict) record.Verdict {
	if v == "" {
		return record.Pass
	}
	return v
}

// mergedText says what a merged record is, "" for any other.
func mergedText(events []record.Event) string {
	for _, e := range events {
		if e.Run == nil || len(e.Run.Merged) == 0 {
			continue
		}
		text := fmt.Sprintf("merged from %d runs: exposures and fault events add up, each memory series starts anew", len(e.Run.Merged))
		cut := 0
		for _, p := range e.Run.Merged {
			if p.Cut {
				cut++
			}
		}
		switch {
		case cut == 1:
			text += "; one was cut off, and counts as far as it had judged"
		case cut > 1:
			text += fmt.Sprintf("; %d were cut off, and count as far as they had judged", cut)
		}
		return text
	}
	return ""
}
