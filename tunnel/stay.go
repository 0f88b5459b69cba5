package tunnel

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// stay is a login as its client sees it: a session in each slot. The first one
// makes the login, the others join it with its key. A session that dies is
// replaced as long as another lives; with the last one the stay is over.
type stay struct {
	c     *Client
	since time.Time
	ctx   context.Context // ends with the stay; its cause is why
	stop  context.CancelCauseFunc
	keep  sync.WaitGroup // the keepers of the slots

	mu     sync.Mutex
	key    wire.Key          // zero before the login
	slots  []*session        // nil where none is connected
	old    map[*session]bool // those that a successor has taken the slot of
	served bool              // there was a login
}

func newStay(ctx context.Context, c *Client) *stay {
	l := &stay{c: c, since: time.Now(), old: map[*session]bool{}}
	l.ctx, l.stop = context.WithCancelCause(ctx)
	return l
}

// run keeps all slots until the stay is over. When it returns, every connection
// to the server is closed.
func (l *stay) run() (served bool, err error) {
	defer l.stop(nil)
	l.tend(0)
	l.keep.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.served, context.Cause(l.ctx)
}

// tend has a keeper for a slot. All of them, that of the first session too, are begun here,
// and not in copies of this: whoever counts the client's goroutines by what they are cannot
// tell a successor's from another.
//
//go:noinline
func (l *stay) tend(slot uint8) { l.keep.Go(func() { l.keeper(slot) }) }

// keeper has a session in its slot until the stay is over. The waits between
// attempts are those of [Client.reconnect].
func (l *stay) keeper(slot uint8) {
	delay := l.c.cfg.Backoff
	for !l.c.leaving.Load() {
		joined, err := l.session(slot)
		if errors.Is(err, errReplaced) || l.lost(err) || l.c.leaving.Load() {
			return
		}
		if joined {
			delay = l.c.cfg.Backoff
		}
		wait := jitter(delay)
		delay = min(2*delay, l.c.cfg.BackoffCap)
		l.c.log.Info("session is missing", "slot", slot, "again in", wait.Round(time.Millisecond), "reason", err)
		timer := time.NewTimer(wait)
		select {
		case <-l.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// errReplaced is the end of a session that has a successor, or will have one.
var errReplaced = errors.New("the session was replaced")

// lost says whether the stay is over, and ends it if nothing is left of it: no
// session lives, or the server no longer knows the login, or denies it.
func (l *stay) lost(err error) bool {
	l.mu.Lock()
	alone := len(l.old) == 0
	for _, s := range l.slots {
		alone = alone && s == nil
	}
	l.mu.Unlock()
	refused := (*refusal)(nil)
	if alone || errors.As(err, &refused) && (refused.code == wire.Over || refused.code == wire.Denied) {
		l.stop(err)
	}
	return l.ctx.Err() != nil
}

// session owns one connection to the server, from dial to close. err is never
// nil.
func (l *stay) session(slot uint8) (joined bool, err error) {
	wear(labels(roleClient, "connect", l.c.cfg.Server))
	conn, err := l.c.dial(l.ctx, l.c.cfg.Server)
	if err != nil {
		return false, fmt.Errorf("connect to server: %w", err)
	}
	defer conn.Close()
	l.mu.Lock()
	key := l.key
	l.mu.Unlock()
	s, welcome, err := l.c.handshake(l.ctx, conn, slot, key)
	if err != nil {
		abort(conn)
		return false, err
	}
	s.metrics = l.c.metrics
	s.successor = func() { l.tend(slot) }
	l.enter(s, welcome)
	if l.c.leaving.Load() {
		s.drain(true) // Drain may have told those of before
	}
	why := s.run(l.ctx)
	l.c.metrics.ended(why)
	succeeded := l.leave(s)
	wear(labels(roleClient, "connect", l.c.cfg.Server))
	if !why.orderly() {
		abort(conn)
	}
	l.c.log.Info("logout", "session", s.id, "after", time.Since(s.born).Round(time.Millisecond),
		"detector", why.detector, "reason", why.err)
	if s.replaced() {
		if succeeded || !why.orderly() || l.c.leaving.Load() {
			l.lost(why) // who did not live to see its successor: that has no login to join, or need not
		}
		return true, errReplaced
	}
	return true, why
}

// enter puts a session into its slot. After the first one it starts the keepers
// of the others.
func (l *stay) enter(s *session, welcome wire.Welcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.c
	c.log.Info("login", "server", s.peer, "name", c.cfg.Name, "port", c.cfg.Port, "session", s.id)
	if !l.served {
		c.metrics.logins.Inc()
		l.served, l.key = true, welcome.Key
		l.slots = make([]*session, min(c.cfg.Sessions, max(1, int(welcome.Most))))
		for slot := 1; slot < len(l.slots); slot++ {
			l.tend(uint8(slot))
		}
	}
	if old := l.slots[s.slot]; old != nil {
		l.old[old] = true
	}
	l.slots[s.slot] = s
	if !c.ready && l.wholeLocked() {
		c.ready = true
		c.log.Info("ready", "server", s.peer, "name", c.cfg.Name, "sessions", len(l.slots), "admin", c.admin.address())
	}
}

// leave takes a session that has ended out of its slot, if no successor has taken that.
// The others are asked at once whether they live.
func (l *stay) leave(s *session) (succeeded bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	succeeded = l.old[s]
	delete(l.old, s)
	if l.slots[s.slot] == s {
		l.slots[s.slot] = nil
	}
	for _, sibling := range l.slots {
		if sibling != nil {
			sibling.probe()
		}
	}
	return succeeded
}

// whole says whether there is a session in every slot.
func (l *stay) whole() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wholeLocked()
}

func (l *stay) wholeLocked() bool {
	for _, s := range l.slots {
		if s == nil {
			return false
		}
	}
	return len(l.slots) > 0
}

// sessions returns those that are connected, by slot.
func (l *stay) sessions() []*session {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*session
	for _, s := range l.slots {
		if s != nil {
			all = append(all, s)
		}
	}
	for s := range l.old {
		all = append(all, s)
	}
	return all
}
