package fault

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

// Kill is kill -9 of a process. The kernel closes its sockets at once: the peer
// gets FIN, or RST where data lay unread. The process stays dead: to start it
// again is the business of whoever owns it, not the undo of the fault.
type Kill struct {
	Role string // of the process in the lab: "client"
}

// Describe implements Fault.
func (k Kill) Describe() record.Fault {
	return record.Fault{Name: "kill -9", Place: k.Role, Class: record.Closed, Ends: k.Role}
}

// Inject implements Fault. It returns when the process is gone.
func (k Kill) Inject(_ context.Context, on *lab.Lab) (Heal, Witness, error) {
	p, err := running(on, k.Role)
	if err != nil {
		return nil, nil, fmt.Errorf("kill %w", err)
	}
	if err := p.Kill(); err != nil {
		return nil, nil, fmt.Errorf("kill %s: %w", k.Role, err)
	}
	witness := func(context.Context) (string, bool, error) {
		saw, killed := corpse(p)
		return saw, killed, nil
	}
	return nothing, witness, nil
}

// Terminate is SIGTERM to a process, which has to say goodbye to its peers and end by
// itself, also when a peer does not answer.
type Terminate struct {
	Role string // of the process in the lab: "client"
	// Within is how long it may take to end; Goodbye if it is 0.
	Within time.Duration
}

// Goodbye is how long a process may take to end after SIGTERM, if nothing else is said.
const Goodbye = 10 * time.Second

// Describe implements Fault.
func (t Terminate) Describe() record.Fault {
	return record.Fault{Name: "SIGTERM", Place: t.Role, Class: record.Closed, Ends: t.Role, Within: t.within().Seconds()}
}

func (t Terminate) within() time.Duration { return cmp.Or(t.Within, Goodbye) }

// Inject implements Fault. It returns when the process has ended, or its time is over:
// that it still runs then is no failure of the fault but a finding about the process,
// which is left as it is.
func (t Terminate) Inject(ctx context.Context, on *lab.Lab) (Heal, Witness, error) {
	p, err := running(on, t.Role)
	if err != nil {
		return nil, nil, fmt.Errorf("terminate %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, t.within(), fmt.Errorf("%v have passed", t.within()))
	defer cancel()
	began := time.Now()
	if err := p.Signal(unix.SIGTERM); err != nil {
		return nil, nil, fmt.Errorf("terminate: %w", err)
	}
	saw, told := "", true
	select {
	case <-p.Exited():
		told = p.Status() != "signal: killed" // somebody else was faster
		saw = fmt.Sprintf("pid %d: %s, %v after SIGTERM", p.PID(), p.Status(), time.Since(began).Round(time.Millisecond))
	case <-ctx.Done():
		saw = fmt.Sprintf("pid %d still ran %v after SIGTERM", p.PID(), time.Since(began).Round(time.Millisecond))
	}
	return nothing, func(context.Context) (string, bool, error) { return saw, told, nil }, nil
}

// running is the process of a role, which must not have ended.
func running(on *lab.Lab, role string) (*lab.Process, error) {
	p, ok := on.Processes[role]
	if !ok {
		return nil, fmt.Errorf("%s: the lab has no such process", role)
	}
	if !p.Running() {
		return nil, fmt.Errorf("%s: it has ended by itself: %s", role, p.Status())
	}
	return p, nil
}

// corpse says how a process ended, and whether it was by kill -9.
func corpse(p *lab.Process) (saw string, killed bool) {
	return fmt.Sprintf("pid %d: %s", p.PID(), p.Status()), p.Status() == "signal: killed"
}
