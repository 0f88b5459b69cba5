package tunnel

import (
	"sync"

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

	// Of a chunk that is the rest of a straight write to an HTTP visitor.
	followed bool // front has seen its bytes; no others may join them
	whole    bool // the answer ends with it
}

// chunkSizes are the sizes there are. The longest holds the longest frame.
var chunkSizes = [...]int{2 << 10, 16 << 10, wire.MaxFrame}

var chunkPools [len(chunkSizes)]sync.Pool

// getChunk returns an empty chunk for n bytes, at most wire.MaxData.
func getChunk(n int) *chunk {
	for i, size := range chunkSizes {
		if n <= size-wire.HeaderLen {
			c, ok := chunkPools[i].Get().(*chunk)
			if !ok {
				c = &chunk{data: make([]byte, wire.HeaderLen, size)}
			}
			c.off = wire.HeaderLen
			return c
		}
	}
	panic("tunnel: chunk larger than a frame")
}

// chunkOf returns a chunk that holds a copy of p.
func chunkOf(p []byte) *chunk {
	c := getChunk(len(p))
	c.data = append(c.data, p...)
	return c
}

// free gives the chunk back; the caller forgets it.
func (c *chunk) free() {
	for i, size := range chunkSizes {
		if cap(c.data) == size {
			c.data, c.followed, c.whole = c.data[:wire.HeaderLen], false, false
			chunkPools[i].Put(c)
			return
		}
	}
}

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
}

func (q *queue) push(c *chunk) {
	if q.last == nil {
		q.first = c
	} else {
		q.last.next = c
	}
	q.last = c
	q.bytes += len(c.rest())
}

// add appends a copy of p, into the last chunk if it fits there: many small
// pieces must not hold a chunk each.
func (q *queue) add(p []byte) {
	if !q.fits(len(p)) {
		q.push(chunkOf(p))
		return
	}
	q.last.data = append(q.last.data, p...)
	q.bytes += len(p)
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
	q.bytes -= len(c.rest())
	return c
}

// unpop puts a chunk back that pop has taken out.
func (q *queue) unpop(c *chunk) {
	c.next, q.first = q.first, c
	if q.last == nil {
		q.last = c
	}
	q.bytes += len(c.rest())
}

// clear frees all.
func (q *queue) clear() {
	for q.first != nil {
		q.pop().free()
	}
}
