package probe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/halfopen/halfopen/harness/record"
)

// wakePath is the goroutineleak profile in the form that lists every goroutine, those that
// were found among them. The runtime collects first: what is reachable from no goroutine that
// can run is where a found one waits.
const wakePath = "/debug/pprof/goroutineleak?debug=2"

// found is how the runtime marks their states: "chan receive (leaked)".
const found = " (leaked)"

// NeverWake are the goroutines of which the runtime itself says that nothing can ever wake
// them; offered is false where the target has no such profile (Go 1.26 builds it in with
// GOEXPERIMENT=goroutineleakprofile alone). None is no pass: who waits for a socket,
// or on what a global variable holds, is never among them. Call it when all else is read,
// for it runs finalizers.
func (o *Observer) NeverWake(ctx context.Context) (asleep []record.Goroutine, offered bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pprof == nil || o.pidfd < 0 {
		return nil, false, nil
	}
	dump, err := o.pprof.get(ctx, http.MethodGet, wakePath)
	if status := errStatus(0); errors.As(err, &status) && status == http.StatusNotFound {
		return nil, false, nil
	}
	if err == nil {
		asleep, err = ParseStacks(dump)
	}
	if err != nil {
		return nil, false, o.wrap(o.orGone(fmt.Errorf("read goroutines that never wake: %w", err)))
	}
	return slices.DeleteFunc(asleep, func(g record.Goroutine) bool { return !strings.HasSuffix(g.State, found) }), true, nil
}
