package scenarios

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/load"
	"github.com/halfopen/halfopen/harness/record"
)

// The client's machine hangs while visitors come, and then its process is killed: what they
// asked for was never answered.
var _ = Describe("Field: client frozen while opens are pending, then killed", Label("field", "process"), func() {
	It("leaves nothing of the opens at the server", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)

		w.Visit(visitors)
		endure(w, fault.Sequence{&opens{world: w, n: visitors}, fault.Kill{Role: "client"}})
	})
})

// opens are visitors who come while the client is frozen, and are answered by nobody. They do not leave before the spec
// ends: it is the server that has to let go of them.
type opens struct {
	world *harness.World
	n     int
	conns []net.Conn
}

// Describe implements fault.Fault.
func (o *opens) Describe() record.Fault {
	return record.Fault{Name: fmt.Sprintf("client frozen, %d opens", o.n)}
}

// Inject implements fault.Fault.
func (o *opens) Inject(ctx context.Context, on *lab.Lab) (fault.Heal, fault.Witness, error) {
	DeferCleanup(func() {
		for _, c := range o.conns {
			_ = c.Close() // the server has ended it already
		}
	})
	thaw, frozen, err := fault.Freeze{Role: "client"}.Inject(ctx, on)
	if err != nil {
		return nil, nil, err
	}
	fail := func(err error) (fault.Heal, fault.Witness, error) {
		return nil, nil, errors.Join(err, thaw(context.WithoutCancel(ctx)))
	}
	for i := range o.n {
		protocol := []load.Protocol{load.HTTP, load.TCP}[i%2]
		route, ok, err := o.world.Route(protocol)
		if err != nil || !ok {
			return fail(errors.Join(err, fmt.Errorf("the target has no way for %s", protocol)))
		}
		conn, err := on.Visitor.DialContext(ctx, "tcp", route.Address)
		if err != nil {
			return fail(err)
		}
		o.conns = append(o.conns, conn)
		if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", route.Host); err != nil {
			return fail(err)
		}
	}
	answered, err := o.answered()
	if err != nil {
		return fail(err)
	}
	saw, bit, err := frozen(ctx) // now: soon it is dead
	if err != nil {
		return fail(err)
	}
	saw = fmt.Sprintf("%s; %d visitors came, %d of them were answered", saw, o.n, answered)
	return thaw, func(context.Context) (string, bool, error) { return saw, bit && answered == 0, nil }, nil
}

// answered counts those that hear anything within the time in which a client that lives
// answers.
func (o *opens) answered() (n int, err error) {
	end := time.Now().Add(300 * time.Millisecond)
	for _, c := range o.conns {
		if err := c.SetReadDeadline(end); err != nil {
			return n, err
		}
		if got, err := c.Read(make([]byte, 1)); got > 0 || err != nil && !timeout(err) {
			n++
		}
	}
	return n, nil
}

func timeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}
