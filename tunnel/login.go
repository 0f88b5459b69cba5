package tunnel

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// login is one client's stay with the server. It holds several sessions, each
// in its slot, and spreads its streams over them:
//
//	         +-- slot 0: session 7.0 --+
//	visitors +-- slot 1: session 7.1 --+ client
//	         +-- slot 2: session 7.2 --+
//
// A session that joins takes its slot from an older one, of which the client
// knows that it is dead. The login is over, and its name free, when the last
// session leaves.
type login struct {
	id        int64
	name      string
	token     digest
	port      uint16           // 0: none
	key       wire.Key         // who has it may add sessions
	ln        *net.TCPListener // of port; nil without one
	since     time.Time
	room      seats          // for streams
	accepting sync.WaitGroup // the loop on ln

	mu       sync.Mutex
	over     *cause // no session joins any more
	draining bool   // nor when the server leaves
	slots    map[uint8]*session
	old      map[*session]bool // those that a successor has taken the slot of, being drained
	named    map[uint8]int     // sessions that a slot has had
	next     uint8             // where the search for the least busy session begins
}

func newLogin(id int64, ask wire.Login, token digest, maxStreams int) *login {
	l := &login{id: id, name: ask.Name, token: token, port: ask.Port, since: time.Now(), slots: map[uint8]*session{}, old: map[*session]bool{}, named: map[uint8]int{}}
	l.room.most = int64(maxStreams)
	_, _ = rand.Read(l.key[:]) // never fails: see its doc
	return l
}

// has says whether key is the login's, in constant time.
func (l *login) has(key wire.Key) bool {
	return subtle.ConstantTimeCompare(key[:], l.key[:]) == 1
}

// join gives a session its slot; who was there ends. The error is a *refusal.
func (l *login) join(slot uint8, s *session) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.over != nil:
		return &refusal{wire.Over, "the login is over"}
	case l.draining:
		return errLeaving
	}
	if old := l.slots[slot]; old != nil && old.replaced() {
		l.old[old] = true
		old.drain(false)
	} else if old != nil {
		old.end(cause{byTakeover, errors.New("a newer session took the slot")})
	}
	l.slots[slot] = s
	return nil
}

// drain drains every session, and tells the client: the server leaves.
func (l *login) drain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draining = true
	for _, s := range l.slots {
		s.drain(true)
	}
	for s := range l.old {
		s.drain(true)
	}
}

// leave takes a session that has ended out of its slot. last says that the
// login is over with it. The others are asked at once whether they live.
func (l *login) leave(slot uint8, s *session) (last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.old[s]:
		delete(l.old, s)
	case l.slots[slot] == s:
		delete(l.slots, slot)
	default:
		return false
	}
	if len(l.slots)+len(l.old) == 0 {
		if l.over == nil {
			l.over = s.cause
		}
		return true
	}
	for _, sibling := range l.slots {
		sibling.probe()
	}
	return false
}

// end ends the login as a whole.
func (l *login) end(c cause) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = &c
	for _, s := range l.slots {
		s.end(c)
	}
	for s := range l.old {
		s.end(c)
	}
}

// open opens a stream on the session that has the fewest. The caller owns it as
// session.open says.
func (l *login) open(kind wire.Kind, visitor string, f *front) (*stream, error) {
	l.mu.Lock()
	defer l.mu.Unlock() // else two would find the same one the least busy
	err := errors.New("open stream: the login is over")
	for _, s := range l.leastBusyLocked() {
		var st *stream
		if st, err = s.open(kind, visitor, f); err == nil {
			return st, nil
		}
		if full := (*resetError)(nil); errors.As(err, &full) {
			break
		}
	}
	return nil, err
}

// leastBusyLocked returns the sessions, those with the fewest streams first.
// Equals take turns.
func (l *login) leastBusyLocked() []*session {
	l.next++
	all := make([]*session, 0, len(l.slots))
	for slot := range l.slots {
		all = append(all, l.slots[slot])
	}
	slices.SortFunc(all, func(a, b *session) int {
		if d := a.load.Load() - b.load.Load(); d != 0 {
			return int(d)
		}
		return int(a.slot-l.next) - int(b.slot-l.next)
	})
	return all
}

// sessions returns the sessions by slot.
func (l *login) sessions() []*session {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*session
	for _, s := range l.slots {
		all = append(all, s)
	}
	for s := range l.old {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *session) int { return int(a.slot) - int(b.slot) })
	return all
}

// sessionID is the name of a session in logs and labels: that of the login and the slot,
// and for one that replaces another, which: "7.2", "7.2.1". The goroutine that keeps a
// slot outlives its sessions, and only the name tells them apart.
func (l *login) sessionID(slot uint8) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := fmt.Sprintf("%d.%d", l.id, slot)
	if n := l.named[slot]; n > 0 {
		id = fmt.Sprintf("%s.%d", id, n)
	}
	l.named[slot]++
	return id
}
