package fault

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

// ends counts the packets with FIN or RST that come to a host from now on.
func ends(t *testing.T, h *lab.Host) func() uint64 {
	t.Helper()
	for _, flag := range []string{"FIN", "RST"} {
		if err := h.Rule("-I", "filter", "INPUT", "-p", "tcp", "--tcp-flags", flag, flag, "-j", "ACCEPT"); err != nil {
			t.Fatal(err)
		}
	}
	return func() uint64 {
		n, err := h.Hits("INPUT", "ACCEPT")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
}

// lose has a process on the client connected with the server and with the origin,
// does something to it, and returns the server's and the origin's connections.
func lose(t *testing.T, l *lab.Lab) (server, origin net.Conn) {
	t.Helper()
	accept := func(h *lab.Host, address string) (net.Listener, func() net.Conn) {
		ln, err := h.Listen(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		return ln, func() net.Conn {
			defer ln.Close()
			c, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			return c
		}
	}
	_, fromServer := accept(l.Server, l.ClientSide.String()+":4443")
	_, fromOrigin := accept(l.Origin, l.OriginIP.String()+":8001")
	start(t, l, l.Client, "client", fmt.Sprintf("exec sleep 1000 3<>/dev/tcp/%s/4443 4<>/dev/tcp/%s/8001", l.ClientSide, l.OriginIP))
	return fromServer(), fromOrigin()
}

func TestPowerLossIsSilent(t *testing.T) {
	for name, topology := range map[string]lab.Topology{"Direct": lab.Direct, "BehindNAT": lab.BehindNAT} {
		t.Run(name, func(t *testing.T) {
			l := build(t, topology)
			atServer, atOrigin := ends(t, l.Server), ends(t, l.Origin)
			for loss := range 2 { // a host may lose its power again
				server, origin := lose(t, l)
				bystander, far := connect(t, l)
				before := atServer() + atOrigin() // of the round before
				heal, witness := inject(t, PowerLoss{Role: "client"}, l)
				expect(t, witness, true)
				for _, conn := range []net.Conn{server, origin} {
					if _, err := conn.Write([]byte("x")); err != nil {
						t.Errorf("loss %d: write: %v", loss, err)
					}
				}
				if passes(t, bystander, far, 200*time.Millisecond) {
					t.Errorf("loss %d: a byte passes", loss)
				}
				expect(t, witness, true)
				healTwice(t, heal)
				expect(t, witness, false)
				again, _ := connect(t, l) // the path is back, and new connections have it
				// The dead process's FIN is sent again after 0.2, 0.4, 0.8 s; so is our byte,
				// which a host that had forgotten everything would answer with RST.
				for _, conn := range []net.Conn{server, origin} {
					if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
						t.Fatal(err)
					}
					if n, err := conn.Read(make([]byte, 1)); n > 0 || !timedOut(err) {
						t.Errorf("loss %d: %s was told: %v", loss, conn.LocalAddr(), err)
					}
				}
				if now := atServer() + atOrigin(); now != before {
					t.Errorf("loss %d: %d packets with FIN or RST came", loss, now-before)
				}
				again.Close()
				bystander.Close()
				if !eventually(func() bool { return atServer() > before }) {
					t.Fatal("the counter does not see the FIN of a new connection")
				}
			}
		})
	}
}

func timedOut(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}
