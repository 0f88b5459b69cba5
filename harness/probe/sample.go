package probe

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/halfopen/halfopen/harness/record"
)

// held is the exact part of a sample: what the kernel says, without help.
type held struct {
	fds     []record.FD
	sockets []record.Socket
	kernel  []record.Socket
	status  status
}

// look joins the descriptors with the sockets. The two cannot be read in one
// instant: a descriptor whose socket closed in between is asked again, one that
// opened in between has no socket yet. Without silence the sockets lack theirs.
func (o *Observer) look(silence bool) (held, error) {
	var h held
	if _, err := o.alive(); err != nil {
		return h, err
	}
	dir, err := openDescriptors(o.process.PID)
	if err != nil {
		return h, err
	}
	defer dir.close()
	fds, err := dir.list()
	if err != nil {
		return h, err
	}
	byInode := make(map[uint64]int, len(fds)) // the lowest fd of each
	for _, fd := range fds {
		if _, known := byInode[fd.Inode]; !known && strings.HasPrefix(fd.Target, "socket:") {
			byInode[fd.Inode] = fd.Number
		}
	}
	all, err := o.diag.sockets(silence, func(inode uint64) bool {
		_, mine := byInode[inode]
		return mine || inode == 0
	})
	if err != nil {
		return h, err
	}
	const own, observers = 1, 2
	seen := make(map[uint64]int, len(byInode))
	for i := range all {
		s := &all[i]
		number, mine := byInode[s.Inode]
		switch {
		case s.Inode == 0 && !o.ours(s):
			h.kernel = append(h.kernel, *s)
		case s.Inode == 0 || !mine: // the observer's, or another process's
		case o.ours(s):
			seen[s.Inode] = observers
		default:
			seen[s.Inode] = own
			s.FD = number
			h.sockets = append(h.sockets, *s)
		}
	}
	before := o.inodes
	o.inodes = make(map[uint64]bool)
	h.fds = fds[:0]
	for _, fd := range fds {
		kind := seen[fd.Inode]
		switch {
		case !strings.HasPrefix(fd.Target, "socket:"):
			kind = own
		case kind == 0 && before[fd.Inode]:
			kind = observers
		}
		switch {
		case kind == observers:
			o.inodes[fd.Inode] = true
		case kind == own, dir.still(fd):
			h.fds = append(h.fds, fd)
		}
	}
	// Who exited meanwhile would look like one who closed everything.
	h.status, err = o.alive()
	return h, err
}

func count(sockets []record.Socket) map[string]int {
	states := make(map[string]int)
	for i := range sockets {
		states[sockets[i].State]++
	}
	return states
}

// Point takes one cheap sample: descriptors, sockets, RssAnon. ErrGone if the
// process has exited.
func (o *Observer) Point(ctx context.Context) (record.Point, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := record.Point{Role: o.process.Role, PID: o.process.PID}
	if err := ctx.Err(); err != nil {
		return p, o.wrap(err)
	}
	h, err := o.look(false)
	if err != nil {
		return p, o.wrap(err)
	}
	p.FDs, p.Sockets, p.Kernel, p.RssAnon = len(h.fds), count(h.sockets), count(h.kernel), h.status.rssAnon
	return p, nil
}

// Sample takes all of it: first the exact counts, then the sockets' options and
// gopsutil's account, then the goroutines, for asking for them may run the
// finalizers that hide a lost socket, and the target's own gauges. Options that may not be read are missing, and
// the sample says why. Where the target offers pprof or gauges and does not answer (it may be frozen),
// the error comes together with everything else.
func (o *Observer) Sample(ctx context.Context) (record.Sample, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := record.Sample{Role: o.process.Role, PID: o.process.PID, At: time.Now()}
	if err := ctx.Err(); err != nil {
		return s, o.wrap(err)
	}
	h, err := o.look(true)
	if err != nil {
		return s, o.wrap(err)
	}
	s.FDs, s.Sockets, s.Kernel = h.fds, h.sockets, h.kernel
	s.Memory.RssAnon = h.status.rssAnon
	if s.Namespace, err = o.namespace(); err != nil {
		return s, o.wrap(o.orGone(err))
	}
	if err := o.options(&s); err != nil {
		return s, o.wrap(o.orGone(err))
	}
	if err := o.second(ctx, &s); err != nil {
		return s, o.wrap(o.orGone(err))
	}
	if o.pprof != nil {
		if s.Groups, s.Goroutines, err = o.goroutines(ctx); err != nil {
			return s, o.wrap(o.orGone(err))
		}
	}
	if o.metrics != nil { // last: a page is made by goroutines of its own, which end a moment later
		s.Gauges, err = o.gauges(ctx)
	}
	return s, o.wrap(o.orGone(err))
}

// orGone prefers the one cause to its many consequences.
func (o *Observer) orGone(err error) error {
	if err == nil {
		return nil
	}
	if _, gone := o.alive(); gone != nil {
		return fmt.Errorf("%w (%w)", gone, err)
	}
	return err
}
