package tunnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// listen opens a listener on a literal address. Not an MPTCP one, as Go's are
// by default: those refuse TCP_USER_TIMEOUT. flag names the option to change
// when the address is taken.
func listen(address, flag string) (*net.TCPListener, error) {
	config := net.ListenConfig{KeepAlive: -1} // set on each connection, with our own values
	config.SetMultipathTCP(false)
	ln, err := config.Listen(context.Background(), "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, setupf("listen on %s: address already in use: end the process that holds it, or choose another with %s", address, flag)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, setupf("listen on %s: this machine has no such address: choose another with %s", address, flag)
	case errors.Is(err, syscall.EACCES):
		return nil, setupf("listen on %s: permission denied: choose a port above 1023 with %s", address, flag)
	case err != nil:
		return nil, setupf("listen on %s: %w: choose another address with %s", address, err, flag)
	}
	return ln.(*net.TCPListener), nil
}

// acceptLoop hands each connection to handle, which owns it and must not
// block, until the listener is closed or ctx ends. When there are no
// descriptors left it waits: 5 ms, doubled up to 1 s.
func acceptLoop(ctx context.Context, ln *net.TCPListener, log *slog.Logger, m *metrics, handle func(*net.TCPConn)) {
	const first, most = 5 * time.Millisecond, time.Second
	wait := first
	for {
		conn, err := ln.AcceptTCP()
		if err == nil {
			wait = first
			handle(conn)
			continue
		}
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			return
		}
		m.accepts.Inc()
		log.Warn("cannot accept", "on", ln.Addr().String(), "err", err, "wait", wait)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		wait = min(2*wait, most)
	}
}

// guard sets the deadline of a handshake, TLS or HTTP. When ctx ends before release
// is called, the deadline is now, and nobody may set another meanwhile. After release
// it is whoever's comes next: release waits for an end that is being told.
func guard(ctx context.Context, conn deadlines, d time.Duration) (release func(), err error) {
	if err := conn.SetDeadline(time.Now().Add(d)); err != nil {
		return nil, fmt.Errorf("set handshake deadline: %w", err)
	}
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(told)
		_ = conn.SetDeadline(past) // fails only on a closed connection, on which nobody blocks
	})
	return func() {
		if !stop() {
			<-told
		}
	}, nil
}

// abort makes the coming Close a RST: the peer learns that the bytes it got are
// not all, and the kernel keeps nothing.
func abort(conn *net.TCPConn) {
	_ = conn.SetLinger(0) // fails only on a closed connection
}

// errSeats says that all places of a limited number are taken.
var errSeats = errors.New("limit reached")

// seats counts those who hold a place of a limited number.
type seats struct {
	most  int64
	taken atomic.Int64
}

// take takes a place if there is one.
func (s *seats) take() bool {
	if s.taken.Add(1) > s.most {
		s.taken.Add(-1)
		return false
	}
	return true
}

func (s *seats) leave() { s.taken.Add(-1) }
