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

// requests has visitors send requests, one each pause, until the stage is closed. That one
// is not answered is no error.
func requests(pause time.Duration) func(context.Context, *stage) error {
	return func(ctx context.Context, s *stage) error {
		ctx, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		s.heals = append(s.heals, func(context.Context) error {
			stop()
			<-done
			return nil
		})
		go func() {
			defer close(done)
			for tick := time.NewTicker(pause); ; {
				select {
				case <-ctx.Done():
					tick.Stop()
					return
				case <-tick.C:
					_ = s.request(ctx) // whose connection died is not answered
				}
			}
		}()
		return nil
	}
}

// session is a visitor whose session is under way: a byte has come through. talk has it
// write a byte so often, 0 never.
func session(talk time.Duration) func(context.Context, *stage) error {
	return func(ctx context.Context, s *stage) error {
		conn, err := s.visit(ctx)
		if err != nil {
			return err
		}
		s.heals = append(s.heals, func(context.Context) error {
			_ = conn.Close() // its session may be over
			return nil
		})
		s.visitor = conn
		if err := conn.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
			return err
		}
		if err := ask(conn); err != nil {
			return err
		}
		if talk > 0 {
			go func() {
				for range time.Tick(talk) {
					_ = conn.SetDeadline(time.Now().Add(time.Minute)) // a closed one fails below
					if _, err := conn.Write([]byte{'.'}); err != nil {
						return
					}
				}
			}()
		}
		return conn.SetDeadline(time.Time{})
	}
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
