// Recycler is layer 2 of the document: connections in a pool are closed when they are too
// old or have carried too many requests, which is looked at with each request.
package main

import (
	"flag"
	"fmt"
	"net"
	"time"

	"github.com/halfopen/halfopen/scenarios/claims/pool"
)

var (
	server   pool.Server
	age      = flag.Duration("age", 15*time.Minute, "close connections that are older")
	requests = flag.Int("requests", 100, "close connections that have carried more requests")
	sweep    = flag.Duration("sweep", 0, "look so often by itself, too; 0: with requests only")
)

func main() {
	server.Main(handleConnection, handleRequest)
}

func handleConnection(conn net.Conn) {
	if err := pool.Greet(conn); err != nil {
		_ = conn.Close() // nothing was said on it
		return
	}
	server.Add(conn)
	if *sweep > 0 {
		for range time.Tick(*sweep) {
			recycleOldConnections()
		}
	}
}

// handleRequest passes a visitor's byte to the other end of a pooled connection, and its
// answer back.
func handleRequest(visitor net.Conn) {
	defer visitor.Close()
	word := make([]byte, 1)
	for {
		if _, err := visitor.Read(word); err != nil {
			return
		}
		c := server.Take()
		if c == nil {
			return
		}
		recycleOldConnections()
		if !exchange(c, word) {
			return
		}
		if _, err := visitor.Write(word); err != nil {
			return
		}
	}
}

// exchange sends a request and reads its answer.
func exchange(c *pool.Conn, word []byte) bool {
	_ = c.SetDeadline(time.Now().Add(time.Second)) // what is closed already fails below
	if _, err := c.Write(word); err != nil {
		return false
	}
	_, err := c.Read(word)
	return err == nil
}

func recycleOldConnections() {
	for _, c := range server.All() {
		if time.Since(c.Created) > *age || c.Requests > *requests {
			_ = c.Close() // a second time does no harm
			server.Remove(c)
			fmt.Println("recycled after", c.Requests)
		}
	}
}
