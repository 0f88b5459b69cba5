package record

// Reading is what one process held at rest, after one cycle of a soak: one point of
// each series that the run is judged by. Counts are read first, memory after them.
type Reading struct {
	Role string `json:"role"`
	PID  int    `json:"pid"`
	// Fast says that the cycle was a fast one: a built-in target, loopback, FIN and
	// RST instead of faults of the network.
	Fast bool `json:"fast,omitempty"`
	// Exposures and FaultEvents are those of the cycle before the reading.
	Exposures   int `json:"exposures"`
	FaultEvents int `json:"fault_events"`
	// Quiescent says that the process was back at its baseline, twice in a row. The
	// memory of one that was not is no point of a series.
	Quiescent bool `json:"quiescent"`
	// Counts are exact: "fds", "sockets ESTABLISHED", "goroutines SIGNATURE",
	// "gauges NAME".
	Counts map[string]int `json:"counts,omitempty"`
	Memory Memory         `json:"memory"`
	// Took is how long the reading kept the process busy, in seconds: what it costs
	// to be observed.
	Took float64 `json:"took,omitempty"`
}

// Statement is what a run says of one resource of one process over all its cycles.
type Statement struct {
	Role     string `json:"role"`
	Resource string `json:"resource"` // "fds", "sockets", "goroutines", "gauges", "heap", "RssAnon"
	// Verdict is PASS, LEAK or INCONCLUSIVE; "" where there are too few cycles to say
	// anything.
	Verdict Verdict `json:"verdict,omitempty"`
	// Text is the sentence, Where the place that holds what leaks.
	Text  string `json:"text"`
	Where string `json:"where,omitempty"`
	// Cycles were judged; Fast of a built-in target.
	Cycles int  `json:"cycles"`
	Fast   bool `json:"fast,omitempty"`
	// Limit is the smallest leak that could not have hidden, for a PASS.
	Limit *Limit `json:"limit,omitempty"`
	// Rate, with its interval of 95 %, is what leaks, for a LEAK: Unit per Per.
	Rate *Rate `json:"rate,omitempty"`
}

// Rate is an estimate with the interval that has it with 95 % confidence.
type Rate struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	Unit  string  `json:"unit"` // "bytes", or "" for things counted
	Per   string  `json:"per"`  // "cycle", "exposure"
}

// Growth is where in a program its heap grew, between two heap profiles.
type Growth struct {
	Role  string `json:"role"`
	PID   int    `json:"pid"`
	From  int    `json:"from"` // cycle of the first profile
	To    int    `json:"to"`   // and of the last
	Sites []Site `json:"sites"`
}

// Site is a place that holds more of the heap than before.
type Site struct {
	Where   string  `json:"where"`   // "cache.go:77 tunnel.(*cache).put"
	Bytes   float64 `json:"bytes"`   // a cycle
	Objects float64 `json:"objects"` // a cycle
	Share   float64 `json:"share"`   // of all growth
}
