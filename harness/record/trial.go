package record

// Trial is one run of fast cycles on a built-in target, column by column: entry i of
// each column is what was read after cycle i. The rules are calibrated on it, and it can
// be judged again by later ones.
type Trial struct {
	Name string `json:"name"` // of the experiment that it belongs to
	Seed uint64 `json:"seed"`
	// Loaded says that other programs kept all CPUs busy meanwhile.
	Loaded bool `json:"loaded,omitempty"`
	// Pace is seconds a cycle, Cost the median of the seconds that one reading took.
	Pace float64 `json:"pace"`
	Cost float64 `json:"cost"`

	Exposures []int            `json:"exposures"`
	Restless  []int            `json:"restless,omitempty"` // cycles, from 0, after which the target was not at rest
	Counts    map[string][]int `json:"counts"`
	Heap      []int64          `json:"heap,omitempty"`
	RssAnon   []int64          `json:"rss_anon,omitempty"`
}

// Add appends a reading as the next cycle's.
func (t *Trial) Add(r Reading) {
	n := len(t.Exposures)
	t.Exposures = append(t.Exposures, r.Exposures)
	if !r.Quiescent {
		t.Restless = append(t.Restless, n)
	}
	if t.Counts == nil {
		t.Counts = map[string][]int{}
	}
	for name, count := range r.Counts {
		for len(t.Counts[name]) < n { // it was not there before
			t.Counts[name] = append(t.Counts[name], 0)
		}
		t.Counts[name] = append(t.Counts[name], count)
	}
	for name, column := range t.Counts {
		if len(column) == n { // it is not there any more
			t.Counts[name] = append(column, 0)
		}
	}
	t.Heap = append(t.Heap, r.Memory.HeapAlloc)
	t.RssAnon = append(t.RssAnon, r.Memory.RssAnon)
}

// Readings are the trial's, one a cycle.
func (t *Trial) Readings() []Reading {
	all := make([]Reading, len(t.Exposures))
	for i := range all {
		r := &all[i]
		r.Role, r.Fast, r.Quiescent, r.Exposures, r.Counts = "server", true, true, t.Exposures[i], map[string]int{}
		for name, column := range t.Counts {
			r.Counts[name] = column[i]
		}
		r.Memory = Memory{HeapAlloc: t.Heap[i], RssAnon: t.RssAnon[i], Freed: true}
	}
	for _, i := range t.Restless {
		all[i].Quiescent = false
	}
	return all
}
