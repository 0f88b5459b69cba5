package physics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

// pair is one connection across a lab.
type pair struct {
	lab         *lab.Lab
	here, there *net.TCPConn // there is nil if it is a process's
	process     *lab.Process
	began, at   time.Time // the fault began at the earliest, and was in force at the latest
	beside      []*pair   // others that go through the same fault: all are measured

	heard atomic.Int64  // bytes that came here
	dead  chan struct{} // closed when a call here has failed
	once  sync.Once
	died  time.Time
	why   error
}

const port = 7000

// join connects there to here, and lets a byte pass each way.
func join(ctx context.Context, l *lab.Lab, t trial) (*pair, error) {
	p := &pair{lab: l, dead: make(chan struct{})}
	address := netip.AddrPortFrom(l.ClientSide, port).String()
	ln, err := l.Server.Listen(ctx, address)
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	if t.process {
		if err := p.start(l, address, t.deaf); err != nil {
			return nil, err
		}
	} else {
		conn, err := l.Client.DialContext(ctx, "tcp4", address)
		if err != nil {
			return nil, err
		}
		p.there = conn.(*net.TCPConn)
	}
	if err := ln.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, err
	}
	conn, err := ln.Accept()
	if err != nil {
		return nil, err
	}
	p.here = conn.(*net.TCPConn)
	if err := set(p.here, t.here); err != nil {
		return nil, err
	}
	if p.there != nil {
		if err := set(p.there, t.there); err != nil {
			return nil, err
		}
		if !t.deaf {
			go serve(p.there, t.echo)
		}
	}
	go p.read()
	return p, p.talk()
}

// talk lets a byte come, so that both ends know the path, and waits until all is
// acknowledged.
func (p *pair) talk() error {
	if p.there != nil {
		if _, err := p.there.Write([]byte{1}); err != nil {
			return err
		}
	}
	for end := time.Now().Add(5 * time.Second); p.heard.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return errors.New("no byte came")
		}
	}
	time.Sleep(60 * time.Millisecond) // a delayed acknowledgement takes 40 ms
	return nil
}

// read notes when a call fails here: from then on the program knows.
func (p *pair) read() {
	buf := make([]byte, 64<<10)
	for {
		n, err := p.here.Read(buf)
		p.heard.Add(int64(n))
		if err != nil {
			p.fail(err)
			return
		}
	}
}

func (p *pair) fail(err error) {
	p.once.Do(func() {
		p.died, p.why = time.Now(), err
		close(p.dead)
	})
}

// strike does the fault, and notes when.
func (p *pair) strike(fault func() error) error {
	p.began = time.Now()
	if err := fault(); err != nil {
		return err
	}
	p.at = time.Now()
	return nil
}

// gone waits until the measured end is gone, and says after how many seconds from when
// the fault was in force, and from when it began; is is false if it still lives after until.
func (p *pair) gone(ctx context.Context, t trial, until time.Duration) (gone, early float64, is bool) {
	since := func(at time.Time) (float64, float64, bool) {
		return max(0, at.Sub(p.at).Seconds()), at.Sub(p.began).Seconds(), true
	}
	over := time.NewTimer(time.Until(p.at.Add(until)))
	defer over.Stop()
	if t.residue == "" {
		select {
		case <-p.dead:
			last := p.died
			for _, other := range p.beside {
				select {
				case <-other.dead:
				case <-over.C:
					return 0, 0, false
				case <-ctx.Done():
					return 0, 0, false
				}
				if other.died.After(last) {
					last = other.died
				}
			}
			return since(last)
		case <-over.C:
		case <-ctx.Done():
		}
		return 0, 0, false
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if kept, err := p.kept(); err == nil && !kept {
			return since(time.Now())
		}
		select {
		case <-tick.C:
		case <-over.C:
			return 0, 0, false
		case <-ctx.Done():
			return 0, 0, false
		}
	}
}

// kept says whether the kernel here still has the connection, whoever holds it.
func (p *pair) kept() (bool, error) {
	a := p.here.RemoteAddr().(*net.TCPAddr).AddrPort()
	b := a.Addr().Unmap().As4()
	remote := fmt.Sprintf(" %02X%02X%02X%02X:%04X ", b[3], b[2], b[1], b[0], a.Port())
	var text []byte
	err := p.lab.Server.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/tcp")
		return err
	})
	return strings.Contains(string(text), remote), err
}

// speaks says whether a byte still comes through.
func (p *pair) speaks() bool {
	before := p.heard.Load()
	if _, err := p.there.Write([]byte{1}); err != nil {
		return false
	}
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if p.heard.Load() > before {
			return true
		}
	}
	return false
}

// write writes n bytes here; an error is an end.
func (p *pair) write(n int) {
	if _, err := p.here.Write(make([]byte, n)); err != nil {
		p.fail(err)
	}
}

// keepWriting writes a byte each interval until the end.
func (p *pair) keepWriting(interval time.Duration) {
	go func() {
		for tick := time.NewTicker(interval); ; {
			select {
			case <-p.dead:
				tick.Stop()
				return
			case <-tick.C:
				p.write(1)
			}
		}
	}()
}

// fill writes until the other end takes no more, and strikes with the moment from which
// nothing was taken.
func (p *pair) fill() error {
	var last atomic.Int64
	last.Store(time.Now().UnixNano())
	go func() {
		chunk := make([]byte, 32<<10)
		for {
			if _, err := p.here.Write(chunk); err != nil {
				p.fail(err)
				return
			}
			last.Store(time.Now().UnixNano())
		}
	}()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if at := time.Unix(0, last.Load()); time.Since(at) > 500*time.Millisecond {
			p.began, p.at = at, at
			return nil
		}
	}
	return errors.New("the other end takes everything")
}

// close ends the pair without a word.
func (p *pair) close() {
	for _, other := range p.beside {
		other.close()
	}
	for _, c := range []*net.TCPConn{p.here, p.there} {
		if c != nil {
			_ = c.SetLinger(0)
			_ = c.Close() // it may be dead, or closed by its trial
		}
	}
}

// set sets a socket's options.
func set(c *net.TCPConn, s record.Settings) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var errs []error
	option := func(fd uintptr, level, name, value int) {
		errs = append(errs, unix.SetsockoptInt(int(fd), level, name, value))
	}
	err = raw.Control(func(fd uintptr) {
		on := 0
		if s.KeepaliveCount > 0 {
			on = 1
			option(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(s.KeepaliveIdle))
			option(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(s.KeepaliveInterval))
			option(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, s.KeepaliveCount)
		}
		option(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, on)
		option(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(s.UserTimeout*1000))
		if s.RTOMax > 0 {
			option(fd, unix.IPPROTO_TCP, unix.TCP_RTO_MAX_MS, int(s.RTOMax*1000))
		}
	})
	if err := errors.Join(append(errs, err)...); err != nil {
		return fmt.Errorf("set socket options: %w", err)
	}
	return nil
}

// serve is the other end: it reads until the end, and sends back what it reads if it
// echoes.
func serve(c net.Conn, echo bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if echo {
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
		}
	}
}

// The environment of a peer in a process of its own.
const (
	peerEnv = "PHYSICS_PEER"
	deafEnv = "PHYSICS_DEAF"
)

// peer is such a process: it connects, says a byte, and echoes, or reads nothing.
func peer(address string, deaf bool) error {
	conn, err := net.Dial("tcp4", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte{1}); err != nil {
		return err
	}
	if deaf {
		time.Sleep(time.Hour) // it is killed long before
		return nil
	}
	serve(conn, true)
	return nil
}

// start starts the peer on the client's host.
func (p *pair) start(l *lab.Lab, address string, deaf bool) (err error) {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	env := []string{peerEnv + "=" + address}
	if deaf {
		env = append(env, deafEnv+"=1")
	}
	log := filepath.Join(os.TempDir(), fmt.Sprintf("peer-%p.log", l))
	p.process, err = l.Start(l.Client, lab.Command{Role: "client", Argv: []string{self}, Env: env, Log: log})
	return err
}
