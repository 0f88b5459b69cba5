package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	page   = "../../../docs/mutants.md"
	faults = "../../fault"
)

// The page about planted leaks names each of them, and none that is not there.
func TestPageNamesEveryMutant(t *testing.T) {
	text := read(t, page)
	var defined []string
	for _, d := range planted(t) {
		defined = append(defined, d.Name)
	}
	named := names(text)
	for _, name := range defined {
		if !slices.Contains(named, name) {
			t.Errorf("docs/mutants.md does not name %s", name)
		}
	}
	for _, name := range named {
		if !slices.Contains(defined, name) {
			t.Errorf("docs/mutants.md names %s, and %s has no such file", name, definitions)
		}
	}
}

// Each fault has a story that was seen red: the page has a row for it, and the planted leak
// of that row is played with that story.
func TestPageShowsEveryFaultRed(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range rows(t, read(t, page), "## Each fault, seen red") {
		what, story := row[0], row[1]
		for _, code := range regexp.MustCompile("`([A-Z][A-Za-z]+)`").FindAllStringSubmatch(what, -1) {
			seen[code[1]] = true
		}
		if len(names(row[2])) == 0 {
			t.Errorf("%s: no planted leak", what)
		}
		for _, name := range names(row[2]) {
			i := slices.IndexFunc(planted(t), func(d Definition) bool { return d.Name == name })
			if i < 0 {
				continue // the other test says so
			}
			d := planted(t)[i]
			if !slices.Contains(stories(d), story) {
				t.Errorf("%s: %s is not played with %q: it has %q", what, name, story, stories(d))
			}
		}
	}
	for _, f := range vocabulary(t) {
		if !seen[f] {
			t.Errorf("docs/mutants.md does not say which planted leak fault.%s was seen to find", f)
		}
		delete(seen, f)
	}
	for f := range seen {
		t.Errorf("docs/mutants.md names the fault %s, and harness/fault has none", f)
	}
}

// stories are those that must catch d.
func stories(d Definition) []string { return append([]string{d.Focus}, d.Also...) }

// vocabulary is the exported types of harness/fault that have a method Inject.
func vocabulary(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(faults + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Recv == nil || fn.Name.Name != "Inject" {
				continue
			}
			if recv, ok := fn.Recv.List[0].Type.(*ast.Ident); ok && recv.IsExported() {
				found = append(found, recv.Name)
			}
		}
	}
	if len(found) < 20 {
		t.Fatalf("found the faults %q only", found)
	}
	return found
}

// rows are the cells of the tables in a section of a page, without their heads.
func rows(t *testing.T, text, title string) [][]string {
	t.Helper()
	_, section, ok := strings.Cut(text, "\n"+title+"\n")
	if !ok {
		t.Fatalf("docs/mutants.md has no section %q", title)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var found [][]string
	body := false
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		switch {
		case !strings.HasPrefix(line, "|"):
			body = false
		case strings.HasPrefix(line, "| ---"):
			body = true
		case body:
			var cells []string
			for _, cell := range strings.Split(strings.Trim(line, "|"), "|") {
				cells = append(cells, strings.TrimSpace(cell))
			}
			if len(cells) != 3 {
				t.Fatalf("want three cells: %s", line)
			}
			found = append(found, cells)
		}
	}
	return found
}

// names are the planted leaks that a text names.
func names(text string) []string {
	var found []string
	for _, name := range regexp.MustCompile("`([a-z]+(?:-[a-z]+)+)`").FindAllStringSubmatch(text, -1) {
		found = append(found, name[1])
	}
	return found
}

func planted(t *testing.T) []Definition {
	t.Helper()
	all, err := ReadDefinitions("../../../" + definitions)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
