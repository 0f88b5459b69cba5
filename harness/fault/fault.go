package fault

import (
	"context"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

// Heal undoes a fault. Calling it again does nothing.
type Heal func(ctx context.Context) error

// Witness looks whether the fault has taken effect, and says what it saw. bit is
// false if it has none; err says that looking failed.
type Witness func(ctx context.Context) (saw string, bit bool, err error)

// Fault is one way in which the world goes wrong.
type Fault interface {
	// Describe names the fault: Name, Place and Class are set.
	Describe() record.Fault
	// Inject makes it happen.
	Inject(ctx context.Context, on *lab.Lab) (Heal, Witness, error)
}

// nothing is the Heal of a fault that leaves nothing to undo.
func nothing(context.Context) error { return nil }
