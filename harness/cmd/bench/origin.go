package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
)

// The first byte of a connection says what its visitor wants.
const (
	wantDown = 'D' // bytes for ever
	wantUp   = 'U' // to be listened to
	wantHTTP = 'G' // "GET": answers of 128 bytes; after an upgrade an echo
)

// chunk is how much the ends of a measurement read or write at once.
const chunk = 256 << 10

// answer is what the origin says to each request.
var answer = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 128\r\n\r\n" + strings.Repeat("x", 128))

// upgraded is what it says to an upgrade, blob what follows on /blob: a megabyte.
var (
	upgraded = []byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	blob     = make([]byte, 1<<20)
)

// serveOrigin is the service behind every peer. It ends with its parent.
func serveOrigin(address string) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench origin:", err)
		os.Exit(unfit)
	}
	for {
		conn, err := ln.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench origin:", err)
			os.Exit(unfit)
		}
		go func() {
			defer conn.Close()
			answerAll(conn)
		}()
	}
}

// answerAll does what the visitor wants until it leaves.
func answerAll(conn net.Conn) {
	small := make([]byte, 4<<10)
	n, err := conn.Read(small[:1])
	if n == 0 || err != nil {
		return
	}
	switch small[0] {
	case wantDown:
		for buf := make([]byte, chunk); err == nil; {
			_, err = conn.Write(buf)
		}
	case wantUp:
		for buf := make([]byte, chunk); err == nil; {
			_, err = conn.Read(buf)
		}
	case wantHTTP:
		answerHTTP(conn, small)
	}
}

// answerHTTP answers requests that come one at a time, the first byte of the
// first one in buf.
func answerHTTP(conn net.Conn, buf []byte) {
	for have := 1; ; {
		n, err := conn.Read(buf[have:])
		if err != nil {
			return
		}
		have += n
		head := buf[:have]
		if !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
			if have == len(buf) {
				return
			}
			continue
		}
		if !bytes.Contains(head, []byte("Upgrade: websocket\r\n")) {
			if _, err := conn.Write(answer); err != nil {
				return
			}
			have = 0
			continue
		}
		if _, err := conn.Write(upgraded); err != nil {
			return
		}
		if bytes.HasPrefix(head, []byte("GET /blob")) {
			if _, err := conn.Write(blob); err != nil {
				return
			}
		}
		_, _ = io.CopyBuffer(struct{ io.Writer }{conn}, struct{ io.Reader }{conn}, buf[:512])
		return
	}
}
