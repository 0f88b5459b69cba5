// Leaky is the detector's self-check: a TCP server that holds on, for every
// connection, to the socket, its descriptor and the goroutine that served it, and
// counts them.
//
// It listens on the address given as its argument, has its pprof and its gauge on
// 127.0.0.1:6060, and prints "ready".
package main

import (
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof" // on the default mux
	"os"
	"sync/atomic"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "leaky:", err)
		os.Exit(2)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("want one argument, the address to listen on")
	}
	ln, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		return err
	}
	admin, err := net.Listen("tcp", "127.0.0.1:6060")
	if err != nil {
		return err
	}
	var held atomic.Int64
	http.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "# TYPE leaky_held gauge\nleaky_held %d\n", held.Load())
	})
	failed := make(chan error, 1)
	go func() { failed <- http.Serve(admin, nil) }()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				failed <- err
				return
			}
			held.Add(1)
			go hold(conn)
		}
	}()
	fmt.Println("ready")
	return <-failed
}

// hold serves a connection and never lets go of it.
func hold(conn net.Conn) {
	buf := make([]byte, 1)
	for {
		if _, err := conn.Read(buf); err != nil {
			break
		}
	}
	leak(conn)
}

// leak is the name that the self-check looks for.
func leak(conn net.Conn) {
	<-make(chan struct{})
	conn.Close()
}
