package fault

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

// echo has the lab's server send back every byte that comes to port 4443, and the client
// send a byte after the other, for as long as the connection lasts; then it makes another.
// passed is how many bytes have come back on the newest, or on the one that fell silent.
// may is asked before each byte of the n-th connection, until it says yes.
func echo(t *testing.T, l *lab.Lab, may func(n int64) bool) (passed func() int) {
	t.Helper()
	ln, err := l.Server.Listen(t.Context(), netip.AddrPortFrom(l.ClientSide, 4443).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c) // until it is closed, or destroyed
			}()
		}
	}()
	var echoes atomic.Int64
	done := make(chan struct{})
	t.Cleanup(func() { <-done }) // before the lab goes
	go func() {
		defer close(done)
		for n := int64(0); t.Context().Err() == nil; {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			c, err := l.Client.DialContext(ctx, "tcp", ln.Addr().String())
			cancel()
			if err != nil {
				continue
			}
			n++
			echoes.Store(0)
			for b := make([]byte, 1); err == nil && t.Context().Err() == nil; {
				if !may(n) {
					err = wait(t.Context(), time.Millisecond)
					continue
				}
				if err = c.SetDeadline(time.Now().Add(4 * time.Second)); err != nil {
					break
				}
				if _, err = c.Write(b); err != nil {
					break
				}
				if _, err = c.Read(b); err == nil {
					echoes.Add(1)
				}
			}
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				echoes.Store(0) // destroyed
			}
			c.Close()
		}
	}()
	return func() int { return int(echoes.Load()) }
}

// always may.
func always(int64) bool { return true }

// many is more echoes than a connection has that is cut.
const many = 40

// SYN, SYN ACK and ACK are three packets, and a byte and its echo are two, or three if
// each is acknowledged apart.
func TestCutAfter(t *testing.T) {
	for _, c := range []struct {
		cut         CutAfter
		least, most int // echoes on the connection that is cut
	}{
		{CutAfter{Packets: 1}, 0, 0},
		{CutAfter{Packets: 3}, 0, 0},
		{CutAfter{Packets: 23}, 6, 10},
		{CutAfter{Packets: 23, Way: ToServer}, 6, 10},
		{CutAfter{Packets: 23, Way: FromServer}, 6, 10},
	} {
		t.Run(c.cut.Describe().Name, func(t *testing.T) {
			l := build(t, lab.BehindNAT)
			passed := echo(t, l, always)
			if !eventually(func() bool { return passed() >= many }) {
				t.Fatal("no bytes come back before the fault")
			}
			heal, witness := inject(t, c.cut, l)
			expect(t, witness, true)
			if got := passed(); got < c.least || got > c.most {
				t.Errorf("%d bytes came back, want %d to %d", got, c.least, c.most)
			}
			healTwice(t, heal)
			expect(t, witness, false)
			if !eventually(func() bool { return passed() >= many }) {
				t.Error("no bytes come back after the heal")
			}
		})
	}
}

// What goes over the cables are packets as on a wire, until the heal.
func TestCutAfterCountsPacketsOfAWire(t *testing.T) {
	l := build(t, lab.BehindNAT)
	echo(t, l, always)
	segments := func() (most []int) {
		for _, at := range []lab.Place{lab.AtClient, lab.AtRouterInner, lab.AtRouterOuter, lab.AtServer} {
			end, err := l.End(at)
			if err != nil {
				t.Fatal(err)
			}
			n, err := end.Segments()
			if err != nil {
				t.Fatal(err)
			}
			most = append(most, n)
		}
		return most
	}
	before := segments()
	if slices.Max(before) == 1 {
		t.Fatal("a packet is one of a wire before the fault")
	}
	heal, _ := inject(t, CutAfter{Packets: 3}, l)
	if most := segments(); slices.Max(most) != 1 {
		t.Errorf("the cables take %v segments as one", most)
	}
	healTwice(t, heal)
	if most := segments(); !slices.Equal(most, before) {
		t.Errorf("the cables take %v segments as one after the heal, want %v", most, before)
	}
}

// Beside the connection that comes to its last packet there is one that is far from it: it
// is cut with the other.
func TestCutAfterCutsTheOthers(t *testing.T) {
	for _, way := range []Way{BothWays, ToServer, FromServer} {
		t.Run(string(way), func(t *testing.T) {
			l := build(t, lab.BehindNAT)
			var slow talk
			passed := echo(t, l, slow.talks) // so it is there to be cut
			done := make(chan struct{})
			t.Cleanup(func() { <-done }) // before the lab goes
			go func() {
				defer close(done)
				for t.Context().Err() == nil && !slow.silent.Load() {
					slow.once(t.Context(), l)
				}
			}()
			if !eventually(func() bool { return passed() >= many }) {
				t.Fatal("no bytes come back before the fault")
			}
			heal, witness := inject(t, CutAfter{Packets: 1000, Way: way}, l)
			expect(t, witness, true)
			if !eventually(slow.silent.Load) {
				t.Error("bytes still come back on a connection of few packets")
			}
			healTwice(t, heal)
		})
	}
}

// talk is a connection on which a byte comes back now and then.
type talk struct {
	nth    atomic.Int64 // connection on which one has come back
	silent atomic.Bool  // none has come back in time, after others
}

// talks says whether a byte has come back on the n-th connection.
func (s *talk) talks(n int64) bool { return s.nth.Load() >= n }

// once makes a connection, and talks until there is an error.
func (s *talk) once(ctx context.Context, l *lab.Lab) {
	dial, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	c, err := l.Client.DialContext(dial, "tcp", netip.AddrPortFrom(l.ClientSide, 4443).String())
	if err != nil {
		return
	}
	defer c.Close()
	n := 0 // bytes that have come back
	for b := make([]byte, 1); err == nil; err = wait(ctx, 20*time.Millisecond) {
		if c.SetDeadline(time.Now().Add(4*time.Second)) != nil {
			return
		}
		if _, err := c.Write(b); err != nil {
			return
		}
		if _, err := c.Read(b); err != nil {
			s.silent.Store(n > 0 && errors.Is(err, os.ErrDeadlineExceeded))
			return
		}
		if n++; n == 1 {
			s.nth.Add(1)
		}
	}
}

func TestCutAfterRefuses(t *testing.T) {
	l := build(t, lab.BehindNAT)
	for _, c := range []struct {
		cut  CutAfter
		want string
	}{
		{CutAfter{}, "first packet"},
		{CutAfter{Packets: 1, Way: "up"}, "no such way"},
	} {
		if _, _, err := c.cut.Inject(t.Context(), l); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error is %v, want %q", c.cut, err, c.want)
		}
	}
	if _, _, err := (CutAfter{Packets: 1}).Inject(t.Context(), build(t, lab.Direct)); err == nil || !strings.Contains(err.Error(), "no router") {
		t.Errorf("error without a router is %v", err)
	}
}
