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
		d    Definition
		want []string // regular expressions
		not  []string
	}{
		{"append", Definition{Func: "(*server).serve", Edit: Edit{Append: "s.note(\"appended\", 1)\nif s.open > 0 {\n\tprintln(string(debug.Stack()))\n}"}, Imports: []string{"runtime/debug", "fmt"}},
			[]string{"(?s)served 1\nappended 1\n.*closed\n", `main\.go \(patched\):2\d `, `main\.go \(patched\):66 `}, nil},
		{"prepend", Definition{Func: "(*server).serve", Edit: Edit{Prepend: `panic("planted")`}},
			[]string{"planted", `main\.go \(patched\):19\s`, `main\.go \(patched\):57 `}, []string{"served"}},
		{"remove", Definition{Func: "(*server).serve", Edit: Edit{Remove: "defer s.close()"}},
			[]string{"served 1", `some 1`, `main\.go \(patched\):66 `}, []string{"closed"}},
		{"replace in a one-line body", Definition{Func: "(*server).close", Edit: Edit{Replace: &Replacement{Old: "s.open--", New: "s.open += 41 // leaks\ns.note(\"left\", s.open)"}}},
			[]string{"served 1\nleft 42\nclosed", `main\.go \(patched\):66 `}, nil},
		{"replace in a case, laid out otherwise", Definition{Func: "server.count", Edit: Edit{Replace: &Replacement{Old: "s.note(\n\"none\", // word\n0,\n)", New: `s.note("nothing", 0)`}}},
			[]string{"nothing 0", `main\.go \(patched\):66 `}, []string{"none"}},
		{"a generic method", Definition{Func: "(*queue).add", Edit: Edit{Append: "q.items = append(q.items, item)"}},
			[]string{"panic: end 2"}, nil},
		{"a file of this system", Definition{Func: "onThisSystem", Edit: Edit{Prepend: `println("patched here")`}},
			[]string{"patched here\nlinux", `main\.go:66 `}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.d.Name, c.d.Package = "test", "./app"
			out := buildAndRun(t, c.d)
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

func TestLostPlace(t *testing.T) {
	for _, c := range []struct {
		name string
		d    Definition
		want string
	}{
		{"no such function", Definition{Func: "(*server).gone", Edit: Edit{Append: "select {}"}}, "no func (*server).gone in package ./app"},
		{"receiver differs", Definition{Func: "server.serve", Edit: Edit{Append: "select {}"}}, "no func server.serve"},
		{"function of a test", Definition{Func: "helper", Edit: Edit{Append: "select {}"}}, "no func helper"},
		{"no such package", Definition{Package: "./gone", Func: "f", Edit: Edit{Append: "select {}"}}, "read package ./gone"},
		{"no such statement", Definition{Func: "(*server).serve", Edit: Edit{Remove: "defer s.shut()"}}, "statement not found: defer s.shut()"},
		{"part of a statement", Definition{Func: "(*server).serve", Edit: Edit{Remove: "s.close()"}}, "statement not found"},
		{"statement twice", Definition{Func: "twice", Edit: Edit{Remove: `fmt.Println("again")`}}, "ambiguous, in lines 49, 51"},
		{"end is never reached", Definition{Func: "loop", Edit: Edit{Append: "select {}"}}, "control never comes to the end"},
		{"end is a return", Definition{Func: "server.count", Edit: Edit{Append: "select {}"}}, "control never comes to the end"},
		{"no statement", Definition{Func: "loop", Edit: Edit{Prepend: "func {"}}, "parse statement"},
		{"more than a body", Definition{Func: "loop", Edit: Edit{Prepend: "}\nfunc g() {"}}, "more than a body"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.d.Name = "test"
			if c.d.Package == "" {
				c.d.Package = "./app"
			}
			_, err := WriteOverlay("testdata/tiny", t.TempDir(), c.d)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestDefinitions(t *testing.T) {
	const good = "name: m\nwhat: w\ncatches: c\npackage: ./app\nfunc: f\nedit: {append: 'select {}'}\n"
	for _, c := range []struct{ name, text, want string }{
		{"good", good, ""},
		{"unknown field", good + "files: x\n", "field files not found"},
		{"other name", strings.Replace(good, "name: m", "name: n", 1), `name is "n"`},
		{"no story", strings.Replace(good, "catches: c", "catches: ''", 1), "catches is missing"},
		{"outside", strings.Replace(good, "./app", "./../app", 1), "not a folder of this module"},
		{"two edits", strings.Replace(good, "{append", "{remove: x, append", 1), "has 2 of"},
		{"no edit", strings.Replace(good, "append: 'select {}'", "", 1), "has 0 of"},
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
			if _, err := os.Stat(filepath.Join(module, d.Package)); os.IsNotExist(err) {
				t.Skipf("there is no %s yet", d.Package)
			}
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
