package scenarios

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/load"
	"github.com/halfopen/halfopen/harness/target"
)

// beyond is how many more come than a limit lets in.
const beyond = 60

// More come than there is room for, at the door, to the server and to one client. Who is in
// stays in and is served; who is not is told so at once, and costs nothing; and the room that
// others leave is given again.
var _ = Describe("Field: over-limit connects", Label("field", "limit"), func() {
	for _, door := range []struct {
		of   string
		port uint16
	}{{"sessions", tunnelPort}, {"HTTP visitors", httpPort}} {
		It("of "+door.of+" that never say who they are are refused at the door", func(ctx SpecContext) {
			w := harness.New(ctx, lab.BehindNAT)
			limit := w.Limits().Handshakes
			w.Needs(limit > 0 && w.Handshake() > 0, "a limit of handshakes, in number and time")

			w.Visit(visitors)
			w.Meddle("more at the door than may wait there", func(ctx context.Context) (string, bool, error) {
				return fairly(w)(besiege(ctx, w, door.port, limit))
			})
			w.Heal()

			w.ExpectService()
			w.ExpectClean(w.Server, w.Client)
		})
	}

	It("of clients are refused by the server until another has left", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)
		limit := w.Limits().Logins
		w.Needs(limit > 0, "a limit of logins")

		w.Visit(visitors)
		w.Meddle("more clients than the server takes", func(ctx context.Context) (string, bool, error) {
			return fairly(w)(overbook(ctx, w, limit))
		})
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})

	It("of visitors are refused by their client until others have left", Label("quick"), func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)
		limit := w.Limits().Visitors
		w.Needs(limit > 0, "a limit of one client's visitors")

		w.Visit(visitors)
		w.Meddle("more visitors than a client takes", func(ctx context.Context) (string, bool, error) {
			return fairly(w)(overrun(ctx, w, limit))
		})
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})
})

// fairly is what came of a deed, without blame where the machine stood still: who accepts
// late turns away late.
func fairly(w *harness.World) func(string, bool, error) (string, bool, error) {
	return func(saw string, bit bool, err error) (string, bool, error) {
		if err != nil && w.Waited() > 500*time.Millisecond {
			return fmt.Sprintf("%v; threads waited for %v", err, w.Waited()), false, nil
		}
		return saw, bit, err
	}
}

// besiege fills a door of the server with connections that say nothing, and knocks at it
// with more. It stays until the server has ended all of them.
func besiege(ctx context.Context, w *harness.World, port uint16, limit int) (string, bool, error) {
	address := netip.AddrPortFrom(w.Lab.VisitorSide, port).String()
	began := time.Now()
	var early atomic.Int64 // ended before anybody's time was over: turned away
	var late atomic.Int64  // not ended at all
	var all sync.WaitGroup
	for range limit + beyond {
		c, err := w.Lab.Visitor.DialContext(ctx, "tcp", address)
		switch {
		case errors.Is(err, syscall.ECONNRESET): // before we knew that we were connected
			early.Add(1)
			continue
		case err != nil:
			all.Wait()
			return "", false, err
		}
		all.Go(func() {
			defer c.Close()
			_ = c.SetReadDeadline(began.Add(w.Handshake() + 10*time.Second)) // fails on a closed connection, as the read does
			switch _, err := io.Copy(io.Discard, c); {
			case timeout(err):
				late.Add(1)
			case time.Since(began) < w.Handshake():
				early.Add(1)
			}
		})
	}
	const others = 8
	served := w.Attempt(others, load.TCP)
	all.Wait()
	saw := fmt.Sprintf("%d came, %d of them were turned away, and %d were left after their time; %d of %d by another door were served",
		limit+beyond, early.Load(), late.Load(), served, others)
	if early.Load() < beyond || late.Load() > 0 || served < others {
		return "", false, errors.New(saw)
	}
	return saw, early.Load() == beyond, nil
}

// overbook lets clients log in until the server is full, and then one more, who gets in as
// soon as another leaves.
func overbook(ctx context.Context, w *harness.World, limit int) (saw string, bit bool, err error) {
	var guests []*target.Instance
	defer func() {
		for _, g := range guests {
			err = errors.Join(err, g.Stop(context.WithoutCancel(ctx)))
		}
	}()
	login := func(n int, within time.Duration) (*target.Instance, error) {
		c := target.Newcomer
		if n > 1 {
			c = target.Neighbour(n - 1)
		}
		c.Role, c.Admin = fmt.Sprintf("guest-%d", n), fmt.Sprintf("127.0.0.1:%d", 6070+n)
		once, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		return w.Guest(once, c)
	}
	for n := 1; n < limit; n++ { // one is there
		g, err := login(n, 10*time.Second)
		if err != nil {
			return "", false, fmt.Errorf("only %d clients are let in: %w", n, err)
		}
		guests = append(guests, g)
	}
	g, refusal := login(limit, 3*time.Second)
	if refusal == nil {
		guests = append(guests, g)
		return "", false, fmt.Errorf("%d clients are let in, not %d", limit+1, limit)
	}
	if err := guests[0].Stop(ctx); err != nil {
		return "", false, err
	}
	guests = guests[1:]
	if g, err = login(limit, 10*time.Second); err != nil {
		return "", false, fmt.Errorf("nobody is let in after another has left: %w", err)
	}
	guests = append(guests, g)
	return fmt.Sprintf("%d clients were let in, and one more when another had left; before that: %v", limit, refusal), true, nil
}

// overrun fills a client of its own with visitors, and has more come to it.
func overrun(ctx context.Context, w *harness.World, limit int) (saw string, bit bool, err error) {
	small := target.Newcomer
	small.Role, small.Admin, small.Visitors = "small", "127.0.0.1:6063", limit
	guest, err := w.Guest(ctx, small)
	if err != nil {
		return "", false, err
	}
	var in []*load.Visitor
	leave := func() {
		for _, v := range in {
			_ = v.Close() // a wrong byte would have ended it before
		}
		in = nil
	}
	defer func() { leave(); err = errors.Join(err, guest.Stop(context.WithoutCancel(ctx))) }()
	visits, err := w.Visits(small, limit+beyond+1)
	if err != nil {
		return "", false, err
	}
	for i := range limit {
		v, err := load.Open(ctx, w.Lab.Visitor.DialContext, visits[i])
		if err != nil {
			return "", false, fmt.Errorf("only %d visitors of a client that takes %d are let in: %w", i, limit, err)
		}
		in = append(in, v)
	}
	reasons := map[load.Protocol]error{}
	for _, visit := range visits[limit : limit+beyond] {
		once, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := load.Once(once, w.Lab.Visitor.DialContext, visit)
		hung := once.Err() != nil
		cancel()
		switch {
		case err == nil:
			return "", false, fmt.Errorf("more than %d visitors are let in", limit)
		case hung:
			return "", false, fmt.Errorf("a visitor more than %d is neither served nor refused: %w", limit, err)
		}
		reasons[visit.Protocol] = err
	}
	const others = 12
	if served := w.Attempt(others); served < others {
		return "", false, fmt.Errorf("only %d of %d visitors of another client were served", served, others)
	}
	leave()
	if err := welcome(ctx, w, visits[limit+beyond]); err != nil {
		return "", false, fmt.Errorf("nobody is let in after others have left: %w", err)
	}
	return fmt.Sprintf("%d visitors were let in, %d refused, and one more let in when others had left: %v", limit, beyond, reasons), true, nil
}

// welcome waits until a visit is served: whoever has left is not gone at once.
func welcome(ctx context.Context, w *harness.World, visit load.Visit) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		err := load.Once(ctx, w.Lab.Visitor.DialContext, visit)
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}
