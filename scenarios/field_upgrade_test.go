package scenarios

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/load"
)

// The local service answers an upgrade with something else, or breaks off.
var _ = Describe("Field: bad upgrade answers", Label("quick", "field", "origin"), func() {
	It("reach an end, and leave nothing", func(ctx SpecContext) {
		w := harness.New(ctx, lab.BehindNAT)

		w.Visit(visitors)
		w.Meddle("bad upgrade answers", func(ctx context.Context) (string, bool, error) {
			n, said := 0, map[string]int{}
			for range 5 {
				for i := range load.BadUpgrades {
					line, err := misled(ctx, w, i)
					if err != nil {
						return "", false, fmt.Errorf("answer %d: %w", i, err)
					}
					said[line]++
					n++
				}
			}
			return fmt.Sprintf("%d upgrades came to an end: %v", n, said), true, nil
		})
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})
})

// misled asks for an upgrade that is answered badly, and gives the first line of what the
// visitor got when that has come to its end.
func misled(ctx context.Context, w *harness.World, answer int) (string, error) {
	route, ok, err := w.Route(load.WebSocket)
	if err != nil || !ok {
		return "", errors.Join(err, errors.New("the target has no way for a WebSocket"))
	}
	conn, err := w.Lab.Visitor.DialContext(ctx, "tcp", route.Address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	// HTTP/1.1 keeps a connection whose answer is whole: this one asks for its end.
	_, err = fmt.Fprintf(conn, "GET /?upgrade=%d HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", answer, route.Host)
	if err != nil {
		return "", err
	}
	got, err := io.ReadAll(conn)
	if timeout := (interface{ Timeout() bool })(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return "", fmt.Errorf("no end after 10 s; until then %q", got)
	}
	line, _, _ := strings.Cut(string(got), "\r\n")
	return line, nil
}
