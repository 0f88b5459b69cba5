package lab

import (
	"context"
	"errors"
	"math"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

func ping(t *testing.T, e *End, n int) Echoes {
	t.Helper()
	got, err := e.Ping(t.Context(), n, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestPingAndSpeed(t *testing.T) {
	l := build(t, Direct)
	e := end(t, l, AtClient)
	if got := ping(t, e, 50); len(got.Times) != 50 || got.Twice+got.Overtaken != 0 {
		t.Errorf("over a perfect cable: %+v", got)
	}
	shape(t, e, Quality{Delay: 20 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.2})
	got := ping(t, e, 200)
	lost := got.Sent - len(got.Times)
	if lost == 0 || lost > 100 || got.Overtaken == 0 || got.Median() < 10*time.Millisecond {
		t.Errorf("over a bad cable: %d of %d lost, %d overtaken, median %v", lost, got.Sent, got.Overtaken, got.Median())
	}
	const rate = 20e6
	shape(t, e, Quality{Rate: rate})
	var speed float64
	for range 10 { // a busy machine is slow at times
		var err error
		if speed, err = e.Speed(t.Context(), rate, 300*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if math.Abs(speed/rate-1) < 0.1 {
			break
		}
	}
	if math.Abs(speed/rate-1) > 0.1 {
		t.Errorf("speed is %.4g, want %.4g", speed, rate)
	}
	shape(t, e, Quality{Loss: 1})
	if got := ping(t, e, 3); len(got.Times) != 0 {
		t.Errorf("over a dead cable: %+v", got)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if _, err := e.Ping(ctx, 3, time.Second); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("cancelled: error is %v", err)
	}
}

// A cable that others fill is measured with few datagrams more: they lose by each.
func TestSpeedOfAFullCable(t *testing.T) {
	l := build(t, Direct)
	e := end(t, l, AtClient)
	const rate, d = 20e6, 300 * time.Millisecond
	shape(t, e, Quality{Rate: rate})
	filler, err := e.Host.DialContext(t.Context(), "udp", netip.AddrPortFrom(e.Peer.IP(), 9).String())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			for range 6 { // each millisecond: 67 Mbit/s, when the machine is on time
				if _, err := filler.Write(make([]byte, 1400)); errors.Is(err, net.ErrClosed) {
					return
				}
			}
			time.Sleep(time.Millisecond) // the pace
		}
	}()
	defer func() { filler.Close(); <-ended }()
	most := int(0.5 * rate / 8 / 1400 * d.Seconds())
	for range 10 { // a busy machine is slow at times
		speed, added, err := e.speed(t.Context(), rate, d)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(speed/rate-1) < 0.1 && added > 0 && added < most {
			return
		}
		t.Logf("speed is %.4g, %d datagrams were added", speed, added)
	}
	t.Errorf("want %.4g, and at most %d datagrams", float64(rate), most)
}

// Pings that find the cable's queue full are lost; they must not leave the reader
// waiting for ever.
func TestPingOverAFullCable(t *testing.T) {
	l := build(t, Direct)
	e := end(t, l, AtClient)
	const rate = 1e6
	shape(t, e, Quality{Rate: rate})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	flooding, enough := context.WithCancel(ctx)
	var floods sync.WaitGroup
	for range 4 {
		floods.Go(func() {
			for flooding.Err() == nil {
				if _, err := e.Speed(flooding, 20*rate, time.Second); err != nil && flooding.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	lost := 0
	for lost == 0 { // each flood pauses at times, and they may do so together
		got, err := e.Ping(ctx, 200, 5*time.Millisecond)
		if err != nil {
			t.Errorf("none of the pings is lost: %v", err)
			break
		}
		lost = got.Sent - len(got.Times)
	}
	enough()
	floods.Wait()
}
