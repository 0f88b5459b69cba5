package fault

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

func TestSequence(t *testing.T) {
	l := build(t, lab.BehindNAT)
	connect(t, l)
	p, err := l.Start(l.Client, lab.Command{Role: "client", Argv: []string{"sleep", "1000"}, Log: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	s := Sequence{ExpireNAT{Silent: true}, Kill{Role: "client"}}
	d := s.Describe()
	if d.Class != record.Closed || d.Place != "client" || d.Ends != "client" || d.Name != "NAT expiry (silent), then kill -9" {
		t.Errorf("described as %+v", d)
	}
	heal, witness := inject(t, s, l)
	expect(t, witness, true)
	if p.Running() {
		t.Error("the second fault did not happen")
	}
	healTwice(t, heal)
	if has, err := l.Router.HasRule("filter", "INPUT", unknown("DROP")...); err != nil || has {
		t.Errorf("the first fault is not healed (%v, %v)", has, err)
	}
	// One that fails takes back what went before it.
	_, _, err = Sequence{ExpireNAT{Silent: true}, Kill{Role: "client"}}.Inject(t.Context(), l)
	if err == nil || !strings.Contains(err.Error(), "ended by itself") {
		t.Fatalf("error is %v", err)
	}
	if has, err := l.Router.HasRule("filter", "INPUT", unknown("DROP")...); err != nil || has {
		t.Errorf("what went before the failure is not healed (%v, %v)", has, err)
	}
}

func TestAs(t *testing.T) {
	kill := Kill{Role: "client"}
	if d := (As{Fault: kill}).Describe(); d.Name != "kill -9" || d.Class != record.Closed || d.Place != "client" || d.Ends != "client" {
		t.Errorf("described as %+v", d)
	}
	as := As{Fault: kill, Class: record.Silent, Place: "server"}
	if d := as.Describe(); d.Class != record.Silent || d.Place != "server" || d.Ends != "client" {
		t.Errorf("described as %+v", d)
	}
	l := build(t, lab.Direct)
	start(t, l, l.Client, "client", "exec sleep 1000")
	_, witness := inject(t, as, l)
	expect(t, witness, true)
}
