package tunnel

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// chunk is a piece of a stream in memory, with room for a frame's header before
// it: so what was read from a connection becomes a frame where it lies. Chunks
// come from pools and go back when their bytes have been written: nothing that
// grew in a burst stays with a stream.
//
//	data: | header room | bytes ... | free ...
//	      0             8           len       cap
type chunk struct {
	data []byte // header room and bytes; its capacity is the chunk's size
	off  int    // where the bytes that are still to be written begin
	next *chunk // in its queue

	// Of a chunk for an HTTP visitor of which a part may be written.
	followed bool // front has seen its bytes; no others may join them
	whole    bool // the answer ends with it
}

// chunkSizes are the sizes there are. The longest holds the longest frame.
var chunkSizes = [...]int{2 << 10, 16 << 10, wire.MaxFrame}

// smallChunks are the free chunks of all sizes but the longest. They go with the
// garbage.
var smallChunks [len(chunkSizes) - 1]sync.Pool

// longChunks are the free ones of the longest size. A burst needs one a visitor,
// and when it is over the collector, which has nothing to do in a tunnel that has
// fallen idle, would leave them where they are. So only as many are kept as busy
// sessions take turns with; the pages of the others go back to the kernel at once.
var longChunks = make(chan *chunk, 16)

// getChunk returns an empty chunk for n bytes, at most wire.MaxData.
func getChunk(n int) *chunk {
	for i := range smallChunks {
		if n <= chunkSizes[i]-wire.HeaderLen {
			if c, ok := smallChunks[i].Get().(*chunk); ok {
				return c
			}
			return newChunk(chunkSizes[i])
		}
	}
	if n > wire.MaxData {
		panic("tunnel: chunk larger than a frame")
	}
	select {
	case c := <-longChunks:
		return c
	default:
		return newChunk(wire.MaxFrame)
	}
}

func newChunk(size int) *chunk {
	return &chunk{data: make([]byte, wire.HeaderLen, size), off: wire.HeaderLen}
}

// chunkOf returns a chunk that holds a copy of p.
func chunkOf(p []byte) *chunk {
	c := getChunk(len(p))
	c.data = append(c.data, p...)
	return c
}

// free gives the chunk back; the caller forgets it.
func (c *chunk) free() {
	*c = chunk{data: c.data[:wire.HeaderLen], off: wire.HeaderLen}
	for i := range smallChunks {
		if cap(c.data) == chunkSizes[i] {
			smallChunks[i].Put(c)
			return
		}
	}
	select {
	case longChunks <- c:
	default:
		giveBack(c.data)
	}
}

// giveBack returns the pages of p to the kernel: nobody looks at its bytes again, and
// the collector will take the rest. p is an allocation of its own, longer than 32
// KiB: such are aligned to 8 KiB. Where pages are larger it may fail, and then the
// collector has to do all.
func giveBack(p []byte) { _ = unix.Madvise(p[:cap(p)], unix.MADV_DONTNEED) }

// fit returns the chunk, or a smaller one with the same bytes where that saves
// memory.
func (c *chunk) fit() *chunk {
	if len(c.data) > chunkSizes[1] || cap(c.data) < wire.MaxFrame {
		return c
	}
	small := chunkOf(c.rest())
	c.free()
	return small
}

// room is where the chunk's next bytes go, n at most.
func (c *chunk) room(n int) []byte { return c.data[len(c.data):min(len(c.data)+n, cap(c.data))] }

// rest is what has not been written yet.
func (c *chunk) rest() []byte { return c.data[c.off:] }

// frame makes a DATA frame of the chunk, of which nothing was written yet.
func (c *chunk) frame(stream uint32) {
	c.off -= wire.HeaderLen
	wire.AppendHeader(c.data[c.off:c.off], wire.Data, stream, len(c.data)-c.off-wire.HeaderLen)
}

// queue is chunks in order, and the number of bytes in them.
type queue struct {
	first, last *chunk
	bytes       int
	held        *int // the sum over all queues of a session and direction; nil for none
}

// count keeps both numbers.
func (q *queue) count(n int) {
	q.bytes += n
	if q.held != nil {
		*q.held += n
	}
}

// detach takes all chunks out, for somebody who does not hold the session's mutex.
func (q *queue) detach() queue {
	all := queue{first: q.first, last: q.last, bytes: q.bytes}
	q.count(-q.bytes)
	q.first, q.last = nil, nil
	return all
}

func (q *queue) push(c *chunk) {
	if q.last == nil {
		q.first = c
	} else {
		q.last.next = c
	}
	q.last = c
	q.count(len(c.rest()))
}

// add appends a copy of p, into the last chunk if it fits there: many small
// pieces must not hold a chunk each.
func (q *queue) add(p []byte) {
	if !q.fits(len(p)) {
		q.push(chunkOf(p))
		return
	}
	q.last.data = append(q.last.data, p...)
	q.count(len(p))
}

// fits says whether the last chunk has room for n bytes more.
func (q *queue) fits(n int) bool {
	return q.last != nil && !q.last.followed && cap(q.last.data)-len(q.last.data) >= n
}

// pop takes the first chunk out.
func (q *queue) pop() *chunk {
	c := q.first
	q.first, c.next = c.next, nil
	if q.first == nil {
		q.last = nil
	}
	q.count(-len(c.rest()))
	return c
}

// unpop puts a chunk back that pop has taken out.
func (q *queue) unpop(c *chunk) {
	c.next, q.first = q.first, c
	if q.last == nil {
		q.last = c
	}
	q.count(len(c.rest()))
}

// clear frees all.
func (q *queue) clear() {
	for q.first != nil {
		q.pop().free()
	}
}
