package physics

import (
	"context"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
)

var _ = ginkgo.Describe("H: a NAT that answers with RST", func() {
	reset := leak.Exposure{Class: record.Reset}
	rst := []string{"-j", "REJECT", "--reject-with", "tcp-reset"}
	try(
		trial{row: "H", name: "tcp-reset to the next probe", lab: lab.BehindNAT, here: ka, x: reset, do: forget(false, rst...)},
		trial{row: "H", name: "tcp-reset to the next heartbeat", lab: lab.BehindNAT, here: heartbeat(ka, 1, 0), x: reset, do: func(ctx context.Context, p *pair) error {
			p.keepWriting(time.Second)
			return forget(false, rst...)(ctx, p)
		}},
		trial{row: "H", name: "mapping deleted: the router's own RST", lab: lab.BehindNAT, here: ka, x: reset, do: forget(false)},
	)
})

var _ = ginkgo.Describe("I: a NAT that takes a connection up in its middle", func() {
	try(trial{row: "I", name: "mapping deleted, the inner side sends first", lab: lab.BehindNAT, here: ka, there: ka, x: leak.Exposure{Class: record.Spared}, watch: 8 * time.Second,
		do: then(forget(true), func(p *pair) { _, _ = p.there.Write([]byte{1}) })}) // one that fails is not heard
})

var _ = ginkgo.Describe("K: a flap", func() {
	survives := leak.Exposure{Class: record.Flap}
	busy := leak.Exposure{Class: record.Flap, Busy: true}
	often := func(next act) act {
		return func(ctx context.Context, p *pair) error {
			p.keepWriting(100 * time.Millisecond)
			return next(ctx, p)
		}
	}
	short := func(s record.Settings, busy bool) time.Duration {
		return time.Duration(leak.ShortOutage(s, busy) * float64(time.Second))
	}
	try(
		trial{row: "K", name: "0.8 (C-1) V, idle", here: ka, x: survives, watch: 8 * time.Second, do: flap(short(ka, false))},
		trial{row: "K", name: "the same, just before a probe", here: ka, x: survives, watch: 8 * time.Second, do: after(1900*time.Millisecond, flap(short(ka, false)))},
		trial{row: "K", name: "with U 5", here: user(ka, 5), x: survives, watch: 8 * time.Second, do: after(1900*time.Millisecond, flap(short(user(ka, 5), false)))},
		trial{row: "K", name: "with U 5, data in flight", here: user(ka, 5), x: busy, watch: 8 * time.Second, do: often(flap(short(user(ka, 5), true)))},
		trial{row: "K", name: "n 3, data in flight", sysctls: sysctl("tcp_retries2", 3), here: ka, x: busy, watch: 8 * time.Second, do: often(flap(short(record.Settings{Retries: 3}, true)))},
		trial{row: "K", name: "6 s > K: gone", here: ka, do: flap(6 * time.Second)},
	)
})
