package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/sys/unix"
)

// Echoes are the answers to the pings over one cable.
type Echoes struct {
	Sent      int
	Times     []time.Duration // round trips of those that were answered, the shortest first
	Twice     int             // answered more than once
	Overtaken int             // answered after one that was sent later
}

// Median is the round trip that half of the answered pings took longer than; 0 if none
// was answered.
func (e Echoes) Median() time.Duration {
	if len(e.Times) == 0 {
		return 0
	}
	return e.Times[len(e.Times)/2]
}

// silence ends a measurement: so long after the last ping an answer is lost.
const silence = time.Second

// Ping sends n echo requests over the cable, pause apart, and gathers the answers. It
// ends when all are there, or when the last have had the cable's delay and a second.
func (e *End) Ping(ctx context.Context, n int, pause time.Duration) (Echoes, error) {
	got, err := e.ping(ctx, n, pause)
	if err != nil {
		return got, fmt.Errorf("ping over %s: %w", e, err)
	}
	return got, nil
}

func (e *End) ping(ctx context.Context, n int, pause time.Duration) (Echoes, error) {
	// Who may open a ping socket is the namespace's own business.
	if err := e.Host.Sysctl("net.ipv4.ping_group_range", "0 0"); err != nil {
		return Echoes{}, err
	}
	var conn *icmp.PacketConn
	err := e.Host.visit(func() (err error) {
		conn, err = icmp.ListenPacket(e.Host.family.ping.network, e.IP().String())
		return err
	})
	if err != nil {
		return Echoes{}, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) }) // the reader sees why
	defer stop()
	begin := time.Now()
	failed := make(chan error, 1)
	go func() {
		err := e.sendPings(ctx, conn, begin, n, pause)
		if err != nil {
			err = errors.Join(err, conn.SetReadDeadline(time.Unix(1, 0))) // no answer is waited for any more
		}
		failed <- err
	}()

	got := Echoes{Sent: n}
	seen, latest := make([]int, n), -1
	silent := 0 // deadlines on end
	buf := make([]byte, 1500)
	for len(got.Times) < n {
		size, _, err := conn.ReadFrom(buf)
		now := time.Since(begin)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// What has not come by now is lost; but a deadline hides what waits to be read, from
			// a reader that is late.
			if silent++; silent == 3 || ctx.Err() != nil {
				break
			}
			err = conn.SetReadDeadline(time.Now().Add(silence / 50))
			if err == nil {
				continue
			}
		}
		if err != nil {
			return got, errors.Join(err, <-failed)
		}
		silent = 0
		m, err := icmp.ParseMessage(e.Host.family.ping.protocol, buf[:size])
		if err != nil {
			return got, errors.Join(err, <-failed)
		}
		echo, ok := m.Body.(*icmp.Echo)
		if !ok || m.Type != e.Host.family.ping.reply || echo.Seq >= n || len(echo.Data) != 8 {
			continue
		}
		if seen[echo.Seq]++; seen[echo.Seq] > 1 {
			got.Twice++
			continue
		}
		got.Times = append(got.Times, now-time.Duration(binary.BigEndian.Uint64(echo.Data)))
		if echo.Seq < latest {
			got.Overtaken++
		}
		latest = max(latest, echo.Seq)
	}
	slices.Sort(got.Times)
	return got, <-failed
}

// sendPings sends them, each with the time since begin, and says when the reader may
// give up.
func (e *End) sendPings(ctx context.Context, conn *icmp.PacketConn, begin time.Time, n int, pause time.Duration) error {
	to := &net.UDPAddr{IP: e.Peer.IP().AsSlice()}
	for i := range n {
		if err := sleep(ctx, time.Until(begin.Add(time.Duration(i)*pause))); err != nil {
			return err
		}
		now := binary.BigEndian.AppendUint64(nil, uint64(time.Since(begin)))
		m := icmp.Message{Type: e.Host.family.ping.request, Body: &icmp.Echo{Seq: i, Data: now}}
		text, err := m.Marshal(nil)
		if err != nil {
			return err
		}
		// ENOBUFS tells that the cable's queue is full: this one is lost.
		if _, err := conn.WriteTo(text, to); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return err
		}
	}
	there, back := e.Quality(), e.Peer.Quality()
	return conn.SetReadDeadline(time.Now().Add(2*(there.Delay+back.Delay) + silence))
}

// Speed is how many bits a second leave this end, Ethernet headers included, while the
// cable has a fifth more to carry than rate, which it is thought to carry. Speed adds
// datagrams for the time d, and no more than the traffic that is there leaves to add: that
// traffic suffers from each.
func (e *End) Speed(ctx context.Context, rate int64, d time.Duration) (float64, error) {
	got, _, err := e.speed(ctx, rate, d)
	if err != nil {
		return 0, fmt.Errorf("measure the speed of %s: %w", e, err)
	}
	return got, nil
}

// speed also says how many datagrams it added.
func (e *End) speed(ctx context.Context, rate int64, d time.Duration) (got float64, added int, err error) {
	if err := sleep(ctx, d/4); err != nil { // an earlier try's datagrams leave the queue
		return 0, 0, err
	}
	busy, err := e.passes(func() error { return sleep(ctx, d/4) })
	if err != nil {
		return 0, 0, err
	}
	// Nobody listens there: what arrives is thrown away.
	conn, err := e.Host.DialContext(ctx, "udp", netip.AddrPortFrom(e.Peer.IP(), 9).String())
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	datagram := make([]byte, 1400)
	missing := (1.2*float64(rate) - min(busy, float64(rate))) / 8 / float64(len(datagram)) // datagrams a second
	begin := time.Now()
	flood := func(until time.Duration) error {
		for {
			now := time.Since(begin)
			if now > until {
				return nil
			}
			for ; float64(added) < missing*now.Seconds(); added++ {
				// ECONNREFUSED tells that an earlier one has arrived, ENOBUFS that the queue is full.
				_, err := conn.Write(datagram)
				if err != nil && !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.ENOBUFS) {
					return err
				}
			}
			if err := sleep(ctx, time.Millisecond); err != nil {
				return err
			}
		}
	}
	// First the burst that the cable lets pass, and its queue.
	if err := flood(d / 4); err != nil {
		return 0, added, err
	}
	got, err = e.passes(func() error { return flood(d) })
	return got, added, err
}

// passes is how many bits a second leave this end while wait runs.
func (e *End) passes(wait func() error) (float64, error) {
	begin := time.Now()
	from, before, err := e.sent(begin)
	if err != nil {
		return 0, err
	}
	if err := wait(); err != nil {
		return 0, err
	}
	to, after, err := e.sent(begin)
	if err != nil {
		return 0, err
	}
	return 8 * float64(after-before) / (to - from).Seconds(), nil
}

// sent is how many bytes have left this end by now.
func (e *End) sent(begin time.Time) (time.Duration, uint64, error) {
	link, err := e.link()
	at := time.Since(begin)
	if err != nil {
		return 0, 0, err
	}
	s := link.Attrs().Statistics
	if s == nil {
		return 0, 0, errors.New("the interface has no statistics")
	}
	return at, s.TxBytes, nil
}

// sleep waits for d, or fails when ctx is over.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
