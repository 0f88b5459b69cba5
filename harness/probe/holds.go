package probe

import (
	"context"
	"net"
	"strings"
)

// Holds counts the descriptors of the process whose sockets are among the inodes,
// whether the kernel still knows those sockets or not. It is the cheapest look of
// all. ErrGone if the process has exited.
func (o *Observer) Holds(inodes map[uint64]bool) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := holds(o.process.PID, inodes)
	// Who exited meanwhile looks like one who closed everything, or whom nobody may look at.
	if _, gone := o.alive(); gone != nil {
		n, err = 0, gone
	}
	return n, o.wrap(err)
}

func holds(pid int, inodes map[uint64]bool) (n int, err error) {
	dir, err := openDescriptors(pid)
	if err != nil {
		return 0, err
	}
	defer dir.close()
	fds, err := dir.list()
	for _, fd := range fds {
		if strings.HasPrefix(fd.Target, "socket:") && inodes[fd.Inode] {
			n++
		}
	}
	return n, err
}

// Here is the network namespace of the calling program.
type Here struct{}

// Do implements Namespace.
func (Here) Do(fn func() error) error { return fn() }

// DialContext implements Namespace.
func (Here) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, address)
}
