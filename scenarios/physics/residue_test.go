package physics

import (
	"context"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
)

// What the kernel keeps when the program is done.
var _ = ginkgo.Describe("residue", func() {
	// lost cuts the path, and then the program closes.
	lost := func(cut act) act {
		return func(ctx context.Context, p *pair) error {
			if err := cut(ctx, p); err != nil {
				return err
			}
			return p.strike(func() error { closeHere(p); return nil })
		}
	}
	// full fills the peer's buffer, and then the program closes.
	full := func(_ context.Context, p *pair) error {
		if err := p.fill(); err != nil {
			return err
		}
		return p.strike(func() error { closeHere(p); return nil })
	}
	bye := strikes(func(p *pair) error { closeHere(p); return nil })
	var plain record.Settings
	try(
		trial{row: "residue", name: "U 4, DROP", lab: lab.BehindNAT, here: user(plain, 4), residue: leak.Unheard, do: lost(drop)},
		trial{row: "residue", name: "U 4, own link down", here: user(plain, 4), residue: leak.Unheard, do: lost(ownDown)},
		trial{row: "residue", name: "tcp_orphan_retries 1, DROP", lab: lab.BehindNAT, sysctls: sysctl("tcp_orphan_retries", 1), residue: leak.Unheard, do: lost(drop)},
		trial{row: "residue", name: "tcp_orphan_retries 3, DROP", lab: lab.BehindNAT, sysctls: sysctl("tcp_orphan_retries", 3), residue: leak.Unheard, do: lost(drop)},
		trial{row: "residue", name: "tcp_orphan_retries 3, own link down", sysctls: sysctl("tcp_orphan_retries", 3), residue: leak.Unheard, do: lost(ownDown)},
		trial{row: "residue", name: "M 1 s, DROP", lab: lab.BehindNAT, here: capped(plain, 1), residue: leak.Unheard, do: lost(drop)},
		trial{row: "residue", name: "M 1 s, own link down", here: capped(plain, 1), residue: leak.Unheard, do: lost(ownDown)},
		trial{row: "residue", name: "U 4, the peer reads nothing", here: user(plain, 4), deaf: true, residue: leak.Unread, do: full},
		trial{row: "residue", name: "M 1 s, the peer reads nothing", here: capped(plain, 1), deaf: true, residue: leak.Unread, do: full},
		trial{row: "residue", name: "FIN_WAIT2, tcp_fin_timeout 3", sysctls: sysctl("tcp_fin_timeout", 3), deaf: true, residue: leak.FinWait2, do: bye},
		trial{row: "residue", name: "LAST_ACK, tcp_orphan_retries 1, own link down", sysctls: sysctl("tcp_orphan_retries", 1), residue: leak.Unheard, do: func(ctx context.Context, p *pair) error {
			if err := p.there.CloseWrite(); err != nil {
				return err
			}
			time.Sleep(100 * time.Millisecond)
			return lost(ownDown)(ctx, p)
		}},
		trial{row: "residue", name: "FIN_WAIT2, default 60 s", deaf: true, residue: leak.FinWait2, do: bye, slow: true},
		trial{row: "residue", name: "TIME_WAIT 60 s", residue: leak.TimeWait, do: func(ctx context.Context, p *pair) error {
			if err := bye(ctx, p); err != nil {
				return err
			}
			time.Sleep(100 * time.Millisecond)
			return p.there.Close()
		}, slow: true},
		trial{row: "residue", name: "default, DROP", lab: lab.BehindNAT, residue: leak.Unheard, do: lost(drop), slow: true},
		trial{row: "residue", name: "default, the peer reads nothing", deaf: true, residue: leak.Unread, do: full, slow: true},
	)
})
