package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

// Played is what came of one step.
type Played struct {
	Bit bool   // its witness said so, right after or at the step's end
	Saw string // what the witness saw, or why the fault could not be there
	Err error  // of a step that could not be there; nil for one that was
}

// Play plays the schedule on a lab behind a NAT, from now on, and returns when its last
// step is healed. A step that cannot be there, because another has killed its process or
// nobody sends the packet that it waits for, does not bite, and the others go on.
//
// revive starts the process of a role again, as soon as the step that ended it is over;
// it is called from the caller's own goroutine. An error says that something could not
// be healed or revived, or that ctx has ended.
func (s Schedule) Play(ctx context.Context, on *lab.Lab, revive func(ctx context.Context, role string) error) ([]Played, error) {
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("play schedule: %w", err)
	}
	if on.Router == nil {
		return nil, fmt.Errorf("play schedule: lab %s has no router: play it behind a NAT", on.Name)
	}
	faults, err := s.Faults()
	if err != nil {
		return nil, fmt.Errorf("play schedule: %w", err)
	}
	p := &player{lab: on, began: time.Now(), processes: make(chan struct{}, 1), dead: make(chan string, len(s.Steps))}
	played, errs := make([]Played, len(s.Steps)), make([]error, len(s.Steps))
	var steps sync.WaitGroup
	for i, step := range s.Steps {
		steps.Go(func() {
			if played[i], errs[i] = p.step(ctx, step, faults[i]); errs[i] != nil {
				errs[i] = fmt.Errorf("play step %d (%s): %w", i+1, step.Fault, errs[i])
			}
		})
	}
	go func() {
		steps.Wait()
		close(p.dead)
	}()
	var failed error
	for role := range p.dead {
		p.processes <- struct{}{}
		if err := revive(ctx, role); err != nil {
			failed = errors.Join(failed, fmt.Errorf("start the %s again: %w", role, err))
		}
		<-p.processes
	}
	return played, errors.Join(append(errs, failed)...)
}

// player plays the steps of one schedule.
type player struct {
	lab   *lab.Lab
	began time.Time
	// processes is held by who looks for a process of the lab, or starts one.
	processes chan struct{}
	dead      chan string // roles whose process is to be started again
}

// healTime bounds each heal; it has a context of its own.
const healTime = 10 * time.Second

func (p *player) step(ctx context.Context, s Step, f Fault) (played Played, err error) {
	until := p.began.Add(s.End())
	if err := wait(ctx, time.Until(p.began.Add(s.Start))); err != nil {
		return played, err
	}
	heal, witness, err := p.inject(ctx, s, f, until)
	if err != nil {
		if ctx.Err() != nil {
			return played, err
		}
		return Played{Saw: err.Error(), Err: err}, nil
	}
	defer func() {
		healing, cancel := context.WithTimeout(context.WithoutCancel(ctx), healTime)
		defer cancel()
		err = errors.Join(err, heal(healing))
		if role := f.Describe().Ends; role != "" {
			p.dead <- role
		}
	}()
	for look := range 2 {
		saw, bit, err := witness(ctx)
		if err != nil {
			return played, err
		}
		if bit || look == 0 {
			played.Saw = saw
		}
		if played.Bit = played.Bit || bit; look > 0 {
			break
		}
		if err := wait(ctx, time.Until(until)); err != nil {
			return played, err
		}
	}
	return played, nil
}

// inject makes the fault of a step happen before its time is over.
func (p *player) inject(ctx context.Context, s Step, f Fault, until time.Time) (Heal, Witness, error) {
	ctx, cancel := context.WithDeadlineCause(ctx, until, fmt.Errorf("its %v were over", s.For))
	defer cancel()
	if slices.Equal(vocabulary[s.Fault].places, processes) {
		select {
		case p.processes <- struct{}{}:
		default: // one select would choose by chance, were the step's time over as well
			select {
			case p.processes <- struct{}{}:
			case <-ctx.Done():
				return nil, nil, context.Cause(ctx)
			}
		}
		defer func() { <-p.processes }()
	}
	return f.Inject(ctx, p.lab)
}
