package fault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

// Sequence is several faults, one right after the other, as one: a NAT forgets a
// client, and then the client dies unheard. Its class and place are the last fault's;
// it bites if all of them do.
type Sequence []Fault

// Describe implements Fault.
func (s Sequence) Describe() record.Fault {
	if len(s) == 0 {
		return record.Fault{}
	}
	whole := s[len(s)-1].Describe()
	for i := len(s) - 2; i >= 0; i-- {
		d := s[i].Describe()
		whole.Name = fmt.Sprintf("%s, then %s", d.Name, whole.Name)
		if whole.Ends == "" {
			whole.Ends, whole.Within = d.Ends, d.Within
		}
	}
	return whole
}

// Inject implements Fault. The heals run the last first.
func (s Sequence) Inject(ctx context.Context, on *lab.Lab) (Heal, Witness, error) {
	if len(s) == 0 {
		return nil, nil, errors.New("inject a sequence: it has no faults")
	}
	var heals []Heal
	var witnesses []Witness
	heal := func(ctx context.Context) error {
		for len(heals) > 0 {
			last := len(heals) - 1
			if err := heals[last](ctx); err != nil {
				return err
			}
			heals = heals[:last]
		}
		return nil
	}
	for _, f := range s {
		h, w, err := f.Inject(ctx, on)
		if err != nil {
			return nil, nil, errors.Join(err, heal(context.WithoutCancel(ctx)))
		}
		heals, witnesses = append(heals, h), append(witnesses, w)
	}
	witness := func(ctx context.Context) (string, bool, error) {
		var all []string
		bit := true
		for _, w := range witnesses {
			saw, yes, err := w(ctx)
			if err != nil {
				return "", false, err
			}
			all, bit = append(all, saw), bit && yes
		}
		return strings.Join(all, "; "), bit, nil
	}
	return heal, witness, nil
}

// As is a fault that connections notice in another way than it says by itself: the
// goodbye of a process that nobody can hear makes its end a silence.
type As struct {
	Fault Fault
	Class record.Class // "": as it is
	Place string       // "": as it is
}

// Describe implements Fault.
func (a As) Describe() record.Fault {
	d := a.Fault.Describe()
	d.Class, d.Place = cmp.Or(a.Class, d.Class), cmp.Or(a.Place, d.Place)
	return d
}

// Inject implements Fault.
func (a As) Inject(ctx context.Context, on *lab.Lab) (Heal, Witness, error) {
	return a.Fault.Inject(ctx, on)
}
