package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/record"
)

func TestJudge(t *testing.T) {
	leak := record.Judgement{Verdict: record.Leak, Reason: "1 socket", Where: "tunnel.f", Survivors: []record.Survivor{
		{Role: "server", Resource: "goroutine", Goroutine: &record.Goroutine{State: "select (no cases)", Frames: []record.Frame{{Func: "tunnel.(*Server).serve"}}}},
		{Role: "server", Resource: "socket", Socket: &record.Socket{Remote: "10.0.0.1:80", State: "CLOSE_WAIT"}, Why: "the peer closed"},
	}}
	excess := record.Judgement{Verdict: record.Leak, Excess: []record.Excess{{Role: "client", Signature: "tunnel.g < main.main"}}}
	pass := record.Judgement{Verdict: record.Pass, Reason: "tunnel.f"}
	d := func(want record.Verdict, heldBy string, holder ...string) Definition {
		return Definition{Verdict: want, HeldBy: heldBy, Holder: holder}
	}
	for _, c := range []struct {
		name     string
		d        Definition
		run      record.Verdict
		judgings []record.Judgement
		named    bool
		caught   bool
	}{
		{"where", d(record.Leak, "", "tunnel.f"), record.Leak, []record.Judgement{leak}, true, true},
		{"survivors", d(record.Leak, "server", "(*Server).serve", "no cases", ":80", "CLOSE_WAIT", "peer closed"), record.Leak, []record.Judgement{leak}, true, true},
		{"excess", d(record.Leak, "client", "tunnel.g"), record.Leak, []record.Judgement{excess}, true, true},
		{"one of two texts", d(record.Leak, "", "tunnel.f", "tunnel.x"), record.Leak, []record.Judgement{leak}, false, false},
		{"two judgements do not add up", d(record.Leak, "", "tunnel.f", "tunnel.g"), record.Leak, []record.Judgement{leak, excess}, false, false},
		{"the second names it", d(record.Leak, "", "tunnel.g"), record.Leak, []record.Judgement{leak, excess}, true, true},
		{"held by another", d(record.Leak, "client", "tunnel.f"), record.Leak, []record.Judgement{leak}, false, false},
		{"named by a pass", d(record.Leak, "", "tunnel.f"), record.Pass, []record.Judgement{pass}, false, false},
		{"the run is worse than expected", d(record.Late, "", "deadline"), record.Leak, []record.Judgement{{Verdict: record.Late, Reason: "deadline"}, leak}, true, false},
		{"nothing was judged", d(record.Leak, "", "tunnel.f"), record.Inconclusive, nil, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Result{Definition: c.d, Story: Attempt{Verdict: c.run, judgings: c.judgings}}
			r.judge()
			if r.Named != c.named || r.Caught != c.caught || r.Named == (len(r.Lacks) > 0) {
				t.Errorf("named %t, caught %t, lacks %q; want named %t, caught %t", r.Named, r.Caught, r.Lacks, c.named, c.caught)
			}
		})
	}
}

func TestMissed(t *testing.T) {
	options := Definition{Besides: "SO_KEEPALIVE"}
	for _, c := range []struct {
		name string
		d    Definition
		a    Attempt
		want bool
	}{
		{"pass", Definition{}, Attempt{Verdict: record.Pass}, true},
		{"inconclusive", Definition{}, Attempt{Verdict: record.Inconclusive, Reason: "SO_KEEPALIVE"}, false},
		{"inconclusive for what is told besides", options, Attempt{Verdict: record.Inconclusive, Reason: "24 sockets have SO_KEEPALIVE off"}, true},
		{"inconclusive for something else", options, Attempt{Verdict: record.Inconclusive, Reason: "the fault did not bite"}, false},
		{"leak", options, Attempt{Verdict: record.Leak, Reason: "SO_KEEPALIVE"}, false},
	} {
		if got := missed(c.d, c.a); got != c.want {
			t.Errorf("%s: missed %t, want %t", c.name, got, c.want)
		}
	}
}

func TestReport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "reports", "mutants", "latest.json")
	ok := Result{Definition: Definition{Name: "a", Misses: "m"}, Caught: true, Missed: true}
	for _, c := range []struct {
		name    string
		results []Result
		score   float64
		ok      bool
	}{
		{"all", []Result{ok, {Definition: Definition{Name: "b"}, Caught: true}}, 1, true},
		{"one survived", []Result{ok, {Definition: Definition{Name: "b"}}}, 0.5, false},
		{"one is caught whatever the fault", []Result{ok, {Definition: Definition{Name: "b", Misses: "m"}, Caught: true}}, 1, false},
		{"one could not be run", []Result{ok, {Caught: true, Error: "no"}}, 1, false},
	} {
		report := reportOf(c.results, time.Unix(0, 0).UTC(), time.Second)
		if err := report.write(path); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if got["score"] != c.score || got["caught"].(float64)+got["survived"].(float64) != 2 || got["equivalent"] != 0.0 || report.ok() != c.ok {
			t.Errorf("%s: wrote %s, ok %t", c.name, text, report.ok())
		}
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); err != nil || left != nil {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// fake makes a runner whose Ginkgo is a shell script.
func fake(t *testing.T, script string) *runner {
	t.Helper()
	dir := t.TempDir()
	r := &runner{module: dir, temp: filepath.Join(dir, "temp"), ginkgo: filepath.Join(dir, "ginkgo"), suite: "suite"}
	if err := os.WriteFile(r.ginkgo, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return r
}

// judged is a script that leaves a run behind, as the suite does.
const judged = `
run="$HALFOPEN_OUT/1-scenarios"
mkdir -p "$run" && ln -s 1-scenarios "$HALFOPEN_OUT/latest"
echo '{"verdict":"'$VERDICT'","reason":"'"$MUTANT $*"'"}' >"$run/summary.json"
echo '{"kind":"begin","begin":{"name":"the story"}}' >"$run/run.jsonl"
echo '{"kind":"verdict","verdict":{"verdict":"'$VERDICT'","reason":"held","where":"tunnel.f"}}' >>"$run/run.jsonl"
exit 1
`

func TestMutant(t *testing.T) {
	d := Definition{Name: "m", Focus: "a story", Misses: "another", Verdict: record.Leak, Holder: []string{"tunnel.f"}}
	r := fake(t, `case "$2" in *"a story") VERDICT=LEAK ;; *) VERDICT=PASS ;; esac`+judged)
	got := r.mutant(t.Context(), d)
	if !got.ok() || !got.Caught || !got.Missed || got.Error != "" || got.Story.Spec != "the story" || got.Story.Where != "tunnel.f" {
		t.Errorf("mutant came to %+v", got)
	}
	for _, want := range []string{"m ", "--focus=a story", "suite -- -target=" + filepath.Join(r.module, defaultTarget)} {
		if !strings.Contains(got.Story.Reason, want) {
			t.Errorf("Ginkgo was called with %q, which lacks %q", got.Story.Reason, want)
		}
	}
	if _, err := os.Stat(filepath.Join(r.module, "reports")); !os.IsNotExist(err) {
		t.Errorf("the run of a mutant that was caught is kept: %v", err)
	}

	var table bytes.Buffer
	r = fake(t, "VERDICT=INCONCLUSIVE"+judged)
	got = r.mutant(t.Context(), d)
	printTable(&table, []Result{got})
	if got.ok() || got.Caught || got.Missed || got.Story.Tries != 2 || got.Story.Earlier == "" || !strings.Contains(table.String(), "INCONCLUSIVE (try 2)") {
		t.Errorf("a mutant that proves nothing came to %+v, table\n%s", got, &table)
	}
	if _, err := os.Stat(filepath.Join(r.module, "reports/mutants/m/story/latest/run.jsonl")); err != nil {
		t.Errorf("the run of a mutant that was not caught is gone: %v", err)
	}

	d.Also = []string{"a story of another fault", "a third"}
	r = fake(t, `case "$2" in *"a story"*) VERDICT=LEAK ;; *) VERDICT=PASS ;; esac`+judged)
	table.Reset()
	got = r.mutant(t.Context(), d)
	printTable(&table, []Result{got})
	if got.ok() || !got.Caught || len(got.Also) != 2 || len(got.Unseen) != 1 || !strings.Contains(got.line(), `"a third" came to PASS`) || !strings.Contains(table.String(), "1 of 2") {
		t.Errorf("a mutant that only one of two other faults finds came to %+v: %s, table\n%s", got, got.line(), &table)
	}
	d.Also = d.Also[:1]
	if got = r.mutant(t.Context(), d); !got.ok() || len(got.Also) != 1 {
		t.Errorf("a mutant that another fault finds too came to %+v", got)
	}

	r = fake(t, "echo no spec has that name; exit 1")
	if got = r.mutant(t.Context(), d); got.ok() || !strings.Contains(got.Error, "no story was judged") || !strings.Contains(got.Error, "no spec has that name") {
		t.Errorf("a focus that matches nothing gave %q", got.Error)
	}
}

func TestTarget(t *testing.T) {
	r := &runner{module: t.TempDir()}
	file := filepath.Join(r.module, "t.yaml")
	if err := os.WriteFile(file, []byte("name: t\nenv: {A: b}\nserver: {command: [x]}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := r.target(Definition{Target: "t.yaml"}, t.TempDir()); err != nil || got != file {
		t.Errorf("target is %q (%v), want %q", got, err, file)
	}
	got, err := r.target(Definition{Target: "t.yaml", Env: map[string]string{"GOGC": "off"}}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(got)
	if err != nil || got == file {
		t.Fatalf("copy is %q (%v)", got, err)
	}
	for _, want := range []string{"name: t", "A: b", `GOGC: "off"`, "- x"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("copy lacks %q:\n%s", want, text)
		}
	}
	if _, err := r.target(Definition{Target: "gone.yaml", Env: map[string]string{"A": "b"}}, t.TempDir()); err == nil {
		t.Error("a target that is not there gave no error")
	}
}

// An interrupt reaches the suite and what it started, and nothing of them stays.
func TestInterrupt(t *testing.T) {
	r := fake(t, `
trap 'echo healed >"$HALFOPEN_OUT/healed"; exit 1' INT
sleep 1000 &
echo $! >"$HALFOPEN_OUT/pid.tmp" && mv "$HALFOPEN_OUT/pid.tmp" "$HALFOPEN_OUT/pid"
wait`)
	out := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := r.play(ctx, Definition{Name: "m"}, "a story", out)
		done <- err
	}()
	pid := 0
	await(t, "the suite to start", func() bool {
		text, err := os.ReadFile(filepath.Join(out, "pid"))
		if err == nil {
			pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		return err == nil
	})
	cancel()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "interrupted") {
			t.Errorf("play gave %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the suite does not end")
	}
	if _, err := os.Stat(filepath.Join(out, "healed")); err != nil {
		t.Errorf("the suite was not told: %v", err)
	}
	await(t, "the suite's child to die", func() bool {
		// Nobody may have reaped it: it is an orphan.
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return errors.Is(err, os.ErrNotExist) || strings.Contains(string(stat), ") Z ")
	})
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
