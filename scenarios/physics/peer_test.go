package physics

import (
	"context"
	"time"

	"github.com/onsi/ginkgo/v2"
	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
)

var _ = ginkgo.Describe("A: the peer's process is killed", func() {
	closed := leak.Exposure{Class: record.Closed}
	try(
		trial{row: "A", name: "nothing unread: FIN", here: ka, x: closed, process: true, do: signal(unix.SIGKILL)},
		trial{row: "A", name: "bytes unread: RST", here: ka, x: closed, process: true, deaf: true, do: func(ctx context.Context, p *pair) error {
			p.write(1000)
			time.Sleep(100 * time.Millisecond)
			return signal(unix.SIGKILL)(ctx, p)
		}},
		trial{row: "A", name: "while this side writes", here: ka, x: closed, process: true, do: func(ctx context.Context, p *pair) error {
			p.keepWriting(10 * time.Millisecond)
			return signal(unix.SIGKILL)(ctx, p)
		}},
	)
})

var _ = ginkgo.Describe("E: the peer is stopped", func() {
	frozen := leak.Exposure{Class: record.Frozen}
	beats := func(next act) act {
		return func(ctx context.Context, p *pair) error {
			p.beat(time.Second, 3*time.Second)
			time.Sleep(2500 * time.Millisecond)
			return next(ctx, p)
		}
	}
	try(
		trial{row: "E", name: "keepalive and U: its kernel answers", here: user(ka, 5), x: frozen, process: true, do: signal(unix.SIGSTOP), watch: 16 * time.Second},
		trial{row: "E", name: "heartbeat 1 s, deadline 3 s", here: heartbeat(ka, 1, 3), x: frozen, process: true, do: beats(signal(unix.SIGSTOP))},
		trial{row: "E", name: "heartbeat 1 s, deadline 3 s, carrier lost", here: heartbeat(ka, 1, 3), echo: true, do: beats(peerDown)},
	)
})

var _ = ginkgo.Describe("F: the peer takes nothing more", func() {
	full := leak.Exposure{Class: record.Frozen, Full: true}
	fill := func(_ context.Context, p *pair) error { return p.fill() }
	stopped := func(ctx context.Context, p *pair) error {
		if err := p.process.Signal(unix.SIGSTOP); err != nil {
			return err
		}
		return p.fill()
	}
	// outBefore has the own link out for a moment, long before, with a byte written each 50 ms:
	// one of them, not the probe timer, is the first to go when the link is back.
	outBefore := func(ctx context.Context, p *pair) error {
		p.keepWriting(50 * time.Millisecond)
		if err := flap(1200*time.Millisecond)(ctx, p); err != nil {
			return err
		}
		time.Sleep(6 * time.Second) // what is measured: that the outage is not forgotten
		return p.fill()
	}
	// lost cuts the path 1.5 s after the buffer was full.
	lost := func(next act) act {
		return func(ctx context.Context, p *pair) error {
			if err := p.fill(); err != nil {
				return err
			}
			time.Sleep(time.Second)
			return next(ctx, p)
		}
	}
	silent := leak.Exposure{Full: true}
	read := func(s record.Settings, d float64) record.Settings { s.ReadDeadline = d; return s }
	try(
		trial{row: "F", name: "U 4, it reads nothing", here: user(ka, 4), x: full, deaf: true, do: fill},
		trial{row: "F", name: "U 4, it reads nothing, and the own link was out 7 s before", here: user(ka, 4), x: full, deaf: true, do: outBefore},
		trial{row: "F", name: "U 4, it is stopped", here: user(ka, 4), x: full, process: true, do: stopped},
		trial{row: "F", name: "no U, it reads nothing", here: ka, x: full, deaf: true, do: fill, watch: 16 * time.Second},
		trial{row: "F", name: "write deadline 2 s", here: record.Settings{Flush: 2}, x: full, deaf: true, do: func(_ context.Context, p *pair) error {
			if err := p.fill(); err != nil {
				return err
			}
			return p.here.SetWriteDeadline(p.at.Add(2 * time.Second))
		}},
		trial{row: "G", name: "U 4, DROP", lab: lab.BehindNAT, here: user(ka, 4), x: silent, deaf: true, do: lost(drop)},
		trial{row: "G", name: "n 3, M 1 s, DROP", lab: lab.BehindNAT, sysctls: sysctl("tcp_retries2", 3), here: capped(ka, 1), x: silent, deaf: true, do: lost(drop)},
		trial{row: "G", name: "n 3, M 1 s, own link down", sysctls: sysctl("tcp_retries2", 3), here: capped(ka, 1), x: silent, deaf: true, do: lost(ownDown)},
		trial{row: "G", name: "n 15, M 1 s, DROP", lab: lab.BehindNAT, here: capped(ka, 1), x: silent, deaf: true, do: lost(drop)},
		trial{row: "G", name: "n 3, M 1 s, it was stopped", lab: lab.BehindNAT, sysctls: sysctl("tcp_retries2", 3), here: capped(ka, 1), x: silent, process: true, do: func(ctx context.Context, p *pair) error {
			if err := p.process.Signal(unix.SIGSTOP); err != nil {
				return err
			}
			return lost(drop)(ctx, p)
		}},
		trial{row: "G", name: "n 15, M 120 s, DROP", lab: lab.BehindNAT, here: ka, x: silent, deaf: true, do: lost(drop), slow: true},
		trial{row: "read", name: "read deadline 4 s, whatever the kernel does", here: read(ka, 4), x: full, deaf: true, do: func(_ context.Context, p *pair) error {
			if err := p.fill(); err != nil {
				return err
			}
			return p.here.SetReadDeadline(p.at.Add(4 * time.Second))
		}},
	)
})

var _ = ginkgo.Describe("J: one direction is closed", func() {
	half := func(p *pair) error { return p.here.CloseWrite() }
	wait := func(_ context.Context, p *pair) error { return p.strike(func() error { return half(p) }) }
	cut := func(first func(*pair) error) act {
		return func(ctx context.Context, p *pair) error {
			if err := first(p); err != nil {
				return err
			}
			time.Sleep(100 * time.Millisecond)
			return peerDown(ctx, p)
		}
	}
	closed := leak.Exposure{Class: record.HalfClosed}
	try(
		trial{row: "J", name: "the peer lives: FIN_WAIT2 for ever", here: ka, x: closed, sysctls: sysctl("tcp_fin_timeout", 3), deaf: true, do: wait, watch: 16 * time.Second},
		trial{row: "J", name: "FIN_WAIT2 held here, carrier lost", here: ka, deaf: true, do: cut(half)},
		trial{row: "J", name: "half-open, U 5, carrier lost", here: user(ka, 5), deaf: true, do: cut(half)},
	)
})
