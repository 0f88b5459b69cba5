package fault

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

// chatter has a connection send until it fails, once the router has forgotten it.
func chatter(t *testing.T, send func([]byte) (int, error)) <-chan struct{} {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = eventually(func() bool { _, err := send([]byte("x")); return err != nil })
	}()
	return done
}

func TestRebindNAT(t *testing.T) {
	for _, first := range []string{"client", "server"} {
		t.Run(first+" sends", func(t *testing.T) {
			l := build(t, lab.BehindNAT)
			client, server := connect(t, l)
			send := client.Write
			if first == "server" {
				send = server.Write
			}
			sending := chatter(t, send)
			heal, witness := inject(t, RebindNAT{}, l)
			<-sending
			expect(t, witness, true)
			if !told(t, client) || !told(t, server) {
				t.Error("an end that sends is not told")
			}
			connect(t, l) // a new one goes through
			expect(t, witness, true)
			healTwice(t, heal)
		})
	}
	l := build(t, lab.BehindNAT)
	if _, _, err := (RebindNAT{}).Inject(t.Context(), l); err == nil {
		t.Error("a NAT without mappings was rebound")
	}
}

func TestNATLife(t *testing.T) {
	l := build(t, lab.BehindNAT)
	const own = "7777" // seconds; a router need not have the kernel's default
	if err := l.Router.Sysctl(lifeKey, own); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if got := life(t, l); got != own {
			t.Errorf("the life is %s s after the heal, and was %s s", got, own)
		}
	}()
	client, server := connect(t, l)
	heal, witness := inject(t, NATLife{Life: 2 * time.Second}, l)
	for range 6 { // it is never silent for that long
		time.Sleep(500 * time.Millisecond)
		if !passes(t, client, server, time.Second) {
			t.Fatal("a byte does not pass")
		}
	}
	expect(t, witness, true)
	healTwice(t, heal)
	expect(t, witness, false)

	began := time.Now()
	if !passes(t, client, server, time.Second) {
		t.Fatal("a byte does not pass after the heal")
	}
	// The kernel gives an entry its life with its next packet.
	go func() { time.Sleep(50 * time.Millisecond); _, _ = client.Write([]byte("x")) }()
	heal, witness = inject(t, NATLife{Life: time.Second, Outlived: true}, l)
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("the mapping was gone after %v", took)
	}
	expect(t, witness, true)
	if err := server.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); err != nil { // that byte
		t.Error(err)
	}
	if passes(t, client, server, 300*time.Millisecond) || passes(t, server, client, 300*time.Millisecond) {
		t.Error("a byte passes")
	}
	healTwice(t, heal)
}

// life is how long the router keeps an idle connection, in seconds.
func life(t *testing.T, l *lab.Lab) string {
	t.Helper()
	var text []byte
	err := l.Router.Do(func() (err error) {
		text, err = os.ReadFile("/proc/sys/" + strings.ReplaceAll(lifeKey, ".", "/"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func TestRebootRouter(t *testing.T) {
	l := build(t, lab.BehindNAT)
	client, server := connect(t, l)
	sending := chatter(t, client.Write)
	heal, witness := inject(t, RebootRouter{For: 300 * time.Millisecond}, l)
	<-sending
	expect(t, witness, true)
	if !told(t, client) || !told(t, server) {
		t.Error("an end that sends is not told")
	}
	connect(t, l)
	healTwice(t, heal)
	connect(t, l)
}
