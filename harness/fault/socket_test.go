package fault

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

func TestDestroySockets(t *testing.T) {
	for _, at := range []lab.Place{lab.AtServer, lab.AtClient, lab.AtVisitor, lab.AtOrigin} {
		t.Run(string(at), func(t *testing.T) {
			l := build(t, lab.BehindNAT)
			near, far := over(t, l, at)
			heal, witness := inject(t, DestroySockets{At: at}, l)
			expect(t, witness, true)
			aborted := 0
			for _, c := range []net.Conn{near, far} {
				if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
					t.Fatal(err)
				}
				_, err := c.Read(make([]byte, 1))
				if errors.Is(err, syscall.ECONNABORTED) {
					aborted++
				} else if !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("read: %v", err)
				}
			}
			if aborted != 1 {
				t.Errorf("%d ends got ECONNABORTED, want the owner", aborted)
			}
			healTwice(t, heal)
			over(t, l, at)
		})
	}
	l := build(t, lab.Direct)
	_, witness := inject(t, DestroySockets{At: lab.AtServer}, l)
	expect(t, witness, false) // there was none
}
