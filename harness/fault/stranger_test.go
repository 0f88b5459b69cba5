package fault

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

func TestStrangers(t *testing.T) {
	l := build(t, lab.Direct)
	ln, err := l.Server.Listen(t.Context(), "0.0.0.0:4443")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for manners, text := range words {
		heal, witness := inject(t, Strangers{Port: 4443, Manners: manners, Number: 3}, l)
		expect(t, witness, true)
		var conns []net.Conn
		for range 3 {
			c, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			conns = append(conns, c)
		}
		healTwice(t, heal) // and they are gone, having said their words
		for _, c := range conns {
			if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(c); err != nil || string(got) != text {
				t.Errorf("a stranger that %s: got %q, %v", manners, got, err)
			}
		}
	}
	for _, wrong := range []Strangers{{Port: 4443, Manners: "sings"}, {Port: 4444, Manners: Mute}} {
		if _, _, err := wrong.Inject(t.Context(), l); err == nil {
			t.Errorf("%+v was injected", wrong)
		}
	}
}

func TestRefuseDials(t *testing.T) {
	l := build(t, lab.BehindNAT)
	near, far := over(t, l, lab.AtOrigin)
	heal, witness := inject(t, RefuseDials{At: lab.AtOrigin}, l)
	expect(t, witness, true)
	if _, err := l.Client.DialContext(t.Context(), "tcp", l.OriginIP.String()+":8001"); !refusedByPeer(err) {
		t.Errorf("dial: %v", err)
	}
	if !passes(t, near, far, 5*time.Second) || !passes(t, far, near, 5*time.Second) {
		t.Error("a connection that was there is not spared")
	}
	healTwice(t, heal)
	expect(t, witness, false)
	over(t, l, lab.AtOrigin)
}
