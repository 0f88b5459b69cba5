package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// soakFolder is a folder with the record of a short clean run.
func soakFolder(t *testing.T, name string, version, seed int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	const at = `"at":"2026-11-25T21:00:00Z"`
	text := fmt.Sprintf(`{%s,"kind":"run","run":{"version":%d,"name":"soak","seed":%d,"target":"tunnel","environment":{"kernel":"6.18"}}}
{%s,"kind":"begin","spec":"1-1","begin":{"name":"Soak","suite":"soak"}}
{%s,"kind":"verdict","spec":"1-1","cycle":1,"verdict":{"verdict":"PASS","reason":"fine","exposures":300,"fault_events":1,"returned":1}}
{%s,"kind":"end","spec":"1-1","end":{"state":"passed","duration":5}}
{%s,"kind":"finish","finish":{"reason":"done","duration":6}}
`, at, version, seed, at, at, at, at)
	if err := os.WriteFile(filepath.Join(dir, "run.jsonl"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestMerge(t *testing.T) {
	a, b, same, old := soakFolder(t, "a", 1, 1), soakFolder(t, "b", 1, 2), soakFolder(t, "same", 1, 1), soakFolder(t, "old", 99, 3)
	into := filepath.Join(t.TempDir(), "new", "all")
	var out, errs bytes.Buffer
	if status := run([]string{"merge", a, b, "--into", into}, &out, &errs); status != 0 {
		t.Fatalf("status %d: %s", status, errs.String())
	}
	for _, want := range []string{"merged from 2 runs", "0 in 600 exposures; a leak of 1 in 200 or more", "verdict=PASS exit=0 report=" + filepath.Join(into, "index.html")} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	if _, err := os.Stat(filepath.Join(into, "index.html")); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"the folder is there":     {[]string{a, b, "--into", into}, "file exists"},
		"the same seed":           {[]string{a, same, "--into", into + "2"}, "has the same seed 1, and drew the same faults (--force merges them all the same)"},
		"a record of another age": {[]string{a, old, "--into", into + "2"}, "it has version 99, this program reads version 1"},
		"no record":               {[]string{a, t.TempDir(), "--into", into + "2"}, "no such file"},
		"one run":                 {[]string{a}, "requires at least 2 arg"},
	} {
		errs.Reset()
		if status := run(append([]string{"merge"}, c.args...), &out, &errs); status != usage || !strings.Contains(errs.String(), c.want) || strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("%s: status %d, %q, want %q", name, status, errs.String(), c.want)
		}
		if _, err := os.Stat(into + "2"); err == nil {
			t.Errorf("%s: a folder is left", name)
		}
	}
	if status := run([]string{"merge", a, same, "--force", "--into", into + "2"}, &out, &errs); status != 0 {
		t.Errorf("forced: status %d: %s", status, errs.String())
	}
}
