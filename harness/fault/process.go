package fault

import (
	"context"
	"fmt"

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
	return record.Fault{Name: "kill -9", Place: k.Role, Class: record.Closed}
}

// Inject implements Fault. It returns when the process is gone.
func (k Kill) Inject(_ context.Context, on *lab.Lab) (Heal, Witness, error) {
	p, ok := on.Processes[k.Role]
	if !ok {
		return nil, nil, fmt.Errorf("kill %s: the lab has no such process", k.Role)
	}
	if !p.Running() {
		return nil, nil, fmt.Errorf("kill %s: it has ended by itself: %s", k.Role, p.Status())
	}
	if err := p.Kill(); err != nil {
		return nil, nil, fmt.Errorf("kill %s: %w", k.Role, err)
	}
	witness := func(context.Context) (string, bool, error) {
		return fmt.Sprintf("pid %d: %s", p.PID(), p.Status()), p.Status() == "signal: killed", nil
	}
	return nothing, witness, nil
}
