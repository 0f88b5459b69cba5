package scenarios

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/lab"
)

// Somebody looks what there is.
var _ = Describe("Field: port scan", Label("quick", "field", "stranger"), func() {
	It("leaves nothing", func(ctx SpecContext) {
		w := harness.New(ctx, lab.Direct)

		w.Visit(visitors)
		w.Meddle("port scan", func(ctx context.Context) (string, bool, error) {
			open, closed := 0, 0
			for port := 1; port < 10000; port++ {
				conn, err := w.Lab.Visitor.DialContext(ctx, "tcp", netip.AddrPortFrom(w.Lab.VisitorSide, uint16(port)).String())
				switch {
				case err == nil:
					open++
					if err := conn.Close(); err != nil {
						return "", false, err
					}
				case errors.Is(err, syscall.ECONNREFUSED):
					closed++
				default:
					return "", false, err
				}
			}
			return fmt.Sprintf("%d ports are open, %d are not", open, closed), open >= 3, nil
		})
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})
})

// garbage is what comes to the port of sessions from who knows not what is there, or does.
var garbage = []struct{ what, text string }{
	{"a request of HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
	{"noise", strings.Repeat("\x93\xa7\x00\xff", 4096)},
	{"a TLS record too long", "\x16\x03\x01\xff\xff" + strings.Repeat("x", 70000)},
}

var _ = Describe("Field: garbage towards the session port", Label("quick", "field", "stranger"), func() {
	It("is ended by the server, before a handshake and after it", func(ctx SpecContext) {
		w := harness.New(ctx, lab.Direct)

		w.Visit(visitors)
		w.Meddle("garbage towards the session port", func(ctx context.Context) (string, bool, error) {
			n := 0
			for range 20 {
				for i := range garbage {
					for _, encrypted := range []bool{false, true} {
						if err := garbled(ctx, w.Lab, garbage[i].text, encrypted); err != nil {
							return "", false, fmt.Errorf("%s (in TLS: %v): %w", garbage[i].what, encrypted, err)
						}
						n++
					}
				}
			}
			return fmt.Sprintf("%d connections were ended by the server", n), true, nil
		})
		w.Heal()

		w.ExpectService()
		w.ExpectClean(w.Server, w.Client)
	})
})

// garbled says garbage to the session port, and waits until the server has ended that.
func garbled(ctx context.Context, l *lab.Lab, text string, encrypted bool) error {
	conn, err := l.Visitor.DialContext(ctx, "tcp", netip.AddrPortFrom(l.VisitorSide, tunnelPort).String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if encrypted {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a stranger trusts nobody
	}
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err = io.WriteString(conn, text); err == nil {
		_, err = io.Copy(io.Discard, conn)
	}
	if timeout := (interface{ Timeout() bool })(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("the server has not ended it after 10 s")
	}
	return nil // by FIN or RST
}
