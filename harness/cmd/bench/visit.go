package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// order is what a process of visitors is told to do.
type order struct {
	Kind    string        // down, up, http, new, ws, idle, blob, stall
	Address string        // of the peer's public side
	Host    string        // for Host
	N       int           // visitors
	Warm    time.Duration // before it counts
	Window  time.Duration // that counts
}

// tally is what it tells, as JSON.
type tally struct {
	Count  int64   // bytes, requests or messages in the window
	Total  int64   // since the start, the warm-up included
	Window float64 // seconds
	Errors int64
	Error  string // the first one
}

func (o order) argv(self string) []string {
	return []string{self, "visit", "-kind", o.Kind, "-address", o.Address, "-host", o.Host,
		"-n", fmt.Sprint(o.N), "-warm", o.Warm.String(), "-window", o.Window.String()}
}

// visit is the process of the visitors. Idle ones stay until it is killed, after
// a line that says that they are there.
func visit(args []string) {
	var o order
	f := flag.NewFlagSet("visit", flag.ExitOnError)
	f.StringVar(&o.Kind, "kind", "", "")
	f.StringVar(&o.Address, "address", "", "")
	f.StringVar(&o.Host, "host", "", "")
	f.IntVar(&o.N, "n", 1, "")
	f.DurationVar(&o.Warm, "warm", 0, "")
	f.DurationVar(&o.Window, "window", 0, "")
	_ = f.Parse(args) // exits on error
	v := &visitors{order: o}
	if err := v.run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench visit:", err)
		os.Exit(unfit)
	}
}

// visitors is all of one measurement.
type visitors struct {
	order
	total  atomic.Int64
	failed atomic.Int64
	first  atomic.Pointer[string]
	over   atomic.Bool
}

// fail notes an error, unless the measurement is over.
func (v *visitors) fail(err error) {
	if v.over.Load() {
		return
	}
	v.failed.Add(1)
	text := err.Error()
	v.first.CompareAndSwap(nil, &text)
}

func (v *visitors) run() error {
	one := map[string]func(net.Conn) error{
		"down": v.down, "up": v.up, "http": v.http, "ws": v.echo, "idle": v.idle, "blob": v.blob, "stall": v.stall,
	}[v.Kind]
	var all sync.WaitGroup
	switch {
	case v.Kind == "new":
		for range v.N {
			go v.newOnes()
		}
	case one == nil:
		return fmt.Errorf("unknown kind %q", v.Kind)
	default:
		gate := make(chan struct{}, 64) // connects at once
		for range v.N {
			all.Add(1)
			gate <- struct{}{}
			go func() {
				var once sync.Once
				ready := func() { once.Do(func() { <-gate; all.Done() }) }
				defer ready()
				conn, err := net.Dial("tcp", v.Address)
				if err == nil {
					defer conn.Close()
					err = one(&readyConn{conn, ready})
				}
				if err != nil {
					v.fail(err)
				}
			}()
		}
	}
	if v.Window == 0 { // these only stay
		all.Wait()
		if v.failed.Load() > 0 {
			return errors.New(*v.first.Load())
		}
		fmt.Println("ready")
		v.watch()
		return nil
	}
	time.Sleep(v.Warm)
	start, before := time.Now(), v.total.Load()
	time.Sleep(v.Window)
	count, took := v.total.Load()-before, time.Since(start)
	v.over.Store(true)
	t := tally{Count: count, Total: v.total.Load(), Window: took.Seconds(), Errors: v.failed.Load()}
	if text := v.first.Load(); text != nil {
		t.Error = *text
	}
	return json.NewEncoder(os.Stdout).Encode(t)
}

// watch waits until all that stayed are gone, and says when.
func (v *visitors) watch() {
	for v.failed.Load() < int64(v.N) {
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Println("gone")
	select {}
}

// readyConn knows when its visitor has got through.
type readyConn struct {
	net.Conn
	ready func()
}

func (v *visitors) down(conn net.Conn) error {
	if _, err := conn.Write([]byte{wantDown}); err != nil {
		return err
	}
	for buf := make([]byte, chunk); ; {
		n, err := conn.Read(buf)
		v.total.Add(int64(n))
		if err != nil {
			return err
		}
		conn.(*readyConn).ready()
	}
}

func (v *visitors) up(conn net.Conn) error {
	if _, err := conn.Write([]byte{wantUp}); err != nil {
		return err
	}
	for buf := make([]byte, chunk); ; {
		n, err := conn.Write(buf)
		v.total.Add(int64(n))
		if err != nil {
			return err
		}
		conn.(*readyConn).ready()
	}
}

// stall asks for bytes and reads none of them.
func (v *visitors) stall(conn net.Conn) error {
	if _, err := conn.Write([]byte{wantDown}); err != nil {
		return err
	}
	conn.(*readyConn).ready()
	select {}
}

// ask sends a request and reads its answer of 128 bytes.
func (v *visitors) ask(conn net.Conn, request, buf []byte) error {
	if _, err := conn.Write(request); err != nil {
		return err
	}
	for have := 0; ; {
		n, err := conn.Read(buf[have:])
		if err != nil {
			return err
		}
		have += n
		if end := bytes.Index(buf[:have], []byte("\r\n\r\n")); end >= 0 && have >= end+4+128 {
			if !bytes.HasPrefix(buf, []byte("HTTP/1.1 200")) {
				return fmt.Errorf("answered %.40q", buf[:have])
			}
			v.total.Add(1)
			return nil
		}
		if have == len(buf) {
			return errors.New("an answer that is too long")
		}
	}
}

func (v *visitors) request(more string) []byte {
	return []byte("GET / HTTP/1.1\r\nHost: " + v.Host + "\r\n" + more + "\r\n")
}

func (v *visitors) http(conn net.Conn) error {
	request, buf := v.request(""), make([]byte, 2<<10)
	for {
		if err := v.ask(conn, request, buf); err != nil {
			return err
		}
		conn.(*readyConn).ready()
	}
}

// newOnes connects, asks once, and leaves, again and again.
func (v *visitors) newOnes() {
	request, buf := v.request(""), make([]byte, 2<<10)
	for !v.over.Load() {
		conn, err := net.Dial("tcp", v.Address)
		if err == nil {
			err = v.ask(conn, request, buf)
			_ = conn.(*net.TCPConn).SetLinger(0) // no TIME_WAIT: ports are few
			conn.Close()
		}
		if err != nil {
			v.fail(err)
			time.Sleep(time.Millisecond)
		}
	}
}

// upgrade opens a WebSocket, as far as a tunnel sees one.
func (v *visitors) upgrade(conn net.Conn, path string) error {
	request := "GET " + path + " HTTP/1.1\r\nHost: " + v.Host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		return err
	}
	var head []byte
	for one := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, one...) {
		if _, err := conn.Read(one); err != nil {
			return err
		}
		if len(head) > 2<<10 {
			return errors.New("a head that is too long")
		}
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101")) {
		return fmt.Errorf("answered %.40q", head)
	}
	return nil
}

// message sends 128 bytes and waits for them.
func (v *visitors) message(conn net.Conn, buf []byte) error {
	if _, err := conn.Write(buf); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, buf); err != nil {
		return err
	}
	v.total.Add(1)
	return nil
}

func (v *visitors) echo(conn net.Conn) error {
	if err := v.upgrade(conn, "/ws"); err != nil {
		return err
	}
	for buf := make([]byte, 128); ; {
		if err := v.message(conn, buf); err != nil {
			return err
		}
		conn.(*readyConn).ready()
	}
}

// idle sends one message and waits for the end.
func (v *visitors) idle(conn net.Conn) error {
	if err := v.upgrade(conn, "/ws"); err != nil {
		return err
	}
	buf := make([]byte, 128)
	if err := v.message(conn, buf); err != nil {
		return err
	}
	conn.(*readyConn).ready()
	if _, err := conn.Read(buf); err != nil {
		return err
	}
	return errors.New("a byte that nobody sent")
}

// blob gets a megabyte first.
func (v *visitors) blob(conn net.Conn) error {
	if err := v.upgrade(conn, "/blob"); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, conn, int64(len(blob))); err != nil {
		return err
	}
	buf := make([]byte, 128)
	conn.(*readyConn).ready()
	if _, err := conn.Read(buf); err != nil {
		return err
	}
	return errors.New("a byte that nobody sent")
}
