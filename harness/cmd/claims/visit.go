package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// visit connects a visitor to the server's public port.
func (s *stage) visit(ctx context.Context) (net.Conn, error) {
	return s.Visitor.DialContext(ctx, "tcp4", netip.AddrPortFrom(s.VisitorSide, publicPort).String())
}

// request is one visitor's request, answered by way of a tunnel connection.
func (s *stage) request(ctx context.Context) error {
	conn, err := s.visit(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return err
	}
	return ask(conn)
}

// ask sends a request on a visitor's connection, and reads the answer.
func ask(conn net.Conn) error {
	word := []byte{'?'}
	if _, err := conn.Write(word); err != nil {
		return fmt.Errorf("send a request: %w", err)
	}
	if _, err := conn.Read(word); err != nil {
		return fmt.Errorf("read an answer: %w", err)
	}
	return nil
}
