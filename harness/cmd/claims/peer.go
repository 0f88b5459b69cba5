package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/spf13/cobra"
)

// peer is the other end of the programs' connections, as a process that can be killed,
// frozen and powered off.
type peer struct {
	connect, listen string
	count           int
	greeting        string
	tls, echo       bool
	every, ping     time.Duration
}

func peerCommand() *cobra.Command {
	var p peer
	cmd := &cobra.Command{
		Use: "peer", Short: "the other end of the programs' connections", Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if p.listen != "" {
				return p.accept()
			}
			return p.dial()
		},
	}
	f := cmd.Flags()
	f.StringVar(&p.connect, "connect", "", "address to connect to")
	f.StringVar(&p.listen, "listen", "", "address to listen at instead")
	f.IntVar(&p.count, "count", 1, "connections")
	f.StringVar(&p.greeting, "greeting", "h", "what each says first")
	f.BoolVar(&p.tls, "tls", false, "by TLS, and wait for the greeting to come back")
	f.BoolVar(&p.echo, "echo", false, "send back what comes")
	f.DurationVar(&p.every, "every", 0, "make each connection anew so often; 0: never")
	f.DurationVar(&p.ping, "ping", 0, "write a byte so often; 0: never")
	return cmd
}

// accept holds what connects.
func (p peer) accept() error {
	ln, err := net.Listen("tcp4", p.listen)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		go p.hold(conn)
	}
}

// dial makes the connections, and holds them until it is killed.
func (p peer) dial() error {
	for range p.count {
		conn, err := p.one()
		if err != nil {
			return err
		}
		go p.hold(conn)
	}
	fmt.Println("connected")
	if p.every == 0 {
		select {}
	}
	return p.churn()
}

// churn makes connections and closes them, one each p.every.
func (p peer) churn() error {
	for tick, n := time.NewTicker(p.every), 1; ; n++ {
		<-tick.C
		conn, err := p.one()
		if err != nil {
			return err
		}
		if err := conn.Close(); err != nil {
			return err
		}
		fmt.Println("again", n)
	}
}

// one is one connection, which has greeted.
func (p peer) one() (net.Conn, error) {
	// Without keepalive: what the other end notices, it notices by itself.
	conn, err := (&net.Dialer{KeepAlive: -1, Timeout: 5 * time.Second}).Dial("tcp4", p.connect)
	if err != nil {
		return nil, err
	}
	if p.tls {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // a certificate of a minute ago
	}
	if _, err := conn.Write([]byte(p.greeting)); err != nil {
		return nil, err
	}
	if p.tls {
		_, err = conn.Read(make([]byte, 16))
	}
	return conn, err
}

// hold reads a connection until it ends.
func (p peer) hold(conn net.Conn) {
	if p.ping > 0 {
		go func() {
			for range time.Tick(p.ping) {
				if _, err := conn.Write([]byte{'.'}); err != nil {
					return
				}
			}
		}()
	}
	buf := make([]byte, 1024)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			fmt.Println("ended:", err)
			return
		}
		if p.echo {
			if _, err := conn.Write(buf[:n]); err != nil {
				return
			}
		}
	}
}
