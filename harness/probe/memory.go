package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/halfopen/halfopen/harness/record"
)

// heapPath is the heap profile as text, after one collection, whatever the number
// (net/http/pprof runs a single one). The handler reads its MemStats before it builds
// the profile.
const heapPath = "/debug/pprof/heap?gc=1&debug=1"

// collections before the heap is read: a sync.Pool is empty after two (it has a victim
// cache), and what its buffers' finalizers held goes with the third.
const collections = 3

// freed is what a target may answer when it is asked to free memory: its heap, after
// three collections of its own.
type freed struct {
	HeapAlloc   int64 `json:"heap_alloc"`
	HeapObjects int64 `json:"heap_objects"`
}

// Free asks the target to give free memory back to the kernel. Its error wraps
// errors.ErrUnsupported where the target has no way to do so.
func (o *Observer) Free(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, err := o.free(ctx)
	return o.wrap(err)
}

func (o *Observer) free(ctx context.Context) (freed, error) {
	var told freed
	if _, err := o.alive(); err != nil {
		return told, err
	}
	if o.pprof == nil || o.process.Free == "" {
		return told, fmt.Errorf("free memory: %w", errors.ErrUnsupported)
	}
	body, err := o.pprof.get(ctx, http.MethodPost, o.process.Free)
	if status := errStatus(0); errors.As(err, &status) && status == http.StatusMethodNotAllowed {
		body, err = o.pprof.get(ctx, http.MethodGet, o.process.Free)
	}
	if err != nil {
		return told, o.orGone(fmt.Errorf("free memory: %w", err))
	}
	if json.Unmarshal(body, &told) != nil {
		told = freed{} // it answers with something else, or nothing
	}
	return told, nil
}

// Memory reads what is left when the target has collected three times and given free
// memory back, as far as it can: the heap first, then RssAnon. Take it after the Sample
// that it belongs to, at rest: collections run the finalizers that hide a lost socket.
func (o *Observer) Memory(ctx context.Context) (record.Memory, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var heap freed
	if o.pprof != nil && !o.tells {
		var err error
		if heap, err = o.heap(ctx); err != nil {
			return record.Memory{}, o.wrap(o.orGone(err))
		}
	}
	told, err := o.free(ctx)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return record.Memory{}, o.wrap(err)
	}
	if told.HeapAlloc > 0 {
		heap, o.tells = told, true // the next time the one request is enough
	}
	now, gone := o.alive()
	if gone != nil {
		return record.Memory{}, o.wrap(gone)
	}
	return record.Memory{
		RSS: now.rss, RssAnon: now.rssAnon, Freed: err == nil,
		HeapAlloc: heap.HeapAlloc, HeapObjects: heap.HeapObjects,
	}, nil
}

// heap reads the heap from the profile's account of it. A target whose pprof has no
// heap profile does not tell.
func (o *Observer) heap(ctx context.Context) (freed, error) {
	var text []byte
	for range collections {
		var err error
		text, err = o.pprof.get(ctx, http.MethodGet, heapPath)
		if status := errStatus(0); errors.As(err, &status) && status == http.StatusNotFound {
			return freed{}, nil
		}
		if err != nil {
			return freed{}, fmt.Errorf("read heap: %w", err)
		}
	}
	return parseHeap(text)
}

// HeapProfile is the target's heap profile, in pprof's own form, after a collection. Its
// error wraps errors.ErrUnsupported where the target has no pprof.
func (o *Observer) HeapProfile(ctx context.Context) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pprof == nil {
		return nil, o.wrap(fmt.Errorf("read heap profile: %w", errors.ErrUnsupported))
	}
	data, err := o.pprof.get(ctx, http.MethodGet, "/debug/pprof/heap?gc=1")
	return data, o.wrap(o.orGone(err))
}

// parseHeap finds "# HeapAlloc = 123" and "# HeapObjects = 4" in a heap profile of
// debug=1.
func parseHeap(text []byte) (freed, error) {
	var h freed
	for _, f := range []struct {
		name string
		into *int64
	}{{"HeapAlloc", &h.HeapAlloc}, {"HeapObjects", &h.HeapObjects}} {
		_, rest, ok := bytes.Cut(text, []byte("\n# "+f.name+" = "))
		number, _, _ := bytes.Cut(rest, []byte("\n"))
		n, err := strconv.ParseInt(string(number), 10, 64)
		if !ok || err != nil {
			return freed{}, fmt.Errorf("read heap: the profile does not tell its %s", f.name)
		}
		*f.into = n
	}
	return h, nil
}

// Rest takes the counts alone, at a small part of a Sample's price: descriptors,
// sockets, and goroutines by signature without creators. It has no identities and no
// options; a fast cycle is judged by counts.
func (o *Observer) Rest(ctx context.Context) (record.Sample, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := record.Sample{Role: o.process.Role, PID: o.process.PID}
	if err := ctx.Err(); err != nil {
		return s, o.wrap(err)
	}
	h, err := o.look(true)
	if err != nil {
		return s, o.wrap(err)
	}
	s.FDs, s.Sockets, s.Kernel, s.Memory.RssAnon = h.fds, h.sockets, h.kernel, h.status.rssAnon
	if o.pprof == nil {
		return s, nil
	}
	counts, err := o.profile(ctx)
	if err != nil {
		return s, o.wrap(o.orGone(err))
	}
	for signature, n := range counts {
		s.Groups = append(s.Groups, record.Group{Signature: signature, Count: n})
	}
	return s, nil
}
