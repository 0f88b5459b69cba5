// Prober is layer 3 of the document: a sweep looks whether a pooled connection is alive by
// reading one byte with a deadline of a millisecond, and closes those that are not.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"time"

	"github.com/halfopen/halfopen/scenarios/claims/pool"
)

var (
	server pool.Server
	every  = flag.Duration("every", time.Second, "sweep so often")
	read   = flag.Bool("read", false, "the connections have readers of their own, too")
)

func main() {
	go func() {
		for range time.Tick(*every) {
			fmt.Println("sweep removed", cleanupDeadConnections())
		}
	}()
	server.Main(handleConnection, nil)
}

func handleConnection(conn net.Conn) {
	if err := pool.Greet(conn); err != nil {
		_ = conn.Close() // nothing was said on it
		return
	}
	c := server.Add(conn)
	if !*read {
		return
	}
	defer server.Remove(c)
	defer conn.Close()
	buf := make([]byte, 1024)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			fmt.Println("reader ended:", err)
			return
		}
		fmt.Println("reader got", n)
	}
}

func isConnectionHealthy(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond)) // a closed one fails below
	defer func() { _ = c.SetReadDeadline(time.Time{}) }()
	one := make([]byte, 1)
	_, err := c.Read(one)
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func cleanupDeadConnections() int {
	removed := 0
	for _, c := range server.All() {
		if !isConnectionHealthy(c) {
			_ = c.Close() // it is let go of, whatever it says
			server.Remove(c)
			removed++
		}
	}
	return removed
}
