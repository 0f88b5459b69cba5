package tunnel

import (
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// SockOpts is what makes the kernel notice that the peer of a connection has
// died. Seconds, but for UserTimeout: milliseconds. All zero: it never does,
// unless something is written.
type SockOpts struct {
	KeepAlive   bool `json:"keepalive"`
	Idle        int  `json:"idle_s"`
	Interval    int  `json:"interval_s"`
	Count       int  `json:"count"`
	UserTimeout int  `json:"user_timeout_ms"`
}

// wanted turns settings into options. A keepalive that is off leaves its times
// unsaid (0).
func wanted(k KeepAlive, userTimeout time.Duration) SockOpts {
	var o SockOpts
	if k.Idle != Off {
		o = SockOpts{
			KeepAlive: true,
			Idle:      int(k.Idle / time.Second),
			Interval:  int(k.Interval / time.Second),
			Count:     k.Count,
		}
	}
	if userTimeout != Off {
		o.UserTimeout = int(userTimeout / time.Millisecond)
	}
	return o
}

// apply sets the options on a connection and reads them back. It returns what
// the kernel has, and fails if that is not what was asked for: such a
// connection could outlive its peer unnoticed.
func (o SockOpts) apply(conn *net.TCPConn) (SockOpts, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return SockOpts{}, fmt.Errorf("set socket options: %w", err)
	}
	var failed error
	set := func(fd, level, option, value int, name string) {
		if err := unix.SetsockoptInt(fd, level, option, value); err != nil && failed == nil {
			failed = fmt.Errorf("set %s to %d: %w", name, value, err)
		}
	}
	if err := raw.Control(func(fd uintptr) {
		fd1 := int(fd)
		if o.KeepAlive {
			set(fd1, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, o.Idle, "TCP_KEEPIDLE")
			set(fd1, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, o.Interval, "TCP_KEEPINTVL")
			set(fd1, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, o.Count, "TCP_KEEPCNT")
			set(fd1, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1, "SO_KEEPALIVE")
		} else {
			set(fd1, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0, "SO_KEEPALIVE")
		}
		set(fd1, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, o.UserTimeout, "TCP_USER_TIMEOUT")
	}); err != nil {
		return SockOpts{}, fmt.Errorf("set socket options: %w", err)
	}
	if failed != nil {
		return SockOpts{}, failed
	}
	got, err := readSockOpts(conn)
	if err != nil {
		return SockOpts{}, err
	}
	if got != o {
		return got, fmt.Errorf("read socket options back: got %+v, set %+v", got, o)
	}
	return got, nil
}

// readSockOpts reads the options from the live socket.
func readSockOpts(conn *net.TCPConn) (SockOpts, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return SockOpts{}, fmt.Errorf("read socket options: %w", err)
	}
	var o SockOpts
	var failed error
	get := func(fd uintptr, level, option int) int {
		v, err := unix.GetsockoptInt(int(fd), level, option)
		if err != nil && failed == nil {
			failed = fmt.Errorf("read socket option %d/%d: %w", level, option, err)
		}
		return v
	}
	if err := raw.Control(func(fd uintptr) {
		if get(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE) != 0 {
			o.KeepAlive = true
			o.Idle = get(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
			o.Interval = get(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL)
			o.Count = get(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT)
		}
		o.UserTimeout = get(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
	}); err != nil {
		return SockOpts{}, fmt.Errorf("read socket options: %w", err)
	}
	return o, failed
}
