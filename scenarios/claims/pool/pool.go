// Package pool is what the servers in the document's shapes share: a pool of tunnel
// connections, and a listener that sets their options.
package pool

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// Conn is one pooled connection. The pool's lock guards Requests.
type Conn struct {
	net.Conn
	Created  time.Time
	Requests int
}

// Pool holds the connections of one domain.
type Pool struct {
	mu    sync.Mutex
	conns []*Conn
	next  int
}

// Add takes a connection in.
func (p *Pool) Add(c net.Conn) *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	added := &Conn{Conn: c, Created: time.Now()}
	p.conns = append(p.conns, added)
	fmt.Println("added", c.RemoteAddr())
	return added
}

// Remove lets go of a connection, and closes nothing.
func (p *Pool) Remove(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, have := range p.conns {
		if have == c {
			p.conns = append(p.conns[:i], p.conns[i+1:]...)
			fmt.Println("removed", c.RemoteAddr())
			return
		}
	}
}

// Take is the next connection in turn, which stays in the pool; nil if there is none.
func (p *Pool) Take() *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.conns) == 0 {
		return nil
	}
	p.next++
	c := p.conns[p.next%len(p.conns)]
	c.Requests++
	return c
}

// All are the connections now.
func (p *Pool) All() []*Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*Conn(nil), p.conns...)
}
