package record

import "time"

// Verdict is the judge's word.
type Verdict string

// The verdicts. A run's verdict is the worst of
// LEAK > DEAD > LATE > INCONCLUSIVE > PASS.
const (
	Pass         Verdict = "PASS"
	Leak         Verdict = "LEAK"         // something that went through the fault is still held at T2
	Late         Verdict = "LATE"         // gone after the deadline, before T2
	Dead         Verdict = "DEAD"         // leaks nothing, serves nothing (or serves wrong bytes)
	Inconclusive Verdict = "INCONCLUSIVE" // the fault did not bite, or nothing was judged
	Skipped      Verdict = "SKIPPED"      // the kernel or the target lacks something, named
)

// Judgement is the verdict on one spec, or on one cycle of a soak, with all that
// a reader needs to believe it.
type Judgement struct {
	Verdict Verdict `json:"verdict"`
	// Reason is one sentence: what, how many, where, after which fault.
	Reason string `json:"reason"`
	// Where is the function that holds the survivors, with file, line and
	// creator; Why says why they still live ("CLOSE_WAIT, no kernel timer: the
	// peer closed, the server never did"). Empty for a pass.
	Where string `json:"where,omitempty"`
	Why   string `json:"why,omitempty"`
	Fault string `json:"fault,omitempty"` // "kill -9 at client, 24 connections exposed"
	// Exposures and FaultEvents are what this judgement rests on.
	Exposures   int `json:"exposures"`
	FaultEvents int `json:"fault_events"`
	// Starved says that it is INCONCLUSIVE on a machine that stood still.
	Starved bool `json:"starved,omitempty"`
	// Returned is after how many seconds from the fault the last exposed thing
	// was gone; -1 if it never was.
	Returned float64 `json:"returned"`
	// Took is how many seconds the verdict came after the end of the window: the last
	// snapshots, the heal, the service, the way back to the baseline.
	Took      float64    `json:"took,omitempty"`
	Survivors []Survivor `json:"survivors,omitempty"`
	Table     []Row      `json:"table,omitempty"`
	Excess    []Excess   `json:"excess,omitempty"`
	// Differences are where the target's live sockets are not set as its file says. The
	// window was computed from the sockets.
	Differences []Difference `json:"differences,omitempty"`
}

// Survivor is one thing that should be gone and is not, with its holder.
type Survivor struct {
	Role     string `json:"role"` // of the process that holds it
	PID      int    `json:"pid"`
	Resource string `json:"resource"` // "socket", "fd", "goroutine"
	// Moment is the snapshot that still had it: F, or G.
	Moment Label `json:"moment"`
	// Socket is set for sockets, and for fds whose socket the kernel has
	// already forgotten (as last seen; State is then "CLOSED (fd only)").
	Socket    *Socket    `json:"socket,omitempty"`
	FD        *FD        `json:"fd,omitempty"`
	Goroutine *Goroutine `json:"goroutine,omitempty"`
	// Peer is who was at the other end: "session from 10.0.2.2:40112", "visitor ...".
	Peer string `json:"peer,omitempty"`
	Why  string `json:"why,omitempty"`
	// Age is how long it has outlived the fault, in seconds.
	Age float64 `json:"age"`
}

// Row is one line of the back-to-baseline table.
type Row struct {
	Role     string  `json:"role"`
	Resource string  `json:"resource"` // "goroutines", "fds", "sockets ESTABLISHED", "gauge NAME", "RssAnon"
	Unit     string  `json:"unit"`     // "" for counts, "bytes"
	Baseline float64 `json:"baseline"` // B
	Peak     float64 `json:"peak"`     // E, or the highest point between
	End      float64 `json:"end"`      // F
	Settled  float64 `json:"settled"`  // G
	Excess   float64 `json:"excess"`   // what of it is too much
	OK       bool    `json:"ok"`
	Note     string  `json:"note,omitempty"`
}

// Excess is a stack signature with more goroutines in G than in B.
type Excess struct {
	Role      string `json:"role"`
	Signature string `json:"signature"`
	Baseline  int    `json:"baseline"`
	Settled   int    `json:"settled"`
	// Holders are the oldest goroutines with that signature whose peer is gone.
	Holders []Goroutine `json:"holders,omitempty"`
}

// Bound says what a clean run excludes: with Confidence, no leak larger than
// Value Unit per Per could have hidden in it.
type Limit struct {
	Resource   string  `json:"resource"` // "sockets, fds, goroutines"
	Value      float64 `json:"value"`
	Unit       string  `json:"unit"` // "leaks"
	Per        string  `json:"per"`  // "exposure", "fault event"
	Confidence float64 `json:"confidence"`
}

// Summary is summary.json: what scripts read.
type Summary struct {
	Verdict     Verdict         `json:"verdict"`
	ExitCode    int             `json:"exit_code"`
	Reason      string          `json:"reason"`
	Exposures   int             `json:"exposures"`
	FaultEvents int             `json:"fault_events"`
	Cycles      int             `json:"cycles"`
	Specs       map[Verdict]int `json:"specs"`
	Bounds      []Limit         `json:"bounds"`
	// Statements are what the run says of each resource over all its cycles.
	Statements []Statement `json:"statements,omitempty"`
	// Name and Started are the run's; Results its specs', in the order in which they
	// began. With them a list of runs need not read every record.
	Name        string    `json:"name,omitempty"`
	Started     time.Time `json:"started,omitzero"`
	Results     []Result  `json:"results,omitempty"`
	Duration    float64   `json:"duration_s"`
	Target      string    `json:"target"`
	Mutant      string    `json:"mutant,omitempty"`
	Seed        int64     `json:"seed"`
	Replay      string    `json:"replay"`
	Report      string    `json:"report"` // path of index.html, relative to the summary
	Interrupted bool      `json:"interrupted,omitempty"`
}

// Result is what a run says of one spec.
type Result struct {
	Spec      string  `json:"spec"` // its name
	Verdict   Verdict `json:"verdict"`
	Exposures int     `json:"exposures"`
	// Returned is after how many seconds the last exposed thing was gone, at the
	// slowest; -1 for never.
	Returned float64 `json:"returned"`
}
