package fault

import (
	"errors"
	"net"
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
			for _, c := range []net.Conn{client, server} { // nobody else sends for it
				if err := c.(*net.TCPConn).SetKeepAlive(false); err != nil {
					t.Fatal(err)
				}
			}
			sending := chatter(t, func(b []byte) (int, error) {
				if m, err := l.Router.Established(); err != nil || len(m) > 0 {
					return 0, err // an acknowledgement would come by the old port
				}
				return send(b)
			})
			heal, witness := inject(t, RebindNAT{}, l)
			expect(t, witness, true)
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
		if got, err := life(l); err != nil || got != own {
			t.Errorf("the life is %s s after the heal, and was %s s (%v)", got, own, err)
		}
	}()
	for tries := 1; !spared(t, l); tries++ {
		if tries == 4 {
			t.Fatal("this machine was never in time with a byte")
		}
	}

	client, server := connect(t, l)
	began := time.Now()
	// The kernel gives an entry its life with its next packet.
	sent := make(chan error, 1)
	go func() {
		if !eventually(func() bool { now, err := life(l); return err == nil && now == "1" }) {
			sent <- errors.New("the life was not set")
			return
		}
		_, err := client.Write([]byte("x"))
		sent <- err
	}()
	heal, witness := inject(t, NATLife{Life: time.Second, Outlived: true}, l)
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("the mapping was gone after %v", took)
	}
	expect(t, witness, true)
	if err := errors.Join(<-sent, server.SetReadDeadline(time.Now().Add(patience(true)))); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); err != nil { // that byte
		t.Error(err)
	}
	if passes(t, client, server, patience(false)) || passes(t, server, client, patience(false)) {
		t.Error("a byte passes")
	}
	healTwice(t, heal)
}

// spared has a connection outlive the router's patience by speaking in time, and fails the
// test if it does not. It says no if the connection was not in time: then it may be lost.
func spared(t *testing.T, l *lab.Lab) bool {
	t.Helper()
	client, server := connect(t, l)
	const patient = 2 * time.Second
	heal, witness := inject(t, NATLife{Life: patient}, l)
	defer healTwice(t, heal)
	var before time.Time // the last byte left
	for n := range 6 {
		time.Sleep(500 * time.Millisecond)
		last := before
		before = time.Now()
		if _, err := client.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		silent := time.Since(last)
		if err := server.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, err := server.Read(make([]byte, 1))
		switch {
		case err == nil:
		case n > 0 && silent >= patient:
			return false
		default:
			t.Fatalf("byte %d does not pass, %v after the one before: %v", n, silent, err)
		}
	}
	expect(t, witness, true)
	healTwice(t, heal)
	expect(t, witness, false)
	if !passes(t, client, server, patience(true)) {
		t.Fatal("a byte does not pass after the heal")
	}
	return true
}

// life is how long the router keeps an idle connection, in seconds.
func life(l *lab.Lab) (string, error) {
	var text []byte
	err := l.Router.Do(func() (err error) {
		text, err = os.ReadFile("/proc/sys/" + strings.ReplaceAll(lifeKey, ".", "/"))
		return err
	})
	return strings.TrimSpace(string(text)), err
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
