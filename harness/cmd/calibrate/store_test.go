package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

func trial(name string, seed uint64) record.Trial {
	return record.Trial{Name: name, Seed: seed, Exposures: []int{1}, Counts: map[string][]int{"fds": {3}}, Heap: []int64{1}, RssAnon: []int64{2}}
}

func TestStoreGoesOn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	for n := range 3 {
		s, err := openStore(dir)
		if err != nil || len(s.done) != n {
			t.Fatalf("%d trials are stored, want %d (%v)", len(s.done), n, err)
		}
		if err := s.add(trial("plain", uint64(n+1))); err != nil || s.file.Close() != nil {
			t.Fatal(err)
		}
	}
	// Killed in the middle of a line: that trial is lost, and only that.
	path := filepath.Join(dir, trialsName)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text[:len(text)-5], 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := openStore(dir)
	if err != nil || len(s.done) != 2 {
		t.Fatalf("%d trials after a cut, want 2 (%v)", len(s.done), err)
	}
	if err := s.add(trial("plain", 9)); err != nil || s.file.Close() != nil {
		t.Fatal(err)
	}
	s, err = openStore(dir)
	if err != nil || len(s.done) != 3 || s.done[2].Seed != 9 {
		t.Fatalf("%+v (%v)", s.done, err)
	}
	if err := s.file.Close(); err != nil {
		t.Fatal(err)
	}
	// Another version, or damage before the end.
	for _, bad := range []string{`{"name":"x","colour":"red"}`, "{"} {
		if err := os.WriteFile(path, []byte(bad+"\n"+string(text)), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := openStore(dir); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestWant(t *testing.T) {
	x := experiment{name: "plain", runs: 3, loaded: true}
	var done []record.Trial
	for _, want := range []uint64{1, 2, 3} {
		seed, wanted := x.want(done)
		if !wanted || seed != want {
			t.Fatalf("after %d trials: seed %d, wanted %v", len(done), seed, wanted)
		}
		if x.load(seed) != (seed == 3) {
			t.Errorf("seed %d under load: %v", seed, x.load(seed))
		}
		done = append(done, trial("other", 70), trial("plain", seed))
	}
	if _, wanted := x.want(done); wanted {
		t.Error("a fourth of three trials is wanted")
	}
}

// A trial with a false alarm, one that was missed, and one that is missing each show.
func TestTable(t *testing.T) {
	series := func(name string, seed uint64, leaky bool) record.Trial {
		t := record.Trial{Name: name, Seed: seed}
		for i := range 120 {
			r := record.Reading{Exposures: 12, Quiescent: true, Counts: map[string]int{"fds": 9, "sockets LISTEN": 2, "goroutines main.serve": 2},
				Memory: record.Memory{HeapAlloc: 1e6, RssAnon: 5e6}}
			if leaky {
				r.Counts["fds"] += i / 10
			}
			t.Add(r)
		}
		return t
	}
	find := func(rows []row, name string) row {
		for _, r := range rows {
			if r.Name == name {
				return r
			}
		}
		t.Fatalf("no row %s", name)
		return row{}
	}
	var done []record.Trial
	for _, x := range plan {
		for n := range x.runs {
			// What must be found in these are descriptors, whatever was planted.
			if x.finds == "" || x.finds == "fds" {
				done = append(done, series(x.name, uint64(n+1), x.finds != ""))
			}
		}
	}
	rows := table(done)
	if r := find(rows, "all healthy"); r.Runs != 330 || r.Leaks != 0 || r.Bound > 0.0091 || r.Bound < 0.009 {
		t.Errorf("330 healthy runs: %+v", r)
	}
	if r := find(rows, "fd 1 in 100"); r.Found != 20 || r.Bound < .13 || r.Bound > .14 {
		t.Errorf("planted descriptors: %+v", r)
	}
	if status(rows) != 3 {
		t.Errorf("trials are missing, and the status is %d", status(rows))
	}
	for name, spoiled := range map[string]record.Trial{
		"a false alarm": series("cache", 61, true), "a miss": series("fd 1 in 100", 21, false),
	} {
		if rows := table(append(done[:len(done):len(done)], spoiled)); status(rows) != 1 {
			t.Errorf("%s: status %d", name, status(rows))
		}
	}
	var out strings.Builder
	if err := print(&out, table(append(done, series("cache", 61, true)))); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1 false", "20 of 20 found", "0 of 5", "cache, seed 61: LEAK fds: 11 in 113 cycles"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}
