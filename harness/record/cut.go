package record

// Cut is one of a packet sweep: where it cut a session's life, and what it hit. It is
// written before the cut, without Event, and again behind it.
type Cut struct {
	After int    `json:"after"`           // packets of the connection that pass
	Way   string `json:"way,omitempty"`   // that is cut: "to the server", "from the server"; "" is both
	Of    int    `json:"of"`              // packets of the recorded life
	Next  string `json:"next"`            // what came after them in the recorded life
	Event string `json:"event,omitempty"` // the first packet that was dropped here; no two lives are alike
}
