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
	if _, err := o.alive(); err != nil {
		return 0, o.wrap(err)
	}
	dir, err := openDescriptors(o.process.PID)
	if err != nil {
		return 0, o.wrap(err)
	}
	defer dir.close()
	fds, err := dir.list()
	if err != nil {
		return 0, o.wrap(err)
	}
	n := 0
	for _, fd := range fds {
		if strings.HasPrefix(fd.Target, "socket:") && inodes[fd.Inode] {
			n++
		}
	}
	// Who exited meanwhile would look like one who closed everything.
	_, err = o.alive()
	return n, o.wrap(err)
}

// Here is the network namespace of the calling program.
type Here struct{}

// Do implements Namespace.
func (Here) Do(fn func() error) error { return fn() }

// DialContext implements Namespace.
func (Here) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, address)
}
