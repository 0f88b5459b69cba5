package fault

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

func TestTerminate(t *testing.T) {
	l := build(t, lab.Direct)
	start(t, l, l.Client, "client", "exec sleep 1000")
	_, witness := inject(t, Terminate{Role: "client"}, l)
	if saw := expect(t, witness, true); !strings.Contains(saw, "terminated") {
		t.Errorf("the witness saw %q", saw)
	}

	// One that does not listen is not waited for without end, and told of.
	ready := filepath.Join(t.TempDir(), "ready")
	start(t, l, l.Client, "client", "trap '' TERM; touch "+ready+"; while :; do sleep 0.1; done")
	if !eventually(func() bool { _, err := os.Stat(ready); return err == nil }) {
		t.Fatal("it does not start")
	}
	_, witness = inject(t, Terminate{Role: "client", Within: 300 * time.Millisecond}, l)
	if saw := expect(t, witness, true); !strings.Contains(saw, "still ran") || !l.Processes["client"].Running() {
		t.Errorf("the witness saw %q", saw)
	}

	// One that somebody else kills meanwhile has not been ended by SIGTERM.
	killed := time.AfterFunc(50*time.Millisecond, func() { _ = l.Processes["client"].Signal(syscall.SIGKILL) })
	defer killed.Stop()
	_, witness = inject(t, Terminate{Role: "client"}, l)
	if saw := expect(t, witness, false); !strings.Contains(saw, "killed") {
		t.Errorf("the witness saw %q", saw)
	}
}

func TestExhaustFDs(t *testing.T) {
	l := build(t, lab.Direct)
	// Only words of the shell itself: a child would need descriptors of its own.
	p := start(t, l, l.Server, "server", "while :; do if : 9</dev/null; then echo fine; else echo short; fi; for ((i=0;i<9999;i++)); do :; done; done")
	appears := func(word string) bool {
		t.Helper()
		return eventually(func() bool { tail := p.Tail(1); return len(tail) == 1 && tail[0] == word })
	}
	if !appears("fine") {
		t.Fatal("it cannot open a file")
	}
	heal, witness := inject(t, ExhaustFDs{Role: "server"}, l)
	expect(t, witness, true)
	if !appears("short") {
		t.Error("it opens what it likes")
	}
	expect(t, witness, true)
	healTwice(t, heal)
	expect(t, witness, false)
	if !appears("fine") {
		t.Error("it cannot open a file after the heal")
	}
	if _, _, err := (ExhaustFDs{Role: "nobody"}).Inject(t.Context(), l); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("error is %v", err)
	}
}
