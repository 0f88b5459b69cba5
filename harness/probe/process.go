// Package probe reads what a process holds, without its help where that is
// possible and with its pprof where it offers one: descriptors, sockets with
// their kernel timers, goroutines, memory.
//
//	/proc/PID/fd ---- inode ----+
//	                            +--> Sockets (held), FDs (all), Kernel (held by nobody)
//	sock_diag in its namespace -+
//	pidfd_getfd, getsockopt ------> Sockets' options, from the live sockets
//	gopsutil ---------------------> States, Threads, RSS: a second account
//	pprof, profile form ----------> Groups      (counts, exact)
//	pprof, debug=2 ---------------> Goroutines  (identities: id, labels, creator)
//	Prometheus's text format -----> Gauges      (what the target itself counts)
//
// What the observer itself costs the target, one connection and two goroutines,
// is taken out by identity.
package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness/record"
)

// Namespace is the network namespace of a host.
type Namespace interface {
	// Do runs fn on a thread that is inside the namespace and returns its error.
	Do(fn func() error) error
	// DialContext connects from inside it, to a literal address.
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Process says whom to observe.
type Process struct {
	Role string // for the record
	PID  int    // as this process sees it
	Host Namespace
	// Pprof is where net/http/pprof listens inside the host, "127.0.0.1:6060"; ""
	// for a target that has none.
	Pprof string
	// Free is the path, beside Pprof, that makes the target give memory back,
	// "/debug/free"; "" if it cannot.
	Free string
	// Metrics is the URL, inside the host, of a page in Prometheus's text format; ""
	// for a target that has none, or whose Gauges are not asked for.
	Metrics string
	Gauges  []Gauge
}

// ErrGone says that the process has exited: it is missing or a zombie, or its
// PID belongs to somebody else by now.
var ErrGone = errors.New("process is gone")

// Observer observes one process. Its methods may be called from several
// goroutines and wait for each other. Close it.
type Observer struct {
	process Process
	mu      sync.Mutex
	pidfd   int
	diag    *diag
	pprof   *client // nil if the target offers none
	metrics *client // the same as pprof where they share an address
	page    string  // of metrics
	// inodes are the target's sockets of the observer's connections, for those that
	// outlive their addresses: the kernel forgets a socket before its fd is closed.
	inodes map[uint64]bool
	// tells says that the target's answer to Free has its heap.
	tells bool
	// creators remembers who started the goroutines with a given stack.
	creators map[string]map[string]int
}

// Open starts to observe p. It connects to nothing yet: the target need not be
// ready. ErrGone if there is no such process.
func Open(ctx context.Context, p Process) (*Observer, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("observe %s: %w", p.Role, err)
	}
	// A pidfd stays with its process when the number is used again.
	pidfd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, fmt.Errorf("observe %s (pid %d): %w", p.Role, p.PID, ErrGone)
	}
	if err != nil {
		return nil, fmt.Errorf("observe %s (pid %d): open pidfd: %w", p.Role, p.PID, err)
	}
	o := &Observer{process: p, pidfd: pidfd, creators: make(map[string]map[string]int)}
	if o.diag, err = openDiag(p.Host); err != nil {
		return nil, errors.Join(o.wrap(err), unix.Close(pidfd))
	}
	if p.Pprof != "" {
		o.pprof = &client{host: p.Host, address: p.Pprof}
	}
	if err := o.gauged(); err != nil {
		return nil, errors.Join(o.wrap(err), o.Close())
	}
	if _, err := o.alive(); err != nil {
		return nil, errors.Join(o.wrap(err), o.Close())
	}
	return o, nil
}

// Close lets go of the process and of its namespace. Calls after it fail.
func (o *Observer) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pidfd < 0 {
		return nil
	}
	err := errors.Join(unix.Close(o.pidfd), o.diag.close())
	for _, c := range []*client{o.pprof, o.metrics} {
		if c != nil {
			c.drop()
		}
	}
	o.pidfd = -1
	if err != nil {
		return o.wrap(fmt.Errorf("close: %w", err))
	}
	return nil
}

// wrap names the process in an error.
func (o *Observer) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("observe %s (pid %d): %w", o.process.Role, o.process.PID, err)
}

// alive is ErrGone when the process has exited, reaped or not, or is about to: it
// loses its memory first, then its descriptors, and only then its pidfd tells.
func (o *Observer) alive() (status, error) {
	if o.pidfd < 0 {
		return status{}, errors.New("observer is closed")
	}
	now, err := readStatus(o.process.PID)
	if err != nil {
		return now, err
	}
	poll := []unix.PollFd{{Fd: int32(o.pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return now, fmt.Errorf("poll pidfd: %w", err)
		case n > 0: // readable: exited
			return now, ErrGone
		}
		return now, nil
	}
}

// ours tells whether a socket is the observer's connection, from either end:
// the target's while it is open, the kernel's afterwards.
func (o *Observer) ours(s *record.Socket) bool {
	return o.pprof != nil && o.pprof.knows(s.Local, s.Remote) || o.metrics != nil && o.metrics.knows(s.Local, s.Remote)
}
