package fault

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

func all(record.Fault) bool { return true }

func TestDrawFollowsFromTheSeed(t *testing.T) {
	a, b := Draw(7, 30, all), Draw(7, 30, all)
	if !reflect.DeepEqual(a, b) {
		t.Errorf("the same seed gave two schedules:\n%v\n%v", a, b)
	}
	if c := Draw(8, 30, all); reflect.DeepEqual(a.Steps, c.Steps) {
		t.Error("two seeds gave the same schedule")
	}
}

// Whatever is drawn can be played, and ends no server.
func TestDrawnSchedulesAreSound(t *testing.T) {
	drawn, overlaps := map[string]bool{}, 0
	for seed := range uint64(300) {
		n := 1 + int(seed%40)
		s := Draw(seed, n, all)
		if len(s.Steps) != n {
			t.Fatalf("seed %d: %d steps of %d", seed, len(s.Steps), n)
		}
		if err := s.Check(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		faults, err := s.Faults()
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range faults {
			drawn[s.Steps[i].Fault] = true
			if f.Describe().Ends == "server" {
				t.Errorf("seed %d ends the server", seed)
			}
			if i > 0 && s.Steps[i].Start < s.Steps[i-1].End() {
				overlaps++
			}
		}
	}
	for name, k := range vocabulary {
		if drawn[name] != (k.draw != nil) {
			t.Errorf("%s: drawn %v", name, drawn[name])
		}
	}
	if overlaps < 1000 {
		t.Errorf("%d overlaps in 300 schedules", overlaps)
	}
}

func TestDrawHeedsTheTarget(t *testing.T) {
	s := Draw(3, 20, func(f record.Fault) bool { return f.Class == record.Reset })
	faults, err := s.Faults()
	if err != nil || len(faults) != 20 {
		t.Fatalf("%d faults, %v", len(faults), err)
	}
	for _, f := range faults {
		if f.Describe().Class != record.Reset {
			t.Errorf("%+v was drawn", f.Describe())
		}
	}
	if s := Draw(3, 20, func(record.Fault) bool { return false }); len(s.Steps) != 0 {
		t.Errorf("drew %v from nothing", s)
	}
}

func TestScheduleIsStoredAndRead(t *testing.T) {
	s := Draw(7, 30, all)
	file := filepath.Join(t.TempDir(), "schedule.yaml")
	if err := s.Write(file); err != nil {
		t.Fatal(err)
	}
	again, err := ReadSchedule(file)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(s, again) {
		t.Errorf("stored\n%+v\nread\n%+v", s, again)
	}
	asJSON := `{"seed": 7, "steps": [{"fault": "unplug", "at": "visitor", "start": "1.2s", "for": "800ms"}]}`
	want := Schedule{Seed: 7, Steps: []Step{{Fault: "unplug", At: "visitor", Start: 1200 * time.Millisecond, For: 800 * time.Millisecond}}}
	if s, err := ParseSchedule([]byte(asJSON)); err != nil || !reflect.DeepEqual(s, want) {
		t.Errorf("read %+v, %v", s, err)
	}
}

func TestBadSchedulesAreNamed(t *testing.T) {
	for _, c := range []struct{ text, says string }{
		{``, "it has no steps"},
		{`steps: []`, "it has no steps"},
		{`steps: 5`, "line 1: cannot unmarshal !!int `5` as steps"},
		{`steps: [`, "line 1"},
		{`nonsense: 1`, "unknown key nonsense; want seed, steps"},
		{`steps: [{fault: unplug, place: client}]`, "unknown key place; want fault, at"},
		{`steps: [{fault: unplugg, at: client, start: 0s, for: 1s}]`, `step 1: unknown fault "unplugg": want one of blackhole`},
		{`steps: [{fault: unplug, at: moon, start: 0s, for: 1s}]`, `step 1: unplug: no such place "moon": want visitor, server, client, origin, router-inner, router-outer`},
		{`steps: [{fault: unplug, start: 0s, for: 1s}]`, "unplug: say where"},
		{`steps: [{fault: unplug, at: client, start: -1s, for: 1s}]`, "start is -1s: it must not be negative"},
		{`steps: [{fault: unplug, at: client, start: 0s, for: -1s}]`, "for is -1s: it must be more than zero"},
		{`steps: [{fault: unplug, at: client, start: 0s}]`, "for is 0s"},
		{`steps: [{fault: unplug, at: client, start: soon, for: 1s}]`, "cannot unmarshal !!str `soon` as a time like 1.2s"},
		{`steps: [{fault: unplug, at: client, start: 0s, for: 1s, with: {silent: true}}]`, `unplug: unknown key "silent": it takes at, start, for`},
		{`steps: [{fault: expire-nat, start: 0s, for: 1s, with: {silent: maybe}}]`, `expire-nat: silent is "maybe": want true or false`},
		{`steps: [{fault: blackhole, start: 0s, for: 1s, with: {way: up}}]`, `blackhole: no such way "up"`},
		{`steps: [{fault: quality, at: client, start: 0s, for: 1s}]`, "say what the cable's quality is to be"},
		{`steps: [{fault: quality, at: client, start: 0s, for: 1s, with: {loss: 2}}]`, `loss is "2": want a share of the packets`},
		{`steps: [{fault: quality, at: client, start: 0s, for: 1s, with: {delay: -2s}}]`, `delay is "-2s": want a time`},
		{`steps: [{fault: nat-life, start: 0s, for: 1s, with: {life: 1.5s}}]`, "give whole seconds"},
		{`steps: [{fault: cut-after, start: 0s, for: 1s}]`, "cut-after: say how many packets of each connection pass"},
		{`steps: [{fault: cut-after, at: moon, start: 0s, for: 1s, with: {packets: 20}}]`, `no such place "moon": want router`},
		{`steps: [{fault: cut-after, start: 0s, for: 1s, with: {packets: 20, way: up}}]`, `cut-after: no such way "up"`},
		{`steps: [{fault: cut-after, start: 0s, for: 2s, with: {packets: 20}}, {fault: reboot-router, start: 1s, for: 2s}]`, "each wants the router's table for itself"},
		{`steps: [{fault: strangers, start: 0s, for: 1s}]`, "say which port"},
		{`steps: [{fault: strangers, start: 0s, for: 1s, with: {port: 70000}}]`, `port is "70000"`},
		{`steps: [{fault: unplug, at: client, start: 0s, for: 2s}, {fault: lose-route, at: client, start: 1s, for: 2s}]`,
			"steps 1 (unplug) and 2 (lose-route) overlap, and each wants the cable between router and client for itself"},
		{`steps: [{fault: kill, at: client, start: 0s, for: 1s}, {fault: kill, at: server, start: 2s, for: 1s}]`,
			"step 1 ends the client and step 2 the server"},
	} {
		_, err := ParseSchedule([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s:\n  error is %q,\n  want one line with %q", c.text, fmt.Sprint(err), c.says)
		}
	}
	if _, err := ReadSchedule(filepath.Join(t.TempDir(), "none.yaml")); !os.IsNotExist(underlying(err)) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func underlying(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		err = u.Unwrap()
	}
}

// The faults overlap, come and go in time, and everything is healed afterwards.
func TestSchedulePlays(t *testing.T) {
	l := build(t, lab.BehindNAT)
	near, far := connect(t, l)
	start(t, l, l.Client, "client", "exec sleep 1000")
	s := Schedule{Steps: []Step{ // each is long: a busy machine may be late for its start, not for its end
		{Fault: "blackhole", Start: 100 * time.Millisecond, For: 3200 * time.Millisecond},
		{Fault: "unplug", At: "visitor", Start: 300 * time.Millisecond, For: 3300 * time.Millisecond},
		{Fault: "kill", At: "client", Start: 400 * time.Millisecond, For: 3 * time.Second},
		{Fault: "freeze", At: "server", Start: 500 * time.Millisecond, For: 3 * time.Second}, // there is no server
	}}
	var revived []string
	began := time.Now()
	played, err := s.Play(t.Context(), l, func(_ context.Context, role string) error {
		revived = append(revived, role)
		start(t, l, l.Client, role, "exec sleep 1000")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < s.Length() || took > s.Length()+5*time.Second {
		t.Errorf("took %v, its length is %v", took, s.Length())
	}
	for i, bit := range []bool{true, true, true, false} {
		if played[i].Bit != bit {
			t.Errorf("step %d: bit %v, saw %q", i+1, played[i].Bit, played[i].Saw)
		}
	}
	if played[3].Err == nil || !strings.Contains(played[3].Saw, "no such process") {
		t.Errorf("step 4 saw %q", played[3].Saw)
	}
	if len(revived) != 1 || revived[0] != "client" || !l.Processes["client"].Running() {
		t.Errorf("revived %v", revived)
	}
	if !passes(t, near, far, 10*time.Second) {
		t.Error("no byte passes when all is healed")
	}
	if end, err := l.End(lab.AtVisitor); err != nil {
		t.Error(err)
	} else if up, _, err := end.State(); err != nil || !up {
		t.Errorf("the visitor's cable is up: %v, %v", up, err)
	}
}

// An interrupted schedule heals what is there, and says that it was interrupted.
func TestScheduleIsInterrupted(t *testing.T) {
	l := build(t, lab.BehindNAT)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	s := Schedule{Steps: []Step{{Fault: "unplug", At: "client", Start: 0, For: time.Hour}}}
	if _, err := s.Play(ctx, l, nil); err == nil {
		t.Error("no error")
	}
	end, err := l.End(lab.AtClient)
	if err != nil {
		t.Fatal(err)
	}
	if up, _, err := end.State(); err != nil || !up {
		t.Errorf("the cable is up: %v, %v", up, err)
	}
	d := build(t, lab.Direct)
	if _, err := s.Play(t.Context(), d, nil); err == nil || !strings.Contains(err.Error(), "no router") {
		t.Errorf("without a router: %v", err)
	}
}
