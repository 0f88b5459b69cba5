package probe

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness/record"
)

// errClosed says that the descriptor is closed, or another file's, by now.
var errClosed = errors.New("socket was closed meanwhile")

// options reads the socket options of s.Sockets from the live sockets, listeners
// left out. It takes about 8 microseconds a socket (17 ms for 2000, beside 55 ms
// for the rest of a Sample). A refusal is named in s.OptionsRefused, and no error.
func (o *Observer) options(s *record.Sample) error {
	missing := false
	for i := range s.Sockets {
		k := &s.Sockets[i]
		if k.State == "LISTEN" || s.OptionsRefused != "" {
			continue
		}
		err := o.borrow(k, func(fd int) (err error) {
			k.Options, err = readOptions(fd)
			return err
		})
		switch {
		case errors.Is(err, errClosed):
			missing = true
		case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOSYS):
			s.OptionsRefused = refusal(err)
			missing = true
		case err != nil:
			return fmt.Errorf("read options of socket %s to %s: %w", k.Local, k.Remote, err)
		}
	}
	if !missing {
		return nil
	}
	// Who exited meanwhile would look like one who closed everything, or refused.
	_, err := o.alive()
	return err
}

// refusal says who may have refused a duplicate, and what helps.
func refusal(err error) string {
	if errors.Is(err, unix.ENOSYS) {
		return fmt.Sprintf("%v: pidfd_getfd needs Linux 5.6, and a seccomp profile that lets it pass", err)
	}
	return fmt.Sprintf("%v: the process is another user's or not dumpable, or kernel.yama.ptrace_scope or a seccomp profile forbids it; run the harness as root", err)
}

// borrow calls use with a duplicate of the process's descriptor of socket k, and
// closes it. errClosed if the process has closed that descriptor by now.
//
// A duplicate is one more reference to the open socket, not another socket. What
// is asked of it changes nothing, shutdown(2) by the process is seen by its peer at
// once, and closing it while the process still holds its own does nothing. Only if
// the process closes its last descriptor within these few system calls does the
// FIN (or the RST, where bytes lie unread) wait for our close, which then is the
// last and does what the process's would have done, SO_LINGER included. So a
// duplicate can delay an end by microseconds, never prevent it; if the harness dies,
// the kernel closes it. Forks wait meanwhile: a child would have a reference of its
// own until its exec.
func (o *Observer) borrow(k *record.Socket, use func(fd int) error) (err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.PidfdGetfd(o.pidfd, k.FD, 0) // close-on-exec always
	switch {
	case errors.Is(err, unix.EBADF):
		return errClosed
	case errors.Is(err, unix.ESRCH):
		return ErrGone
	case err != nil:
		return fmt.Errorf("duplicate descriptor %d: %w", k.FD, err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	// The number may have been given to another file since the descriptors were listed.
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return fmt.Errorf("look at the duplicate of descriptor %d: %w", k.FD, err)
	}
	if stat.Ino != k.Inode || stat.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return errClosed
	}
	return use(fd)
}

// readOptions asks one socket.
func readOptions(fd int) (*record.Options, error) {
	var (
		o                                     record.Options
		keepalive, idle, interval, user, most int
	)
	for _, ask := range []struct {
		name          string
		level, option int
		into          *int
	}{
		{"SO_PROTOCOL", unix.SOL_SOCKET, unix.SO_PROTOCOL, &o.Protocol},
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, &keepalive},
		{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, &idle},
		{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, &interval},
		{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, &o.KeepaliveCount},
		{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, &user}, // milliseconds
		{"TCP_RTO_MAX_MS", unix.IPPROTO_TCP, unix.TCP_RTO_MAX_MS, &most},
	} {
		value, err := unix.GetsockoptInt(fd, ask.level, ask.option)
		switch {
		case errors.Is(err, unix.ENOPROTOOPT), errors.Is(err, unix.EOPNOTSUPP): // TCP's word, MPTCP's word
			if ask.option != unix.TCP_RTO_MAX_MS { // 0 says it already
				o.Untold = append(o.Untold, ask.name)
			}
		case err != nil:
			return nil, fmt.Errorf("get %s: %w", ask.name, err)
		default:
			*ask.into = value
		}
	}
	o.Keepalive = keepalive != 0
	o.KeepaliveIdle, o.KeepaliveInterval = float64(idle), float64(interval)
	o.UserTimeout, o.RTOMax = float64(user)/1000, float64(most)/1000
	return &o, nil
}
