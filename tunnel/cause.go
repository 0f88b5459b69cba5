package tunnel

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// past is a deadline that wakes whoever is blocked on a connection, and whoever
// tries to block on it again.
var past = time.Unix(1, 0)

// Detectors: what noticed that a session is over.
const (
	byHeartbeat = "heartbeat" // no frame for HeartbeatDeadline
	byFlush     = "flush"     // nothing written was acknowledged for Flush
	byKernel    = "kernel"    // the connection failed: reset, keepalive, user timeout
	byPeer      = "peer"      // the peer closed the connection
	byProtocol  = "protocol"  // the peer broke the rules
	byTakeover  = "takeover"  // a newer login took the name
	byRevoked   = "revoked"   // the login's token has lost its right
	byDrain     = "drain"     // the last stream of a session that was replaced, or whose peer leaves
	byShutdown  = "shutdown"  // we were told to stop
)

// cause is why a session ended, and who noticed first.
type cause struct {
	detector string
	err      error
}

func (c cause) Error() string { return fmt.Sprintf("%v (noticed by %s)", c.err, c.detector) }
func (c cause) Unwrap() error { return c.err }

// orderly says that the peer is alive and knows, or will be told by a FIN. In
// all other cases the connection is closed with a RST, which leaves nothing in
// the kernel.
func (c cause) orderly() bool {
	switch c.detector {
	case byPeer, byDrain, byShutdown:
		return true
	}
	return false
}

// readCause classifies an error of the session's reader.
func readCause(err error, deadline time.Duration) cause {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return cause{byHeartbeat, fmt.Errorf("no frame for %v", deadline)}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return cause{byPeer, errors.New("peer closed the connection")}
	case errors.Is(err, wire.ErrProtocol):
		return cause{byProtocol, err}
	}
	return cause{byKernel, fmt.Errorf("read from session: %w", err)}
}

// writeCause classifies an error of the session's flusher.
func writeCause(err error, deadline time.Duration) cause {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return cause{byFlush, fmt.Errorf("nothing written was acknowledged for %v", deadline)}
	}
	return cause{byKernel, fmt.Errorf("write to session: %w", err)}
}

// resetError is why a stream ended before both directions had.
type resetError struct {
	code wire.Code
	text string
	far  bool // the other end of the session said so
}

func (e *resetError) Error() string {
	if e.far {
		return fmt.Sprintf("stream reset by the far end: %v: %s", e.code, e.text)
	}
	return fmt.Sprintf("stream reset: %v: %s", e.code, e.text)
}

// drained says that a stream was reset because there was nothing left to do.
func drained(err error) bool {
	var reset *resetError
	return errors.As(err, &reset) && reset.code == wire.Drained
}
