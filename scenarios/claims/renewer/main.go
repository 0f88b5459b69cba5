// Renewer is layer 5 of the document: a client that, when a session has ended, looks
// whether its connection is healthy, and makes a new one if it is not.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"time"

	"github.com/halfopen/halfopen/scenarios/claims/pool"
)

func main() {
	address := flag.String("connect", "127.0.0.1:4443", "address of the server")
	deadline := flag.Duration("deadline", 0, "a session ends when nothing has come for so long; 0: never")
	var options pool.Options
	options.Flags()
	flag.Parse()
	for {
		conn, err := net.DialTimeout("tcp4", *address, time.Second)
		if err != nil {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		if err := options.Set(conn.(*net.TCPConn)); err != nil {
			fmt.Println(err)
			return
		}
		if _, err := conn.Write([]byte{pool.Hello}); err == nil {
			fmt.Println("connected")
			for alive := true; alive; alive = isConnectionHealthy(conn) && *deadline == 0 {
				session(conn, *deadline)
			}
		}
		fmt.Println("unhealthy - reconnecting")
		_ = conn.Close() // it is let go of, whatever it says
	}
}

// session reads what comes, until it ends.
func session(conn net.Conn, deadline time.Duration) {
	buf := make([]byte, 1024)
	for {
		if deadline > 0 {
			_ = conn.SetReadDeadline(time.Now().Add(deadline)) // a closed one fails below
		}
		if _, err := conn.Read(buf); err != nil {
			return
		}
	}
}

func isConnectionHealthy(conn net.Conn) bool {
	_ = conn.SetReadDeadline(time.Now().Add(time.Millisecond)) // a closed one fails below
	defer func() { _ = conn.SetReadDeadline(time.Time{}) }()
	_, err := conn.Read(make([]byte, 1))
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
