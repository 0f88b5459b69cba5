// Steady is the server that the rules are calibrated on: a TCP echo server that, as
// told, is healthy in one of the ways in which servers are, or leaks a little.
//
//	steady -listen 127.0.0.1:7000 -admin 127.0.0.1:6060 -kind pool -leak fd -one-in 100
//
// It has its pprof on the admin address, and /debug/free, and prints "ready".
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	_ "net/http/pprof" // on the default mux
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// What -kind may be: what a healthy server does with memory and connections.
const (
	plain = "plain" // a buffer a connection
	pool  = "pool"  // buffers of 64 KiB in a sync.Pool
	cache = "cache" // a cache that fills up in the first connections, and then stays
	idle  = "idle"  // connections end by an idle timeout of 100 ms
)

// idleTimeout is that of kind idle.
const idleTimeout = 100 * time.Millisecond

// cacheEntries of 256 bytes are full after some 500 connections.
const cacheEntries = 500

func main() {
	s := server{cached: map[int][]byte{}, labels: map[string]int{}}
	var seed uint64
	flag.StringVar(&s.address, "listen", "127.0.0.1:0", "address of the echo service")
	flag.StringVar(&s.admin, "admin", "127.0.0.1:0", "address of pprof and /debug/free")
	flag.StringVar(&s.kind, "kind", plain, "plain, pool, cache or idle")
	flag.StringVar(&s.leak, "leak", "", "what to leak: goroutine, fd, socket, heap or labels; nothing if empty")
	flag.IntVar(&s.oneIn, "one-in", 1, "leak at one connection in so many, at random")
	flag.IntVar(&s.bytes, "bytes", 128, "size of a leak in the heap")
	flag.Uint64Var(&seed, "seed", 1, "seed of which connections leak")
	flag.Parse()
	s.random = rand.New(rand.NewPCG(seed, 0))
	if err := s.run(); err != nil {
		fmt.Fprintln(os.Stderr, "steady:", err)
		os.Exit(2)
	}
}

type server struct {
	address, admin, kind, leak string
	oneIn, bytes               int
	buffers                    sync.Pool

	mu     sync.Mutex // guards what follows
	random *rand.Rand
	cached map[int][]byte
	labels map[string]int
	served int
	leaked []any // never let go of
}

func (s *server) run() error {
	switch s.kind {
	case plain, pool, cache, idle:
	default:
		return fmt.Errorf("-kind %s: want plain, pool, cache or idle", s.kind)
	}
	switch s.leak {
	case "", "goroutine", "fd", "socket", "heap", "labels":
	default:
		return fmt.Errorf("-leak %s: want goroutine, fd, socket, heap or labels", s.leak)
	}
	if s.oneIn < 1 || s.bytes < 1 {
		return errors.New("-one-in and -bytes must be at least 1")
	}
	s.buffers.New = func() any { return new([64 << 10]byte) }
	ln, err := net.Listen("tcp", s.address)
	if err != nil {
		return err
	}
	admin, err := net.Listen("tcp", s.admin)
	if err != nil {
		return err
	}
	http.HandleFunc("POST /debug/free", free)
	failed := make(chan error, 1)
	go func() { failed <- http.Serve(admin, nil) }()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				failed <- err
				return
			}
			go s.serve(conn)
		}
	}()
	fmt.Println("ready")
	return <-failed
}

// free collects three times, gives free memory back to the kernel, and tells the heap that
// is left: the least that a server can do to be read well.
func free(w http.ResponseWriter, _ *http.Request) {
	for range 3 {
		runtime.GC()
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Fprintf(w, `{"heap_alloc": %d, "heap_objects": %d}`, m.HeapAlloc, m.HeapObjects)
}

// serve echoes until the peer ends, by FIN or RST, and lets go of everything, but for
// what it is told to leak.
func (s *server) serve(conn net.Conn) {
	defer conn.Close()
	buf := make([]byte, 4<<10)
	switch s.kind {
	case pool:
		b := s.buffers.Get().(*[64 << 10]byte)
		defer s.buffers.Put(b)
		buf = b[:]
	case cache:
		s.remember()
	}
	for {
		if s.kind == idle {
			if err := conn.SetReadDeadline(time.Now().Add(idleTimeout)); err != nil {
				return
			}
		}
		n, err := conn.Read(buf)
		if err != nil {
			break
		}
		if _, err := conn.Write(buf[:n]); err != nil {
			break
		}
	}
	if s.leak != "" {
		s.lose(conn)
	}
}

// remember fills the cache.
func (s *server) remember() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.cached) < cacheEntries {
		s.cached[len(s.cached)] = make([]byte, 256)
	}
}

// lose leaks, at one connection in oneIn.
func (s *server) lose(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served++
	if s.random.IntN(s.oneIn) != 0 {
		return
	}
	switch s.leak {
	case "goroutine":
		go park()
	case "fd":
		f, err := os.Open(os.DevNull)
		if err == nil {
			s.leaked = append(s.leaked, io.Closer(f))
		}
	case "socket":
		if f, err := conn.(*net.TCPConn).File(); err == nil { // a second descriptor of the connection
			s.leaked = append(s.leaked, f)
		}
	case "heap":
		s.leaked = append(s.leaked, make([]byte, s.bytes))
	case "labels":
		s.labels[fmt.Sprintf("peer=%s request=%d", conn.RemoteAddr(), s.served)]++
	}
}

// park is the name that a leaked goroutine has.
func park() { select {} }
