package record

// Schedule is several faults that come and go at their own times, and may overlap.
type Schedule struct {
	Seed   uint64 `json:"seed,omitempty"` // that it was drawn from; 0 if it was written by hand
	File   string `json:"file,omitempty"` // beside the record, to be played again
	Played bool   `json:"played,omitempty"`
	Steps  []Step `json:"steps"`
}

// Step is one fault of a schedule. Times are seconds from the schedule's beginning.
type Step struct {
	Fault string            `json:"fault"`
	At    string            `json:"at,omitempty"`
	With  map[string]string `json:"with,omitempty"`
	Start float64           `json:"start"`
	For   float64           `json:"for"`
	// Bit and Saw are set once it has been played: whether it took effect, and what
	// its witness saw, or why it could not be there.
	Bit bool   `json:"bit,omitempty"`
	Saw string `json:"saw,omitempty"`
}

// Shrunk is a schedule that was red, and the smallest part of it that still is.
type Shrunk struct {
	Verdict Verdict       `json:"verdict"` // of all of it, and of what is left
	Before  Schedule      `json:"before"`
	After   Schedule      `json:"after"`
	Trials  []ShrinkTrial `json:"trials"`
	Replay  string        `json:"replay"` // the command that plays what is left
}

// ShrinkTrial is one run of a part of the schedule.
type ShrinkTrial struct {
	Steps   int     `json:"steps"`
	What    string  `json:"what"` // "the whole", "part 2 of 4", ...
	Verdict Verdict `json:"verdict"`
	Red     bool    `json:"red,omitempty"`
	Took    float64 `json:"took"` // seconds
}
