package tunnel

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// registry is who is logged in under which name and with which port. It alone
// decides who holds them.
type registry struct {
	mu     sync.Mutex
	tokens []Token
	known  map[string]bool // names that some token may take
	names  map[string]*login
	most   int  // logins
	shut   bool // no login any more: the server leaves
	refuse bool // a second login for a name that is taken, rather than supersede the first
	ports  map[uint16]*login
}

func newRegistry(tokens []Token, most int, refuse bool) *registry {
	r := &registry{most: most, refuse: refuse, names: map[string]*login{}, ports: map[uint16]*login{}}
	r.replace(tokens)
	return r
}

// replace puts other tokens in the place of the old ones, and ends the logins
// that have lost their right.
func (r *registry) replace(tokens []Token) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tokens, r.known = tokens, map[string]bool{}
	for _, t := range tokens {
		for _, name := range t.Names {
			r.known[name] = true
		}
	}
	for _, l := range r.names {
		if err := permit(tokens, l.token, l.name, l.port); err != nil {
			l.end(cause{byRevoked, err})
		}
	}
}

// permit is the function of this name with the tokens of now.
func (r *registry) permit(secret digest, name string, port uint16) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return permit(r.tokens, secret, name, port)
}

// errTaken says that another name holds the port.
var errTaken = errors.New("port taken")

// take gives the login its name and opens its port. A login that held the name
// is superseded at once: it loses name and port here, and its sessions end.
// After an error nothing has changed, except that the old login may have lost
// its port.
func (r *registry) take(l *login, host string) (old *login, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// The tokens may be others than when the login was asked for.
	if err := permit(r.tokens, l.token, l.name, l.port); err != nil {
		return nil, &refusal{wire.Denied, err.Error()}
	}
	switch holder := r.names[l.name]; {
	case r.shut:
		return nil, errLeaving
	case holder == nil && len(r.names) >= r.most:
		return nil, &refusal{wire.Limit, fmt.Sprintf("%d logins are the most here", r.most)}
	case holder != nil && r.refuse:
		return nil, &refusal{wire.Busy, "the name is taken"}
	}
	if l.port != 0 {
		if holder := r.ports[l.port]; holder != nil {
			if holder.name != l.name {
				return nil, fmt.Errorf("%w: %s holds port %d", errTaken, holder.name, l.port)
			}
			r.freePort(holder)
		}
		if l.ln, err = listen(net.JoinHostPort(host, strconv.Itoa(int(l.port))), "--port"); err != nil {
			return nil, fmt.Errorf("%w: %w", errTaken, err)
		}
		r.ports[l.port] = l
	}
	old = r.names[l.name]
	r.names[l.name] = l
	if old != nil {
		r.freePort(old) // if it had another one
		old.end(cause{byTakeover, errors.New("a newer login took the name")})
	}
	return old, nil
}

// release frees what the login still holds: a newer one's name and port stay.
func (r *registry) release(l *login) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.names[l.name] == l {
		delete(r.names, l.name)
	}
	r.freePort(l)
}

// freePort closes the login's port if it is still its own.
func (r *registry) freePort(l *login) {
	if l.ln == nil || r.ports[l.port] != l {
		return
	}
	delete(r.ports, l.port)
	_ = l.ln.Close() // a second close cannot be: the map said it was open
}

// find returns the login under a name, nil if there is none; known says whether
// there could be one.
func (r *registry) find(name string) (l *login, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.names[name], r.known[name]
}

// close takes no login any more, and closes the ports.
func (r *registry) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shut = true
	for _, l := range r.names {
		r.freePort(l)
	}
}

// taken counts the names and ports that are taken.
func (r *registry) taken() (names, ports int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.names), len(r.ports)
}

// all returns the logins.
func (r *registry) all() []*login {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*login, 0, len(r.names))
	for _, l := range r.names {
		all = append(all, l)
	}
	return all
}

// refusal is why a login was refused; its text goes to the client.
type refusal struct {
	code wire.Code
	text string
}

func (r *refusal) Error() string { return r.text }

// errLeaving refuses whoever comes when the server drains.
var errLeaving = &refusal{wire.Busy, "the server is about to stop"}
