package fault

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Schedule is several faults that come and go, each at its own time, and may overlap:
//
//	     0 s       1 s       2 s       3 s
//	     |---------|---------|---------|
//	1    [ black hole    ]
//	2        [ cable pulled at visitor        ]
//	3                       [ kill -9 of the client, then started again ]
//
// It is data: drawn from a seed, read from a file, written to one, shrunk. What it does
// follows from it alone, but for the machine's own timing.
type Schedule struct {
	Seed  uint64 `yaml:"seed"` // that it was drawn from; 0 if it was written by hand
	Steps []Step `yaml:"steps"`
}

// Step is one fault of a schedule, from Start for For. Then it is healed; a process
// that it ended is started again.
type Step struct {
	Fault string            `yaml:"fault"`          // its name in the vocabulary
	At    string            `yaml:"at,omitempty"`   // place, or role of a process; "" where there is but one
	With  map[string]string `yaml:"with,omitempty"` // its parameters
	Start time.Duration     `yaml:"start"`          // from the beginning of the schedule
	For   time.Duration     `yaml:"for"`
}

// End is when the step is healed, from the beginning of the schedule.
func (s Step) End() time.Duration { return s.Start + s.For }

// What names the step's fault with its parameters: "expire-nat silent=true".
func (s Step) What() string {
	text := s.Fault
	for _, key := range sortedKeys(s.With) {
		text += fmt.Sprintf(" %s=%s", key, s.With[key])
	}
	return text
}

// Length is when the last step is healed.
func (s Schedule) Length() time.Duration {
	var last time.Duration
	for _, step := range s.Steps {
		last = max(last, step.End())
	}
	return last
}

// Check finds out what cannot be played, in one line. Two steps may overlap unless both
// want the same thing for themselves: a cable, a process, the router's table. Its state
// after their heals would depend on their order.
func (s Schedule) Check() error {
	if len(s.Steps) == 0 {
		return errors.New("it has no steps")
	}
	ends := map[string]int{} // by role, the first step that ends it
	for i, step := range s.Steps {
		f, holds, err := step.fault()
		if err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
		if role := f.Describe().Ends; role != "" && ends[role] == 0 {
			ends[role] = i + 1
		}
		for j, other := range s.Steps[:i] {
			if step.Start >= other.End() || other.Start >= step.End() {
				continue
			}
			_, held, err := other.fault()
			if err != nil {
				return fmt.Errorf("step %d: %w", j+1, err)
			}
			for _, thing := range holds {
				if slices.Contains(held, thing) {
					return fmt.Errorf("steps %d (%s) and %d (%s) overlap, and each wants %s for itself", j+1, other.Fault, i+1, step.Fault, thing)
				}
			}
		}
	}
	if ends["client"] > 0 && ends["server"] > 0 {
		return fmt.Errorf("step %d ends the client and step %d the server: who is judged must live through all of it", ends["client"], ends["server"])
	}
	return nil
}

// Make is the step as a Fault, without its time.
func (s Step) Make() (Fault, error) {
	s.Start, s.For = 0, max(s.For, 1)
	f, _, err := s.fault()
	return f, err
}

// Places are where a fault of that name may be; nil if there is none of that name.
func Places(name string) []string { return slices.Clone(vocabulary[name].places) }

// fault is the step as a Fault, and what it wants for itself.
func (s Step) fault() (Fault, []string, error) {
	k, ok := vocabulary[s.Fault]
	switch {
	case !ok:
		return nil, nil, fmt.Errorf("unknown fault %q: want one of %s", s.Fault, strings.Join(sortedKeys(vocabulary), ", "))
	case s.At == "" && len(k.places) != 1:
		return nil, nil, fmt.Errorf("%s: say where: at: %s", s.Fault, strings.Join(k.places, ", "))
	case s.At != "" && !slices.Contains(k.places, s.At):
		return nil, nil, fmt.Errorf("%s: no such place %q: want %s", s.Fault, s.At, strings.Join(k.places, ", "))
	case s.Start < 0:
		return nil, nil, fmt.Errorf("%s: start is %v: it must not be negative", s.Fault, s.Start)
	case s.For <= 0:
		return nil, nil, fmt.Errorf("%s: for is %v: it must be more than zero", s.Fault, s.For)
	}
	if s.At == "" {
		s.At = k.places[0]
	}
	for _, key := range sortedKeys(s.With) {
		if !slices.Contains(k.takes, key) {
			return nil, nil, fmt.Errorf("%s: unknown key %q: it takes %s", s.Fault, key, strings.Join(append(slices.Clone(k.takes), "at, start, for"), ", "))
		}
	}
	given := params{of: s.With}
	f := k.build(s, &given)
	if given.err != nil {
		return nil, nil, fmt.Errorf("%s: %w", s.Fault, given.err)
	}
	return f, k.holds(s.At), nil
}

// Faults are the schedule's faults, for each step its own. Check it before.
func (s Schedule) Faults() ([]Fault, error) {
	var all []Fault
	for i, step := range s.Steps {
		f, _, err := step.fault()
		if err != nil {
			return nil, fmt.Errorf("step %d: %w", i+1, err)
		}
		all = append(all, f)
	}
	return all, nil
}

// String is a short table, a line a step.
func (s Schedule) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "step\tfrom\tfor\tat\tfault\n")
	for i, step := range s.Steps {
		fmt.Fprintf(w, "%d\t%v\t%v\t%s\t%s\n", i+1, step.Start, step.For, step.At, step.What())
	}
	_ = w.Flush() // to a string
	return b.String()
}
