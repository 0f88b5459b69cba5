// Parked is layer 1 of the document: a handler whose deferred calls close the connection
// and take it from the pool, and which waits with select {} "until the connection dies".
package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/halfopen/halfopen/scenarios/claims/pool"
)

var (
	server pool.Server
	read   = flag.Bool("read", false, "wait by reading the connection, instead of with select {}")
	late   = flag.Duration("late", 0, "begin to read so late")
)

func main() { server.Main(handleConnection, nil) }

func handleConnection(conn net.Conn) {
	defer conn.Close()
	if err := pool.Greet(conn); err != nil {
		return
	}
	c := server.Add(conn)
	defer server.Remove(c)
	if *read {
		time.Sleep(*late)
		_, err := io.Copy(io.Discard, conn)
		fmt.Println("copy ended:", err) // nil: EOF
		return
	}
	select {}
}
