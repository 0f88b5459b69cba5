package tunnel

import (
	"sync"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// chunk is a piece of a stream in memory. Chunks come from pools and go back
// when their bytes have been written: nothing that grew in a burst stays with a
// stream.
type chunk struct {
	data []byte // the bytes; its capacity is the chunk's size
	off  int    // bytes already written
}

// chunkSizes are the sizes there are. The middle one holds a DATA frame of ours.
var chunkSizes = [...]int{2 << 10, 16 << 10, wire.MaxData}

var chunkPools [len(chunkSizes)]sync.Pool

// getChunk returns an empty chunk for n bytes, at most wire.MaxData.
func getChunk(n int) *chunk {
	for i, size := range chunkSizes {
		if n <= size {
			if c, ok := chunkPools[i].Get().(*chunk); ok {
				return c
			}
			return &chunk{data: make([]byte, 0, size)}
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
			c.data, c.off = c.data[:0], 0
			chunkPools[i].Put(c)
			return
		}
	}
}

// fit returns the chunk, or a smaller one with the same bytes where that saves
// memory.
func (c *chunk) fit() *chunk {
	if len(c.data) > chunkSizes[1] || cap(c.data) < wire.MaxData {
		return c
	}
	small := chunkOf(c.data)
	c.free()
	return small
}

// rest is what has not been written yet.
func (c *chunk) rest() []byte { return c.data[c.off:] }

// queue is chunks in order, and the number of bytes in them.
type queue struct {
	chunks []*chunk
	bytes  int
}

func (q *queue) push(c *chunk) {
	q.chunks = append(q.chunks, c)
	q.bytes += len(c.rest())
}

// add appends a copy of p, into the last chunk if it fits there: many small
// pieces must not hold a chunk each.
func (q *queue) add(p []byte) {
	if n := len(q.chunks); n > 0 {
		if last := q.chunks[n-1]; cap(last.data)-len(last.data) >= len(p) {
			last.data = append(last.data, p...)
			q.bytes += len(p)
			return
		}
	}
	q.push(chunkOf(p))
}

// pop takes the first chunk out.
func (q *queue) pop() *chunk {
	c := q.chunks[0]
	q.chunks[0] = nil
	q.chunks = q.chunks[1:]
	if len(q.chunks) == 0 {
		q.chunks = nil // an idle stream holds nothing
	}
	q.bytes -= len(c.rest())
	return c
}

// take appends up to n bytes of the first chunk to dst, and frees the chunk when
// it is used up.
func (q *queue) take(dst []byte, n int) []byte {
	c := q.chunks[0]
	n = min(n, len(c.rest()))
	dst = append(dst, c.rest()[:n]...)
	c.off += n
	q.bytes -= n
	if len(c.rest()) == 0 {
		q.pop().free()
	}
	return dst
}

// clear frees all.
func (q *queue) clear() {
	for len(q.chunks) > 0 {
		q.pop().free()
	}
}
