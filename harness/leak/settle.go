package leak

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/halfopen/halfopen/harness/record"
)

// Excesses compares snapshot G with B, of one process or of a process and its
// successor in the same role, with the same logins and sessions: the table back
// to baseline, and the stack signatures of which there are more. Signatures are
// never netted against each other: one more of one and one less of another is an
// excess. Nor are kinds of descriptors. e gives the table's peak, f its window's end.
func Excesses(b, e, f, g record.Sample) ([]record.Row, []record.Excess) {
	excess := signatures(b, g)
	row := func(resource string, count func(record.Sample) int) record.Row {
		r := record.Row{
			Role: g.Role, Resource: resource,
			Baseline: float64(count(b)), Peak: float64(count(e)), End: float64(count(f)), Settled: float64(count(g)),
		}
		r.Excess = max(0, r.Settled-r.Baseline)
		r.OK = r.Excess == 0
		return r
	}
	goroutines := row("goroutines", func(s record.Sample) int { return goroutineCount(s) })
	for _, x := range excess {
		goroutines.OK = false
		goroutines.Excess = max(goroutines.Excess, float64(x.Settled-x.Baseline))
	}
	if len(b.Groups) == 0 {
		goroutines.Note = "not observed: the target offers no pprof"
	}
	fds := row("fds", func(s record.Sample) int { return len(s.FDs) })
	judgeDescriptors(&fds, b, g)
	rows := []record.Row{goroutines, fds}
	for _, state := range states(b, e, f, g) {
		rows = append(rows, row("sockets "+state, func(s record.Sample) int { return inState(s, state) }))
	}
	rows = append(rows, gaugeRows(b, e, f, g)...)
	threads := row("threads", func(s record.Sample) int { return s.Threads })
	threads.OK, threads.Note = true, "shown, not judged: the Go runtime keeps idle threads"
	memory := row("RssAnon", func(s record.Sample) int { return int(s.Memory.RssAnon) })
	memory.Unit = "bytes"
	judgeMemory(&memory, b, e, g, rssRoom(b, g))
	rows = append(rows, threads, memory)
	if toldHeap(b) && toldHeap(g) {
		heap := record.Row{
			Role: memory.Role, Resource: "HeapAlloc", Unit: "bytes",
			Baseline: float64(b.Memory.HeapAlloc), Settled: float64(g.Memory.HeapAlloc),
		}
		heap.Peak = max(heap.Baseline, heap.Settled)
		heap.End, heap.Excess = heap.Settled, heap.Settled-heap.Baseline
		judgeMemory(&heap, b, e, g, heapRoom(heap.Baseline))
		rows = append(rows, heap)
	}
	return rows, excess
}

// toldHeap says whether the target told what its heap holds when it had freed all that
// it could.
func toldHeap(s record.Sample) bool { return s.Memory.Freed && s.Memory.HeapAlloc > 0 }

// heapRoom is what HeapAlloc, after three collections, may grow by in one round: the
// larger of 2 MiB and 10 % of the baseline. Measured: at most 0.3 MiB where no burst came,
// and 1.0 MiB after an outage with data in flight, for a program may keep what one burst
// needed for the next (the tunnel 16 buffers of 64 KiB).
func heapRoom(baseline float64) float64 { return max(2<<20, baseline/10) }

// rssRoom is the same for RssAnon: the larger of 2 MiB and 10 % of the baseline. Of a
// process that tells its heap it is the larger of 4 MiB and 20 %: the heap is judged
// more finely then, and the rest, threads and holes that the collector cannot
// close, was seen to grow by 2.0 MiB with a heap that had not.
func rssRoom(b, g record.Sample) float64 {
	baseline := float64(b.Memory.RssAnon)
	if toldHeap(b) && toldHeap(g) {
		return max(4<<20, baseline/5)
	}
	return max(2<<20, baseline/10)
}

// judgeMemory judges a row of memory, coarsely: it says how large a leak of each
// exposed connection could hide in the room. Without a way to make the target free
// its memory before both readings there is nothing to compare.
func judgeMemory(row *record.Row, b, e, g record.Sample, room float64) {
	row.OK = true
	if !b.Memory.Freed || !g.Memory.Freed {
		row.Note = "shown, not judged: the target has no way to give free memory back"
		return
	}
	row.OK = row.Excess <= room
	row.Note = fmt.Sprintf("up to +%.1f MiB is allowed", room/(1<<20))
	if n := len(Exposed(record.Fault{}, b, e)); n > 0 {
		row.Note += fmt.Sprintf(": less than %.0f KiB a connection could hide", room/float64(n)/(1<<10))
	}
}

// TooHeavy says whether snapshot G holds more memory than the room above B allows.
func TooHeavy(b, g record.Sample) bool {
	if !b.Memory.Freed || !g.Memory.Freed {
		return false
	}
	heap := toldHeap(b) && toldHeap(g) && float64(g.Memory.HeapAlloc-b.Memory.HeapAlloc) > heapRoom(float64(b.Memory.HeapAlloc))
	return heap || float64(g.Memory.RssAnon-b.Memory.RssAnon) > rssRoom(b, g)
}

// signatures are the groups of which g has more than b.
func signatures(b, g record.Sample) []record.Excess {
	before := map[string]int{}
	for _, group := range b.Groups {
		before[group.Signature] += group.Count
	}
	var found []record.Excess
	for _, group := range g.Groups {
		if was := before[group.Signature]; group.Count > was {
			found = append(found, record.Excess{
				Role: g.Role, Signature: group.Signature, Baseline: was, Settled: group.Count,
				Holders: holders(b, g, group.Signature, group.Count-was),
			})
		}
	}
	slices.SortFunc(found, func(x, y record.Excess) int { return cmp.Compare(x.Signature, y.Signature) })
	return found
}

// holders are the n goroutines of g with the signature that are to blame: those
// whose peer has gone since b before those that do not tell, then those whose peer
// is there, last those whose peer was gone in b already. The oldest first:
// goroutine ids grow.
func holders(b, g record.Sample, signature string, n int) []record.Goroutine {
	before := map[int64]record.Goroutine{}
	for _, x := range b.Goroutines {
		before[x.ID] = x
	}
	lonely := func(s record.Sample, x record.Goroutine) bool {
		return x.Labels[peerLabel] != "" && !slices.ContainsFunc(s.Sockets, func(c record.Socket) bool {
			return c.Remote == x.Labels[peerLabel] && c.State == "ESTABLISHED"
		})
	}
	rank := func(x record.Goroutine) int {
		was, old := before[x.ID]
		switch {
		case old && lonely(b, was):
			return 3
		case lonely(g, x):
			return 0
		case x.Labels[peerLabel] == "":
			return 1
		}
		return 2
	}
	var found []record.Goroutine
	for _, x := range g.Goroutines {
		if record.Signature(x.Frames, x.Creator.Func) == signature {
			found = append(found, x)
		}
	}
	slices.SortFunc(found, func(x, y record.Goroutine) int {
		return cmp.Or(cmp.Compare(rank(x), rank(y)), cmp.Compare(x.ID, y.ID))
	})
	return found[:min(n, len(found))]
}

func goroutineCount(s record.Sample) int {
	n := 0
	for _, g := range s.Groups {
		n += g.Count
	}
	return n
}

func inState(s record.Sample, state string) int {
	n := 0
	for _, c := range s.Sockets {
		if c.State == state {
			n++
		}
	}
	return n
}

// states are the socket states that occur in any of the samples, in order.
func states(samples ...record.Sample) []string {
	found := map[string]bool{}
	for _, s := range samples {
		for _, c := range s.Sockets {
			found[c.State] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// Alike says whether two samples of one process, taken one after the other, show
// the same counts: it is quiescent if they are.
func Alike(x, y record.Sample) bool {
	if x.PID != y.PID || len(x.Groups) != len(y.Groups) || !slices.Equal(x.Gauges, y.Gauges) || !maps.Equal(descriptors(x), descriptors(y)) {
		return false
	}
	count := map[string]int{}
	for _, g := range x.Groups {
		count["goroutine "+g.Signature] += g.Count
	}
	for _, g := range y.Groups {
		count["goroutine "+g.Signature] -= g.Count
	}
	for _, s := range x.Sockets {
		count["socket "+s.State]++
	}
	for _, s := range y.Sockets {
		count["socket "+s.State]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

// describe tells a row that is not back at its baseline in a few words.
func describe(r record.Row) string {
	if r.Unit == "bytes" {
		return fmt.Sprintf("%s %s +%.1f MiB", r.Role, r.Resource, r.Excess/(1<<20))
	}
	text := fmt.Sprintf("%s %s +%.0f", r.Role, r.Resource, r.Excess)
	if r.Resource == "fds" && r.Note != "" {
		text += " (" + r.Note + ")"
	}
	return text
}
