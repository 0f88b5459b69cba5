package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/probe"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/harness/target"
)

func TestMain(m *testing.M) {
	if err := lab.Sandbox(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// spec is a T that keeps how it failed.
type spec struct {
	*testing.T
	failure string
}

func (s *spec) Fatalf(format string, args ...any) {
	s.failure = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// failure is how the World's spec fails in do; "" if it does not.
func failure(w *World, do func()) string {
	s := w.t.(*spec)
	s.failure = ""
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	<-done
	return s.failure
}

// sleepers is a World whose server and client sleep, on a lab, with nothing begun.
func sleepers(t *testing.T) *World {
	t.Helper()
	return sleepersOn(t, lab.Direct)
}

func sleepersOn(t *testing.T, topology lab.Topology) *World {
	t.Helper()
	dir := t.TempDir()
	written, err := record.Append(dir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := topology()
	if err != nil {
		t.Fatal(err)
	}
	w := &World{t: &spec{T: t}, ctx: t.Context(), Lab: l, suite: &Suite{Dir: dir, record: written}, evidence: evidence{mode: EvidenceNone}}
	t.Cleanup(func() {
		if err := errors.Join(w.Server.Observer.Close(), w.Client.Observer.Close(), l.Close(), written.Close()); err != nil {
			t.Error(err)
		}
	})
	for role, at := range map[string]**Process{"server": &w.Server, "client": &w.Client} {
		if *at, err = sleeper(w, role); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// sleeper is a new process of a role, in the lab's place of the one before.
func sleeper(w *World, role string) (*Process, error) {
	p, err := w.Lab.Start(w.Lab.Server, lab.Command{Role: role, Argv: []string{"sleep", "1000"}, Log: filepath.Join(w.suite.Dir, role)})
	if err != nil {
		return nil, err
	}
	return w.adopt(w.ctx, &target.Instance{Process: p})
}

// crash ends a process as nobody of the harness does: it ends by itself.
func crash(p *Process) error {
	err := unix.Kill(p.PID(), unix.SIGUSR1)
	<-p.Exited()
	return err
}

// gone is what an observer says of a process that has lost its memory and can't be waited
// for yet: it begins to die as late as it can, when the error is asked.
type gone struct {
	*Process
	asked *bool
}

func (g gone) Error() string { return "observe " + g.Role + ": process is gone" }

func (g gone) Is(target error) bool {
	if target == probe.ErrGone && !*g.asked {
		*g.asked = true
		go func() { _ = crash(g.Process) }() // else the lab's end does
	}
	return target == probe.ErrGone
}

// Who is gone to its observer has died, also before it can be waited for, and also where
// a fault has ended its peer.
func TestGoneIsDead(t *testing.T) {
	dies := func(p *Process) error {
		return fmt.Errorf("take snapshot G: %w", gone{p, new(bool)})
	}
	for _, c := range []struct {
		name string
		err  func(*World) error
		want string
	}{
		{"the server, in the set-up", func(w *World) error { return dies(w.Server) }, "DEAD: the server ended by itself: signal: user defined signal 1: it printed nothing"},
		{"the client, in the set-up", func(w *World) error { return dies(w.Client) }, "DEAD: the client ended by itself: signal: user defined signal 1: it printed nothing"},
		{"the client, beside a server that the fault ended", func(w *World) error {
			w.round = &round{injected: true, fault: record.Fault{Ends: "server"}}
			if err := w.Server.Kill(); err != nil {
				return err
			}
			return dies(w.Client)
		}, "DEAD: the client ended by itself: signal: user defined signal 1: it printed nothing"},
		{"the client that came after the one that the fault ended", func(w *World) error {
			w.round = &round{injected: true, fault: record.Fault{Ends: "client"}}
			if err := errors.Join(w.Client.Kill(), w.Client.Observer.Close()); err != nil {
				return err
			}
			var err error
			if w.Client, err = sleeper(w, "client"); err != nil {
				return err
			}
			return errors.Join(crash(w.Client), errors.New("never seen"))
		}, "DEAD: the client ended by itself: signal: user defined signal 1: it printed nothing"},
		{"the client, before the fault that was to end it", func(w *World) error {
			w.round = &round{injected: true, fault: record.Fault{Ends: "client"}}
			if err := errors.Join(crash(w.Client), w.Client.Kill()); err != nil {
				return err
			}
			return errors.New("never seen")
		}, "DEAD: the client ended by itself: signal: user defined signal 1: it printed nothing"},
		{"only whom the fault ended", func(w *World) error {
			w.round = &round{injected: true, fault: record.Fault{Ends: "client"}}
			return errors.Join(w.Client.Kill(), errors.New("warm up: 502"))
		}, "INCONCLUSIVE: warm up: 502"},
		{"nobody", func(*World) error { return errors.New("warm up: 502") }, "INCONCLUSIVE: warm up: 502"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := sleepers(t)
			err := c.err(w)
			if got := failure(w, func() { w.abort(err) }); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// A schedule that ends a client does not hide that the client had ended by itself before.
func TestCrashBeforeItsKill(t *testing.T) {
	w := sleepersOn(t, lab.BehindNAT)
	w.round = &round{injected: true, fault: record.Fault{Ends: "client"}}
	if err := crash(w.Client); err != nil {
		t.Fatal(err)
	}
	s := fault.Schedule{Steps: []fault.Step{{Fault: "kill", At: "client", For: time.Millisecond}}}
	played, err := s.Play(w.ctx, w.Lab, w.revive)
	if err != nil || played[0].Bit || played[0].Err == nil {
		t.Fatalf("played %+v (%v)", played, err)
	}
	w.living()
	if want := "the client ended by itself: signal: user defined signal 1: it printed nothing"; w.round.outcome.Died != want {
		t.Errorf("%q, want %q", w.round.outcome.Died, want)
	}
}

// A client that had ended by itself is noted before another is started in its place.
func TestCrashBeforeItsSuccessor(t *testing.T) {
	for _, c := range []struct {
		name  string
		start func(*World) error
	}{
		{"after the heal", func(w *World) error { return w.returning(w.ctx) }},
		{"after a step of a schedule", func(w *World) error { return w.revive(w.ctx, "client") }},
		{"in the middle of the fault", func(w *World) error { w.Relogin(); return nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := sleepers(t)
			w.round = &round{injected: true, fault: record.Fault{Ends: "client"}}
			var err error
			if w.deployment, err = (&target.Target{}).Deploy(w.Lab, nil, t.TempDir(), t.TempDir()); err != nil {
				t.Fatal(err)
			}
			if err := crash(w.Client); err != nil {
				t.Fatal(err)
			}
			failed := failure(w, func() { err = c.start(w) }) // there is nothing to start
			if want := "the client ended by itself: signal: user defined signal 1: it printed nothing"; w.round.outcome.Died != want {
				t.Errorf("%q, want %q (%v, %s)", w.round.outcome.Died, want, err, failed)
			}
		})
	}
}

// Who is gone holds nothing; of whom it can't be seen what it holds, nobody says so.
func TestLeft(t *testing.T) {
	w := sleepers(t)
	w.round = &round{
		exposed: map[string]map[uint64]bool{"server": {1: true}, "client": {2: true, 3: true}},
		holders: map[string]int{"server": w.Server.PID(), "client": w.Client.PID()},
	}
	look := func() (n, all int, failed string) {
		failed = failure(w, func() { n, all = w.left() })
		return n, all, failed
	}
	if n, all, failed := look(); n != 0 || all != 3 || failed != "" {
		t.Errorf("%d of %d are held (%s)", n, all, failed)
	}
	dead := sleepers(t)
	if err := dead.Client.Kill(); err != nil {
		t.Fatal(err)
	}
	living := w.Client.Observer
	w.Client.Observer = dead.Client.Observer // gone to it, and not waited for
	n, all, failed := look()
	w.Client.Observer = living
	if n != 0 || all != 1 || failed != "" {
		t.Errorf("the client gone: %d of %d are held (%s)", n, all, failed)
	}
	if err := w.Server.Observer.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, failed := look(); !strings.HasPrefix(failed, "INCONCLUSIVE: look for exposed sockets: observe server ") {
		t.Errorf("the server can't be looked at: %q", failed)
	}
}

// What is given up between snapshot E and the fault is told of, and who holds it all or
// has come in between is not.
func TestLost(t *testing.T) {
	w := sleepers(t)
	at := func(p *Process, inodes ...uint64) *leak.Snapshots {
		s := &leak.Snapshots{E: record.Sample{PID: p.PID()}}
		for _, inode := range inodes {
			s.E.Sockets = append(s.E.Sockets, record.Socket{Inode: inode, State: "ESTABLISHED", Local: "10.2.0.1:4443", Remote: "10.2.0.2:40000"})
		}
		return s
	}
	for _, c := range []struct {
		name      string
		snapshots map[string]*leak.Snapshots
		want      string
	}{
		{"nothing to hold", map[string]*leak.Snapshots{"server": at(w.Server), "client": at(w.Client)}, ""},
		{"the client holds none of two", map[string]*leak.Snapshots{"server": at(w.Server), "client": at(w.Client, 2, 3)}, "the client gave up 2 of 2 connections before the fault"},
		{"another client held them", map[string]*leak.Snapshots{"client": at(w.Server, 2, 3)}, ""},
	} {
		w.round = &round{snapshots: c.snapshots}
		if w.lost(); w.round.outcome.Lost != c.want {
			t.Errorf("%s: %q, want %q", c.name, w.round.outcome.Lost, c.want)
		}
	}
}
