// Relay is layer 4 of the document: a visitor's WebSocket session is copied to a pooled
// connection and back, and when it has ended the connection is removed explicitly.
package main

import (
	"io"
	"net"

	"github.com/halfopen/halfopen/scenarios/claims/pool"
)

var server pool.Server

func main() { server.Main(handleConnection, handleSession) }

func handleConnection(conn net.Conn) {
	if err := pool.Greet(conn); err != nil {
		_ = conn.Close() // nothing was said on it
		return
	}
	server.Add(conn)
}

func handleSession(visitor net.Conn) {
	defer visitor.Close()
	c := server.Take()
	if c == nil {
		return
	}
	ended := make(chan struct{}, 2)
	copyAll := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // however it ended, the session is over
		ended <- struct{}{}
	}
	go copyAll(c, visitor)
	go copyAll(visitor, c)
	<-ended
	// After the session, either normally or by an error.
	_ = c.Close() // it may be dead
	server.Remove(c)
}
