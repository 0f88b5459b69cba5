package tunnel

import (
	"context"
	"runtime/pprof"
)

// Goroutines carry labels, so that a dump names the holder: role (server or
// client), kind, the session's id and the peer's address. A new goroutine
// inherits its creator's labels, therefore each sets its own.
const (
	roleServer = "server"
	roleClient = "client"
)

// labels makes the labels of a goroutine that has no session, or has none yet.
func labels(role, kind, peer string) context.Context {
	return pprof.WithLabels(context.Background(), pprof.Labels("role", role, "kind", kind, "peer", peer))
}

// sessionLabels makes the labels of a goroutine that works for a session.
func sessionLabels(role, kind, session, peer string) context.Context {
	return pprof.WithLabels(context.Background(), pprof.Labels("role", role, "kind", kind, "session", session, "peer", peer))
}

// wear puts labels on the calling goroutine.
func wear(labels context.Context) { pprof.SetGoroutineLabels(labels) }
