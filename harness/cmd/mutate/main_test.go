package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// buildAndRun plants d in testdata/tiny and runs the program: all that it printed.
func buildAndRun(t *testing.T, d Definition) string {
	t.Helper()
	dir := t.TempDir()
	overlay, err := WriteOverlay("testdata/tiny", dir, d)
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "app")
	build := exec.Command("go", "build", "-buildvcs=false", "-overlay", overlay, "-o", binary, "./app")
	build.Dir = "testdata/tiny"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	out, err := exec.Command(binary).CombinedOutput()
	if err == nil {
		t.Error("the program did not panic at its end")
	}
	return string(out)
}

// The lines of the stack are those of the source as it is, wherever the edit
// put something in before them: main ends in line 66.
func TestEditsBuildAndRun(t *testing.T) {
	for _, c := range []struct {
		name string
		p    Place
		want []string // regular expressions
		not  []string
	}{
		{"append", Place{Func: "(*server).serve", Edit: Edit{Append: "s.note(\"appended\", 1)\nif s.open > 0 {\n\tprintln(string(debug.Stack()))\n}"}, Imports: []string{"runtime/debug", "fmt"}},
			[]string{"(?s)served 1\nappended 1\n.*closed\n", `main\.go \(patched\):2\d `, `main\.go \(patched\):66 `}, nil},
		{"prepend", Place{Func: "(*server).serve", Edit: Edit{Prepend: `panic("planted")`}},
			[]string{"planted", `main\.go \(patched\):19\s`, `main\.go \(patched\):57 `}, []string{"served"}},
		{"remove", Place{Func: "(*server).serve", Edit: Edit{Remove: "defer s.close()"}},
			[]string{"served 1", `some 1`, `main\.go \(patched\):66 `}, []string{"closed"}},
		{"replace in a one-line body", Place{Func: "(*server).close", Edit: Edit{Replace: &Replacement{Old: "s.open--", New: "s.open += 41 // leaks\ns.note(\"left\", s.open)"}}},
			[]string{"served 1\nleft 42\nclosed", `main\.go \(patched\):66 `}, nil},
		{"replace in a case, laid out otherwise", Place{Func: "server.count", Edit: Edit{Replace: &Replacement{Old: "s.note(\n\"none\", // word\n0,\n)", New: `s.note("nothing", 0)`}}},
			[]string{"nothing 0", `main\.go \(patched\):66 `}, []string{"none"}},
		{"a generic method", Place{Func: "(*queue).add", Edit: Edit{Append: "q.items = append(q.items, item)"}},
			[]string{"panic: end 2"}, nil},
		{"a file of this system", Place{Func: "onThisSystem", Edit: Edit{Prepend: `println("patched here")`}},
			[]string{"patched here\nlinux", `main\.go:66 `}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := buildAndRun(t, Definition{Name: "test", Package: "./app", Place: c.p})
			for _, want := range c.want {
				if !regexp.MustCompile(want).MatchString(out) {
					t.Errorf("output lacks %s", want)
				}
			}
			for _, not := range c.not {
				if strings.Contains(out, not) {
					t.Errorf("output has %q", not)
				}
			}
			if t.Failed() {
				t.Log(out)
			}
		})
	}
}

// Several edits in two files, one statement after the other in one of them, with a file
// of declarations beside: lines keep their numbers in all.
func TestSeveralEdits(t *testing.T) {
	out := buildAndRun(t, Definition{Name: "test", Package: "./app",
		Declare: "import \"strings\"\n\nfunc loud(s string) string { return strings.ToUpper(s) }\n\nfunc panicking() { panic(loud(\"bang\")) }",
		Place:   Place{Func: "(*server).close", Edit: Edit{Replace: &Replacement{Old: "s.open--", New: `s.note(loud("one"), 1)`}}},
		Edits: []Place{
			{Func: "onThisSystem", Edit: Edit{Prepend: "defer panicking()"}},
			{Func: "(*server).serve", Edit: Edit{Remove: "s.open++"}},
			{Func: "(*server).close", Edit: Edit{Replace: &Replacement{Old: `fmt.Println("closed")`, New: `println(loud("two"), os.Getpid() > 0, len(debug.Stack()) > 0)`}}, Imports: []string{"runtime/debug"}},
			{Func: "(*server).serve", Edit: Edit{Append: `s.note(loud("three"), s.open)`}, Imports: []string{"runtime/debug"}},
		},
	})
	for _, want := range []string{"(?s)THREE 0\nONE 1\nTWO true true\n", `panic: BANG`, `planted\.go \(patched\):5 `, `system_linux\.go \(patched\):3\D`, `main\.go \(patched\):65 `} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("output lacks %s:\n%s", want, out)
		}
	}
}

func TestSeveralEditsRefused(t *testing.T) {
	remove := func(s string) Place { return Place{Func: "server.count", Edit: Edit{Remove: s}} }
	for _, c := range []struct {
		name string
		d    Definition
		want string
	}{
		{"the second finds no place", Definition{Edits: []Place{remove(`s.note("none", 0)`), remove("gone()")}}, "statement not found: gone()"},
		{"they overlap", Definition{Edits: []Place{remove(`s.note("none", 0)`), remove("switch {\ncase s.open > 0:\ns.note(\"some\", 1)\ndefault:\ns.note(\"none\", 0)\n}")}}, "two edits meet in line 35"},
		{"declarations do not parse", Definition{Edits: []Place{remove(`s.note("none", 0)`)}, Declare: "var"}, "parse declarations"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.d.Name, c.d.Package = "test", "./app"
			if _, err := WriteOverlay("testdata/tiny", t.TempDir(), c.d); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestDeclareInATakenFile(t *testing.T) {
	module := t.TempDir()
	if err := os.MkdirAll(filepath.Join(module, "app"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(module, "app", declared), []byte("package app\n\nfunc f() {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	d := Definition{Name: "test", Package: "./app", Place: Place{Func: "f", Edit: Edit{Append: "select {}"}}, Declare: "var x int"}
	if _, err := WriteOverlay(module, t.TempDir(), d); err == nil || !strings.Contains(err.Error(), "planted.go of its own") {
		t.Errorf("error %v", err)
	}
}

func TestLostPlace(t *testing.T) {
	for _, c := range []struct {
		name string
		p    Place
		want string
	}{
		{"no such function", Place{Func: "(*server).gone", Edit: Edit{Append: "select {}"}}, "no func (*server).gone in package ./app"},
		{"receiver differs", Place{Func: "server.serve", Edit: Edit{Append: "select {}"}}, "no func server.serve"},
		{"function of a test", Place{Func: "helper", Edit: Edit{Append: "select {}"}}, "no func helper"},
		{"no such package", Place{Func: "f", Edit: Edit{Append: "select {}"}}, "read package ./gone"},
		{"no such statement", Place{Func: "(*server).serve", Edit: Edit{Remove: "defer s.shut()"}}, "statement not found: defer s.shut()"},
		{"part of a statement", Place{Func: "(*server).serve", Edit: Edit{Remove: "s.close()"}}, "statement not found"},
		{"statement twice", Place{Func: "twice", Edit: Edit{Remove: `fmt.Println("again")`}}, "ambiguous, in lines 49, 51"},
		{"end is never reached", Place{Func: "loop", Edit: Edit{Append: "select {}"}}, "control never comes to the end"},
		{"end is a return", Place{Func: "server.count", Edit: Edit{Append: "select {}"}}, "control never comes to the end"},
		{"no statement", Place{Func: "loop", Edit: Edit{Prepend: "func {"}}, "parse statement"},
		{"more than a body", Place{Func: "loop", Edit: Edit{Prepend: "}\nfunc g() {"}}, "more than a body"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := Definition{Name: "test", Package: "./app", Place: c.p}
			if c.p.Func == "f" {
				d.Package = "./gone"
			}
			_, err := WriteOverlay("testdata/tiny", t.TempDir(), d)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestDefinitions(t *testing.T) {
	const good = "name: m\nwhat: w\nfocus: c\nverdict: LEAK\nholder: [h]\npackage: ./app\nfunc: f\nedit: {append: 'select {}'}\n"
	for _, c := range []struct{ name, text, want string }{
		{"good", good, ""},
		{"unknown field", good + "files: x\n", "field files not found"},
		{"other name", strings.Replace(good, "name: m", "name: n", 1), `name is "n"`},
		{"no story", strings.Replace(good, "focus: c", "focus: ''", 1), "focus is missing"},
		{"outside", strings.Replace(good, "./app", "./../app", 1), "not a folder of this module"},
		{"two edits", strings.Replace(good, "{append", "{remove: x, append", 1), "has 2 of"},
		{"no edit", strings.Replace(good, "append: 'select {}'", "", 1), "has 0 of"},
		{"several edits", strings.Replace(good, "func: f\nedit: {append: 'select {}'}", "edits: [{func: f, edit: {append: 'select {}'}}, {func: g, edit: {remove: x}, imports: [os]}]", 1), ""},
		{"everything", good + "misses: m\nbesides: b\nheld_by: server\ntarget: scenarios/targets/t.yaml\nenv: {GOGC: \"off\"}\ndeclare: var x int\nedits: [{func: g, edit: {remove: x}}]\n", ""},
		{"one of several is empty", good + "edits: [{func: g, edit: {}}]\n", "edit of g: has 0 of"},
		{"one of several is nowhere", good + "edits: [{edit: {remove: x}}]\n", "edits: func is missing"},
		{"nowhere", strings.Replace(good, "func: f\n", "", 1), "func is missing"},
		{"nothing", strings.Replace(good, "func: f\nedit: {append: 'select {}'}\n", "", 1), "edits is missing"},
		{"no holder", strings.Replace(good, "[h]", "[]", 1), "holder is missing"},
		{"a holder that is everywhere", strings.Replace(good, "[h]", "[h, '']", 1), "in every judgement"},
		{"a leak that passes", strings.Replace(good, "LEAK", "PASS", 1), `verdict is "PASS"`},
		{"no verdict", strings.Replace(good, "verdict: LEAK\n", "", 1), `verdict is ""`},
		{"focus does not parse", strings.Replace(good, "focus: c", "focus: 'c('", 1), "focus: error parsing"},
		{"misses does not parse", good + "misses: 'c('\n", "misses: error parsing"},
		{"target elsewhere", good + "target: ../t.yaml\n", "not a file of this module"},
		{"half a replace", strings.Replace(good, "append: 'select {}'", "replace: {old: x}", 1), "needs old and new"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "m.yaml"), []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := FindDefinition(dir, "m")
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func mutate(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := command()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	err := cmd.Execute()
	return out.String(), err
}

// Commands work from any folder of the module.
func TestCommands(t *testing.T) {
	t.Chdir("testdata/tiny/app")
	dir := filepath.Join(t.TempDir(), "made")
	out, err := mutate(t, "overlay", "not-closed", "--dir", dir)
	if err != nil || out != filepath.Join(dir, "overlay.json")+"\n" {
		t.Errorf("overlay printed %q, error %v", out, err)
	}
	if out, err = mutate(t, "list"); err != nil || out != "not-closed  The server is never closed.\n" {
		t.Errorf("list printed %q, error %v", out, err)
	}
	var all []Definition
	if out, err = mutate(t, "list", "--json"); err != nil || json.Unmarshal([]byte(out), &all) != nil || len(all) != 1 || all[0].Edit.Remove == "" {
		t.Errorf("list --json printed %q, error %v", out, err)
	}
	if _, err = mutate(t, "overlay", "unknown", "--dir", dir); err == nil || !strings.Contains(err.Error(), "there are: not-closed") {
		t.Errorf("unknown name: error %v", err)
	}
	for _, args := range [][]string{{}, {"overlay", "not-closed"}, {"plant"}, {"list", "x"}} {
		if _, err := mutate(t, args...); err == nil {
			t.Errorf("mutate %q gave no error", args)
		}
	}
	t.Chdir(t.TempDir())
	if _, err := mutate(t, "list"); err == nil || !strings.Contains(err.Error(), "no go.mod") {
		t.Errorf("outside a module: error %v", err)
	}
}

// Every leak of the project must still find its place, and build.
func TestMutantsApply(t *testing.T) {
	module, err := findModule()
	if err != nil {
		t.Fatal(err)
	}
	all, err := ReadDefinitions(filepath.Join(module, definitions))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			overlay, err := WriteOverlay(module, t.TempDir(), d)
			if err != nil {
				t.Fatal(err)
			}
			build := exec.Command("go", "build", "-o", os.DevNull, "-overlay", overlay, d.Package)
			build.Dir = module
			if out, err := build.CombinedOutput(); err != nil {
				t.Errorf("build: %v\n%s", err, out)
			}
		})
	}
}
