package probe

import (
	"context"
	"errors"
	"net/http"
)

// Heap is the target's heap profile as pprof writes it, gzipped; nil where the target
// offers none. It collects nothing first: what finalizers would close stays.
func (o *Observer) Heap(ctx context.Context) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pprof == nil || o.pidfd < 0 {
		return nil, nil
	}
	data, err := o.pprof.get(ctx, http.MethodGet, "/debug/pprof/heap")
	if status := errStatus(0); errors.As(err, &status) && status == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, o.wrap(o.orGone(err))
	}
	return data, nil
}
