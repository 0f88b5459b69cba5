package pool

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof" // on the default mux
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Server is a server of the document's kind. Its options are flags; Main reads them.
type Server struct {
	Pool

	listen, public, admin string
	options               Options
	chat                  time.Duration
}

// Options are those of a connection that decide when its kernel gives it up.
type Options struct {
	// Keepalive is "default" (Go's own), "off", a period ("30s": SetKeepAlivePeriod, as
	// the document has it), or idle/interval/count ("2s/1s/9").
	Keepalive   string
	UserTimeout time.Duration // TCP_USER_TIMEOUT; 0: off
}

// Flags makes the options flags of the program.
func (o *Options) Flags() {
	flag.StringVar(&o.Keepalive, "keepalive", "default", `"default", "off", a period, or idle/interval/count`)
	flag.DurationVar(&o.UserTimeout, "user-timeout", 0, "TCP_USER_TIMEOUT; 0: off")
}

// Set sets the options of a connection.
func (o Options) Set(c *net.TCPConn) error {
	if err := o.keepalive(c); err != nil {
		return fmt.Errorf("set keepalive %s: %w", o.Keepalive, err)
	}
	if o.UserTimeout == 0 {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(o.UserTimeout.Milliseconds()))
	})
	if err := errors.Join(err, failed); err != nil {
		return fmt.Errorf("set user timeout: %w", err)
	}
	return nil
}

func (o Options) keepalive(c *net.TCPConn) error {
	switch o.Keepalive {
	case "default":
		return nil
	case "off":
		return c.SetKeepAlive(false)
	}
	if period, err := time.ParseDuration(o.Keepalive); err == nil {
		return errors.Join(c.SetKeepAlive(true), c.SetKeepAlivePeriod(period))
	}
	parts := strings.Split(o.Keepalive, "/")
	if len(parts) != 3 {
		return errors.New("want default, off, 30s or 2s/1s/9")
	}
	idle, err1 := time.ParseDuration(parts[0])
	interval, err2 := time.ParseDuration(parts[1])
	count, err3 := strconv.Atoi(parts[2])
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	return c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: idle, Interval: interval, Count: count})
}

// Main reads the flags, listens, and has handle called with each tunnel connection and
// visit with each visitor (nil: there are none), each on a goroutine of its own. It prints
// "ready", and returns when it cannot go on.
func (s *Server) Main(handle, visit func(net.Conn)) {
	flag.StringVar(&s.listen, "listen", "127.0.0.1:4443", "where tunnel clients connect")
	flag.StringVar(&s.public, "public", "127.0.0.1:8080", "where visitors connect")
	flag.StringVar(&s.admin, "admin", "127.0.0.1:6060", "where pprof is")
	flag.DurationVar(&s.chat, "chat", 0, "write a byte to each tunnel connection so often; 0: never")
	s.options.Flags()
	flag.Parse()
	if err := s.run(handle, visit); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func (s *Server) run(handle, visit func(net.Conn)) error {
	tunnels, err := net.Listen("tcp4", s.listen)
	if err != nil {
		return err
	}
	failed := make(chan error, 3)
	go func() { failed <- http.ListenAndServe(s.admin, nil) }()
	go func() { failed <- accept(tunnels, func(c net.Conn) { s.tunnel(c, handle) }) }()
	if visit != nil {
		visitors, err := net.Listen("tcp4", s.public)
		if err != nil {
			return err
		}
		go func() {
			failed <- accept(visitors, func(c net.Conn) {
				if err := s.options.Set(c.(*net.TCPConn)); err != nil {
					fmt.Println(err)
				}
				visit(c)
			})
		}()
	}
	if err := s.answers(); err != nil {
		return err
	}
	fmt.Println("ready")
	return <-failed
}

// answers waits until the admin address does.
func (s *Server) answers() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.admin)
		if err == nil {
			return conn.Close()
		}
		if ctx.Err() != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

func accept(ln net.Listener, serve func(net.Conn)) error {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		go serve(conn)
	}
}

// tunnel sets a new connection's options, and hands it on.
func (s *Server) tunnel(c net.Conn, handle func(net.Conn)) {
	if err := s.options.Set(c.(*net.TCPConn)); err != nil {
		fmt.Println(err)
		_ = c.Close() // nothing was said on it
		return
	}
	if s.chat > 0 {
		go func() {
			for range time.Tick(s.chat) {
				if _, err := c.Write([]byte{'.'}); err != nil {
					return
				}
			}
		}()
	}
	handle(c)
}

// Greet reads the client's one word of greeting: who says anything but hello is refused.
func Greet(c net.Conn) error {
	word := make([]byte, 1)
	if _, err := c.Read(word); err != nil {
		return err
	}
	if word[0] != Hello {
		return errors.New("refused")
	}
	return nil
}

// Hello is how a client that is welcome greets.
const Hello = 'h'
