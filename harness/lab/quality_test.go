package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func end(t testing.TB, l *Lab, at Place) *End {
	t.Helper()
	e, err := l.End(at)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func shape(t testing.TB, e *End, q Quality) {
	t.Helper()
	if err := e.Shape(q); err != nil {
		t.Fatal(err)
	}
}

func TestDelayIsWhatWasAsked(t *testing.T) {
	l := build(t, Direct)
	e := end(t, l, AtClient)
	for _, step := range []struct{ there, back time.Duration }{{20 * time.Millisecond, 20 * time.Millisecond}, {50 * time.Millisecond, 0}, {0, 0}} {
		shape(t, e, Quality{Delay: step.there})
		shape(t, e.Peer, Quality{Delay: step.back})
		want := step.there + step.back
		// A busy machine makes the others late, and a very busy one all of a burst; none
		// is ever early.
		var got []time.Duration
		for range 20 {
			got = ping(t, e, 9).Times
			if len(got) > 0 && float64(got[0]) <= 1.1*float64(want)+2e6 {
				break
			}
		}
		if len(got) == 0 {
			t.Fatalf("no ping comes back over %v and %v", step.there, step.back)
		}
		if shortest := got[0]; shortest < want || float64(shortest) > 1.1*float64(want)+2e6 {
			t.Errorf("shortest round trip is %v, want %v: %v", shortest, want, got)
		}
	}
}

// pour sends from one end to the other for a time and returns the bytes that arrived
// a second.
func pour(t testing.TB, from *End, d time.Duration) float64 {
	t.Helper()
	ln, err := from.Peer.Host.Listen(t.Context(), netip.AddrPortFrom(from.Peer.IP(), 7001).String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	begin := time.Now()
	go func() {
		c, err := from.Host.DialContext(t.Context(), "tcp", ln.Addr().String())
		if err != nil {
			return // the other side waits in vain, and says so
		}
		defer c.Close()
		buf := make([]byte, 256<<10)
		for err == nil {
			_, err = c.Write(buf)
		}
	}()
	if err := ln.(*net.TCPListener).SetDeadline(begin.Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 256<<10)
	total := 0
	for time.Since(begin) < d {
		n, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	return float64(total) / time.Since(begin).Seconds()
}

// sink takes datagrams at an end until the test is over. A reader that waits for its turn
// loses none.
func sink(t *testing.T, at *End) *net.UDPConn {
	t.Helper()
	var conn net.PacketConn
	err := at.Host.visit(func() (err error) {
		conn, err = net.ListenPacket("udp", netip.AddrPortFrom(at.IP(), 0).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.(*net.UDPConn).SetReadBuffer(4 << 20); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.UDPConn)
}

// flood has one end send half as much again as rate, in datagrams, for a time, and returns
// how many bits a second arrived at the other, Ethernet headers included, after the burst
// that a limit lets pass. TCP would not do: how fast it goes is its congestion control's
// affair as well, and that is the machine's choice.
func flood(t *testing.T, from *End, rate int64, d time.Duration) float64 {
	t.Helper()
	sink := sink(t, from.Peer)
	c, err := from.Host.DialContext(t.Context(), "udp", sink.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	const payload, frame = 1400, 1400 + 8 + 20 + 14
	begin := time.Now()
	var sending sync.WaitGroup
	sending.Go(func() {
		for sent := 0.0; time.Since(begin) < d; sent++ {
			for sent*frame*8 > 1.5*float64(rate)*time.Since(begin).Seconds() {
				time.Sleep(time.Millisecond) // the pace
			}
			// A queue that is full says ENOBUFS; one larger than the socket's buffer makes it wait.
			if _, err := c.Write(make([]byte, payload)); err != nil && !errors.Is(err, unix.ENOBUFS) {
				t.Error(err)
				return
			}
		}
	})
	defer func() { sending.Wait(); c.Close() }()
	if err := sink.SetReadDeadline(begin.Add(d)); err != nil {
		t.Fatal(err)
	}
	var first, last time.Duration
	arrived := 0
	buf := make([]byte, 2*payload)
	for {
		if _, _, err := sink.ReadFrom(buf); errors.Is(err, os.ErrDeadlineExceeded) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		last = time.Since(begin)
		if last < d/5 {
			first = last
			continue
		}
		arrived++
	}
	return float64(arrived) * frame * 8 / (last - first).Seconds()
}

func TestRateIsWhatWasAsked(t *testing.T) {
	l := build(t, Direct)
	e := end(t, l, AtClient)
	for _, mbit := range []int64{5, 100} {
		shape(t, e, Quality{Rate: mbit * 1e6})
		// A busy machine takes the kernel's timers, and the reader, off their time.
		var got []float64
		for range 20 {
			share := flood(t, e, mbit*1e6, 500*time.Millisecond) / float64(mbit*1e6)
			if got = append(got, share); math.Abs(share-1) <= 0.1 {
				break
			}
		}
		if math.Abs(got[len(got)-1]-1) > 0.1 {
			t.Errorf("of %d Mbit a second these shares pass: %.3g", mbit, got)
		}
	}
	shape(t, e, Quality{})
	var most float64
	for range 20 {
		if most = max(most, pour(t, e, 200*time.Millisecond)); most >= 100e6 {
			return
		}
	}
	t.Errorf("after the limit was taken away %.3g MB/s pass", most/1e6)
}

// datagrams sends n numbered packets from the end, pause apart, and returns the
// numbers of those that arrived and how long each was on its way.
func datagrams(t *testing.T, from *End, n int, pause time.Duration) (numbers []int, took []time.Duration) {
	t.Helper()
	sink := sink(t, from.Peer)
	c, err := from.Host.DialContext(t.Context(), "udp", sink.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sent := make([]time.Time, n)
	var mu sync.Mutex
	over := make(chan struct{}) // all were sent, and what has not come a second later is lost
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() {
		next := time.Now()
		for i := range n {
			mu.Lock()
			sent[i] = time.Now()
			mu.Unlock()
			if _, err := c.Write(binary.BigEndian.AppendUint32(nil, uint32(i))); err != nil {
				t.Error(err)
			}
			next = next.Add(pause)
			time.Sleep(time.Until(next))
		}
		time.AfterFunc(time.Second, func() { close(over) })
	})
	buf := make([]byte, 16)
	for len(numbers) < n {
		// A deadline that is over hides what waits to be read: only one that was set after
		// the last came says that none does.
		last := false
		select {
		case <-over:
			last = true
		default:
		}
		if err := sink.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := sink.ReadFrom(buf); errors.Is(err, os.ErrDeadlineExceeded) && !last {
			continue
		} else if err != nil {
			return numbers, took
		}
		i := int(binary.BigEndian.Uint32(buf))
		mu.Lock()
		took = append(took, time.Since(sent[i]))
		mu.Unlock()
		numbers = append(numbers, i)
	}
	return numbers, took
}

func TestLossIsWhatWasAsked(t *testing.T) {
	l := build(t, Direct)
	e := end(t, l, AtClient)
	for _, q := range []Quality{{Loss: 0.1}, {Loss: 0.3, Delay: 5 * time.Millisecond}} {
		shape(t, e, q)
		const n = 1000
		numbers, _ := datagrams(t, e, n, 100*time.Microsecond)
		tally, err := e.Tally()
		if err != nil {
			t.Fatal(err)
		}
		if tally.Packets != n || len(numbers) != n-int(tally.Lost) || tally.Overflow != 0 {
			t.Errorf("%s: %d packets sent, %d arrived, counted %+v", q, n, len(numbers), tally)
		}
		if off := math.Abs(float64(tally.Lost)-n*q.Loss) / math.Sqrt(n*q.Loss*(1-q.Loss)); off > 4.5 {
			t.Errorf("%s: %d of %d packets lost", q, tally.Lost, n)
		}
	}
	shape(t, e, Quality{})
	if numbers, _ := datagrams(t, e, 200, 0); len(numbers) != 200 {
		t.Errorf("a perfect cable lost %d of 200 packets", 200-len(numbers))
	}
}

// overtaken counts the packets that another one, sent later, has overtaken.
func overtaken(numbers []int) (n int) {
	least := math.MaxInt
	for _, i := range slices.Backward(numbers) {
		if i > least {
			n++
		}
		least = min(least, i)
	}
	return n
}

func TestReorderAndJitterAreWhatWasAsked(t *testing.T) {
	l := build(t, Direct)
	e := end(t, l, AtClient)
	const n, delay, jitter = 500, 20 * time.Millisecond, 10 * time.Millisecond
	for _, c := range []struct {
		q        Quality
		shortest time.Duration
		early    float64 // share of the packets that took less than the delay
	}{
		{Quality{Delay: delay}, delay, 0},
		{Quality{Delay: delay, Jitter: jitter}, delay - jitter, 0.5},
		{Quality{Delay: delay, Reorder: 0.25}, 0, 0.25},
	} {
		shape(t, e, c.q)
		numbers, took := datagrams(t, e, n, time.Millisecond)
		slices.Sort(took)
		early, _ := slices.BinarySearch(took, delay)
		over := overtaken(numbers)
		if len(numbers) != n {
			t.Errorf("%s: %d of %d arrived", c.q, len(numbers), n)
		}
		if took[0] < c.shortest {
			t.Errorf("%s: the shortest time is %v, want %v", c.q, took[0], c.shortest)
		}
		// A busy machine makes packets late, and none early.
		if most := int(n * (c.early + 0.1)); early > most || (early > 0) != (c.early > 0) || (over > 0) != (c.early > 0) {
			t.Errorf("%s: %d of %d packets came early, want %.3g of them; %d were overtaken", c.q, early, n, c.early, over)
		}
	}
}

func TestQualityChangesWhileTrafficRuns(t *testing.T) {
	l := build(t, BehindNAT)
	ln, err := l.Server.Listen(t.Context(), netip.AddrPortFrom(l.ClientSide, 7003).String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		if c, err := ln.Accept(); err == nil {
			_, _ = io.Copy(c, c)
			c.Close()
		}
	}()
	c, err := l.Client.DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	const total = 4 << 20
	go func() {
		buf := make([]byte, 1<<10)
		for at := 0; at < total; at += len(buf) {
			if _, err := io.ReadFull(c, buf); err != nil {
				got <- fmt.Errorf("after %d bytes: %w", at, err)
				return
			}
			for i, b := range buf {
				if b != byte((at+i)>>10) {
					got <- fmt.Errorf("byte %d is wrong", at+i)
					return
				}
			}
		}
		got <- nil
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		inner, outer := end(t, l, AtRouterInner), end(t, l, AtRouterOuter)
		for i := 0; i < 40; i++ {
			for _, e := range []*End{inner, inner.Peer, outer, outer.Peer} {
				q := []Quality{{Delay: 3 * time.Millisecond}, {Delay: 2 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.02}, {}, {Rate: 50e6}, {Loss: 0.01}}[i%5]
				if err := e.Shape(q); err != nil {
					t.Error(err)
				}
			}
		}
		if err := errors.Join(inner.Link.Shape(Quality{}), outer.Link.Shape(Quality{})); err != nil {
			t.Error(err)
		}
	}()
	buf := make([]byte, 1<<10)
	for at := 0; at < total; at += len(buf) {
		for i := range buf {
			buf[i] = byte((at + i) >> 10)
		}
		if _, err := c.Write(buf); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
	<-done
	for _, h := range []*Host{l.Client, l.Router.Host, l.Server} {
		if rules, err := h.counters("raw", "PREROUTING"); err != nil || len(rules) != 0 {
			t.Errorf("perfect cables leave %d rules on %s (%v)", len(rules), h.Name, err)
		}
	}
}

func TestShapingLeavesNothing(t *testing.T) {
	once := func() {
		l, err := Direct()
		if err != nil {
			t.Fatal(err)
		}
		if err := end(t, l, AtClient).Link.Shape(Quality{Delay: time.Second}); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	once()
	fds := open(t, "/proc/self/fd")
	for range 3 {
		once()
	}
	if left := beyond(t, fds); left > 0 {
		t.Errorf("3 labs with delay lines leave %d file descriptors", left)
	}
}

func TestShapeRefusesByName(t *testing.T) {
	l := build(t, Direct)
	e := end(t, l, AtClient)
	for word, q := range map[string]Quality{
		"delay":   {Delay: -1},
		"jitter":  {Jitter: time.Second},
		"loss":    {Loss: 1.1},
		"reorder": {Reorder: 0.1},
		"rate":    {Rate: 1},
	} {
		if err := e.Shape(q); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%+v: error is %v, want it to name %s", q, err, word)
		}
	}
	shape(t, e, Quality{Delay: 30 * time.Millisecond})
	err := e.Shape(Quality{Duplicate: 0.1})
	if noNetem.Load() && (err == nil || !strings.Contains(err.Error(), "cannot duplicate packets without netem")) {
		t.Errorf("error is %v", err)
	}
	if rules, failed := e.Peer.Host.counters("raw", "PREROUTING"); err != nil && (failed != nil || len(rules) > 0 || e.Quality() != Quality{}) {
		t.Errorf("after a refusal the cable is %s, its other end has %d rules (%v)", e.Quality(), len(rules), failed)
	}
}

func BenchmarkDelayLine(b *testing.B) {
	for _, q := range []Quality{{}, {Delay: 20 * time.Millisecond}, {Delay: 20 * time.Millisecond, Loss: 1e-9}} {
		b.Run(q.String(), func(b *testing.B) {
			l := build(b, Direct)
			e := end(b, l, AtClient)
			if err := e.Link.Shape(q); err != nil {
				b.Fatal(err)
			}
			// 4 MB, the kernel's own limit of what a socket has on its way, is 60 MB/s here.
			for _, h := range l.hosts {
				if err := h.Sysctl("net.ipv4.tcp_wmem", "4096 16384 67108864"); err != nil {
					b.Fatal(err)
				}
			}
			var rate float64
			n := 0
			for b.Loop() {
				rate += pour(b, e, 2*time.Second)
				n++
			}
			b.ReportMetric(rate/float64(n)/1e6, "MB/s")
			tally, err := e.Tally()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(tally.Overflow), "overflow")
		})
	}
}
