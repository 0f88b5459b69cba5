package probe

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"
)

const (
	deadline  = 10 * time.Second // of one request, with its connecting
	largest   = 128 << 20        // bytes of an answer; the runtime cuts its dumps at 64 MiB
	remembers = 64               // past connections, for the kernel may still hold them
)

// client keeps one connection to the target's pprof. It is made by hand because
// it must be known by its addresses and must cost the harness no goroutine.
type client struct {
	host    Namespace
	address string
	conn    net.Conn // nil between connections
	in      *bufio.Reader
	pairs   []pair // of conn, and of those before it
}

// pair is a connection as the observer sees it.
type pair struct{ local, remote string }

// knows tells whether the addresses are those of a connection of this client,
// from either end.
func (c *client) knows(local, remote string) bool {
	return slices.Contains(c.pairs, pair{local, remote}) || slices.Contains(c.pairs, pair{remote, local})
}

// get fetches a path. A connection that the target has closed since the last
// request, because it restarted or does not keep connections, is made anew.
func (c *client) get(ctx context.Context, method, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	for {
		kept := c.conn != nil
		body, answered, err := c.try(ctx, method, path)
		if err != nil {
			c.drop()
			if kept && !answered && ctx.Err() == nil {
				continue // kept is false from now on
			}
			if ctx.Err() != nil {
				err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
			}
			return nil, fmt.Errorf("%s http://%s%s: %w", method, c.address, path, err)
		}
		return body, nil
	}
}

// errStatus is an answer other than 200.
type errStatus int

func (e errStatus) Error() string {
	return fmt.Sprintf("answered with %d %s", int(e), http.StatusText(int(e)))
}

// try makes one attempt; answered tells whether the target said anything.
func (c *client) try(ctx context.Context, method, path string) (body []byte, answered bool, err error) {
	if c.conn == nil {
		if err := c.dial(ctx); err != nil {
			return nil, true, err
		}
	}
	end, _ := ctx.Deadline() // get has set one
	if err := c.conn.SetDeadline(end); err != nil {
		return nil, false, err
	}
	conn := c.conn
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetDeadline(time.Unix(1, 0)) // fails only if it is closed already
	})
	defer stop()
	request := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: halfopen-probe\r\nContent-Length: 0\r\n\r\n", method, path, c.address)
	if _, err := io.WriteString(c.conn, request); err != nil {
		return nil, false, err
	}
	if _, err := c.in.Peek(1); err != nil {
		return nil, false, err
	}
	resp, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		return nil, true, err
	}
	var all bytes.Buffer
	if n, err := io.Copy(&all, io.LimitReader(resp.Body, largest+1)); err != nil {
		return nil, true, err
	} else if n > largest {
		return nil, true, fmt.Errorf("answer is larger than %d bytes", largest)
	}
	if resp.Close {
		c.drop()
	}
	if resp.StatusCode != http.StatusOK {
		return nil, true, errStatus(resp.StatusCode)
	}
	return all.Bytes(), true, nil
}

func (c *client) dial(ctx context.Context) error {
	conn, err := c.host.DialContext(ctx, "tcp", c.address)
	if err != nil {
		return err
	}
	p := pair{plain(conn.LocalAddr()), plain(conn.RemoteAddr())}
	if p.local == "" || p.remote == "" {
		return errors.Join(fmt.Errorf("connection between %v and %v has no addresses", conn.LocalAddr(), conn.RemoteAddr()), conn.Close())
	}
	c.pairs = append(c.pairs, p)
	if n := len(c.pairs); n > remembers {
		c.pairs = slices.Delete(c.pairs, 0, n-remembers)
	}
	c.conn, c.in = conn, bufio.NewReaderSize(conn, 64<<10)
	return nil
}

// drop closes the connection; the next request makes another.
func (c *client) drop() {
	if c.conn == nil {
		return
	}
	_ = c.conn.Close() // whatever it complains of, it is not used again
	c.conn, c.in = nil, nil
}

// plain is an address as sock_diag's are written.
func plain(a net.Addr) string {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return ""
	}
	p := t.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap().WithZone(""), p.Port()).String()
}
