package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

func TestMain(m *testing.M) {
	if err := lab.Sandbox(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

func build(t *testing.T, topology lab.Topology) *lab.Lab {
	t.Helper()
	l, err := topology()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// connect joins the client with the server through the lab, and has sent a byte.
func connect(t *testing.T, l *lab.Lab) (client, server net.Conn) {
	t.Helper()
	return join(t, l.Client, l.Server, l.ClientSide)
}

// join connects one host to another, which listens at ip, and has sent a byte each
// way.
func join(t *testing.T, from, to *lab.Host, ip netip.Addr) (near, far net.Conn) {
	t.Helper()
	ln, err := to.Listen(t.Context(), netip.AddrPortFrom(ip, 4443).String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := ln.Accept()
		if err == nil {
			accepted <- c
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if near, err = from.DialContext(ctx, "tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	select {
	case far = <-accepted:
	case <-ctx.Done():
		t.Fatal("not accepted")
	}
	t.Cleanup(func() { far.Close() })
	if !passes(t, near, far, 5*time.Second) || !passes(t, far, near, 5*time.Second) {
		t.Fatal("a byte does not pass before the fault")
	}
	return near, far
}

// passes says whether a byte from one end reaches the other in time.
func passes(t *testing.T, from, to net.Conn, within time.Duration) bool {
	t.Helper()
	if err := to.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	if _, err := from.Write([]byte("x")); err != nil {
		return false
	}
	_, err := to.Read(make([]byte, 1))
	return err == nil
}

// patience is how long a byte is waited for: if it is to pass, for as long as a slow machine
// may need.
func patience(passes bool) time.Duration {
	if passes {
		return 10 * time.Second
	}
	return 300 * time.Millisecond
}

// drain throws away what comes on a connection, so that its peer can go on sending; the
// function that it returns closes it.
func drain(c net.Conn) (closed func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, c)
	}()
	return func() { _ = c.Close(); <-done }
}

func inject(t *testing.T, f Fault, l *lab.Lab) (Heal, Witness) {
	t.Helper()
	heal, witness, err := f.Inject(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	if d := f.Describe(); d.Name == "" || d.Place == "" || d.Class == "" {
		t.Errorf("%+v describes itself as %+v", f, d)
	}
	return heal, witness
}

func expect(t *testing.T, witness Witness, want bool) (saw string) {
	t.Helper()
	saw, bit, err := witness(t.Context())
	if err != nil || bit != want {
		t.Fatalf("witness saw %q (bit %v, %v), want bit %v", saw, bit, err, want)
	}
	return saw
}

func healTwice(t *testing.T, heal Heal) {
	t.Helper()
	for range 2 {
		if err := heal(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
}

// start runs a script on a host, in the given role.
func start(t *testing.T, l *lab.Lab, h *lab.Host, role, script string) *lab.Process {
	t.Helper()
	p, err := l.Start(h, lab.Command{Role: role, Argv: []string{"bash", "-c", script}, Log: filepath.Join(t.TempDir(), role)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// eventually says whether ok comes to hold.
func eventually(ok func() bool) bool {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return false
}

func TestKill(t *testing.T) {
	l := build(t, lab.Direct)
	p := start(t, l, l.Client, "client", "exec sleep 1000")
	_, witness := inject(t, Kill{Role: "client"}, l)
	expect(t, witness, true)
	if p.Running() {
		t.Error("the process runs after kill -9")
	}
	if _, _, err := (Kill{Role: "client"}).Inject(t.Context(), l); err == nil || !strings.Contains(err.Error(), "ended by itself") {
		t.Errorf("a dead process was killed: %v", err)
	}
}

func TestWrongPlaceIsNamed(t *testing.T) {
	l := build(t, lab.Direct)
	for _, c := range []struct {
		f    Fault
		says string
	}{
		{Unplug{At: "moon"}, "moon"},
		{Kill{Role: "nobody"}, "nobody"},
		{ExpireNAT{Silent: true}, "no router"},
		{ExpireNAT{}, "no router"},
		{Flap{At: "moon", For: time.Second}, "moon"},
		{Flap{At: lab.AtRouterInner, For: time.Second}, "client, origin, server, visitor"},
		{Flap{At: lab.AtClient}, "For"},
		{Freeze{Role: "nobody"}, "nobody"},
		{PowerLoss{Role: "nobody"}, "nobody"},
	} {
		if _, _, err := c.f.Inject(t.Context(), l); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: error is %v, want it to say %q", c.f, err, c.says)
		}
	}
}

// refusedByPeer says whether a dial was answered with RST: packets pass both ways.
func refusedByPeer(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
