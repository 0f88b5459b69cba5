package record

import "testing"

// A visitor who stands still is not a peer that is lost: what bounds a session's
// writes and its silence bounds no connection at the edge.
func TestAtEdge(t *testing.T) {
	stated := Settings{
		KeepaliveIdle: 2, KeepaliveInterval: 1, KeepaliveCount: 3, UserTimeout: 5,
		HeartbeatInterval: 1, HeartbeatDeadline: 5, Flush: 2, HalfClose: 3,
	}
	want := Settings{KeepaliveIdle: 2, KeepaliveInterval: 1, KeepaliveCount: 3, UserTimeout: 5, HalfClose: 3}
	if got := stated.AtEdge(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	stated.Edge = Edge{Stated: true, KeepaliveIdle: 15, KeepaliveInterval: 5, KeepaliveCount: 6, UserTimeout: 45}
	want = Settings{KeepaliveIdle: 15, KeepaliveInterval: 5, KeepaliveCount: 6, UserTimeout: 45, HalfClose: 3, Edge: stated.Edge}
	if got := stated.AtEdge(); got != want {
		t.Errorf("set otherwise: %+v, want %+v", got, want)
	}
}
