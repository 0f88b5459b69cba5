package fault

import (
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

func TestFreeze(t *testing.T) {
	l := build(t, lab.Direct)
	p := start(t, l, l.Client, "client", "while :; do echo tick; sleep 0.01; done")
	ticks := func() int { return len(p.Tail(1 << 20)) }
	if !eventually(func() bool { return ticks() > 2 }) {
		t.Fatal("the process does not run")
	}
	heal, witness := inject(t, Freeze{Role: "client"}, l)
	expect(t, witness, true)
	before := ticks()
	time.Sleep(200 * time.Millisecond) // what must not happen needs some time to happen in
	if now := ticks(); now != before {
		t.Errorf("a frozen process wrote %d lines", now-before)
	}
	expect(t, witness, true)
	healTwice(t, heal)
	if !eventually(func() bool { return ticks() > before }) {
		t.Error("it does not go on after the heal")
	}
	expect(t, witness, false)

	inject(t, Freeze{Role: "client"}, l)
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	expect(t, witness, false)
	healTwice(t, heal) // a process that is gone needs no thaw
}

// A frozen process's kernel answers for it.
func TestFrozenPeerLooksAlive(t *testing.T) {
	l := build(t, lab.Direct)
	ln, err := l.Server.Listen(t.Context(), l.ClientSide.String()+":4443")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	start(t, l, l.Client, "client", "exec sleep 1000 3<>/dev/tcp/"+l.ClientSide.String()+"/4443")
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	heal, witness := inject(t, Freeze{Role: "client"}, l)
	for range 10 {
		if _, err := conn.Write(make([]byte, 100)); err != nil {
			t.Fatalf("write to a frozen peer: %v", err)
		}
	}
	expect(t, witness, true)
	healTwice(t, heal)
}
