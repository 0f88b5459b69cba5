package load

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// A visit of a given size sends so much, and says what it does next before a byte of it
// is sent.
func TestStepsAndSize(t *testing.T) {
	const size = 300
	for p, want := range map[Protocol][]string{
		HTTP: {"http"}, WebSocket: {"upgrade", "messages", "closing"}, TCP: {"tcp", "half-close"},
	} {
		t.Run(string(p), func(t *testing.T) {
			clean(t)
			_, at := origin(t)
			var out counted
			dial := func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := direct(ctx, network, address)
				out.TCPConn, _ = c.(*net.TCPConn)
				return &out, err
			}
			var steps []string
			var sent []int // by then
			step := func(name string) { steps, sent = append(steps, name), append(sent, int(out.sent.Load())) }
			if err := Once(soon(t), dial, Visit{Protocol: p, Address: at[p], Seed: 3, Size: size, Step: step}); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(steps, want) || sent[0] != 0 {
				t.Errorf("steps %q after %d bytes, want %q", steps, sent, want)
			}
			if got := out.sent.Load(); got < size || got > size+500 {
				t.Errorf("%d bytes were sent, want %d and the protocol's own", got, size)
			}
			if p == TCP && sent[1] != size {
				t.Errorf("half-closed after %d bytes, want %d", sent[1], size)
			}
			if _, err := Open(soon(t), direct, Visit{Protocol: p, Address: at[p], Size: size}); err == nil || !strings.Contains(err.Error(), "neither a size") {
				t.Errorf("Open() with a size: %v", err)
			}
		})
	}
	if err := Once(soon(t), direct, Visit{Protocol: TCP, Size: -1}); err == nil || !strings.Contains(err.Error(), "-1 bytes") {
		t.Errorf("Once() with a size below zero: %v", err)
	}
}

// counted counts what is sent.
type counted struct {
	*net.TCPConn
	sent atomic.Int64 // net/http writes on a goroutine of its own
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.TCPConn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}
