package harness_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/halfopen/halfopen"

// arrows says which rooms of the house a room may import. A room is a package
// and those below it, which may import each other; the longest name that fits
// counts, and a package that no name fits is in no room. An external test
// package (package x_test) may import what it likes.
var arrows = map[string][]string{
	"harness/record":        {},
	"harness/leak":          {"harness/record"},
	"harness/lab":           {"harness/record"},
	"harness/probe":         {"harness/lab", "harness/record"},
	"harness/fault":         {"harness/lab", "harness/record"},
	"harness/load":          {"harness/lab", "harness/record"},
	"harness/target":        {"harness/lab", "harness/record"},
	"harness/testtarget":    {},
	"reports":               {"harness/record", "harness/leak"},
	"harness":               slices.Concat(nouns, []string{"reports"}),
	"harness/cmd/figures":   {"harness/record"},
	"harness/cmd/soak":      slices.Concat(nouns, []string{"reports", "harness"}),
	"harness/cmd/bench":     {"harness/lab"},
	"harness/cmd/mutate":    {"harness/record"},
	"harness/cmd/calibrate": slices.Concat(nouns, []string{"harness"}),
	"harness/cmd/doctor":    {"harness", "harness/lab", "harness/probe", "harness/record"},
	"harness/cmd/claims":    slices.Concat(nouns, []string{"harness"}),
	"harness/cmd/flakes":    {"harness", "harness/lab", "harness/leak", "harness/record", "harness/target"},
	"scenarios":             slices.Concat(nouns, []string{"harness"}),
	"tunnel":                {},
	"scripts":               {},
}

var nouns = []string{
	"harness/record", "harness/leak", "harness/lab", "harness/probe", "harness/fault", "harness/load", "harness/target",
}

// source is what go list says of a package.
type source struct {
	ImportPath  string
	Imports     []string
	TestImports []string // of its own tests; those of package x_test are apart
}

// room is the room of a package of ours, by its path in the module; "" for none.
func room(path string) string {
	best := ""
	for name := range arrows {
		if (path == name || strings.HasPrefix(path, name+"/")) && len(name) > len(best) {
			best = name
		}
	}
	// Below harness, each package is a room of its own.
	if best == "harness" && path != "harness" {
		return ""
	}
	return best
}

// local is the path in the module of one of our packages.
func local(importPath string) (string, bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// wrongArrows names each import that the table does not allow.
func wrongArrows(packages []source) []string {
	var wrong []string
	for _, p := range packages {
		from, ok := local(p.ImportPath)
		if !ok {
			continue
		}
		home := room(from)
		if home == "" {
			wrong = append(wrong, fmt.Sprintf("%s is in no room: give it one in arrows", from))
			continue
		}
		for _, imported := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(p.Imports, p.TestImports)))) {
			to, ok := local(imported)
			if !ok {
				continue
			}
			if there := room(to); there != home && !slices.Contains(arrows[home], there) {
				wrong = append(wrong, fmt.Sprintf("%s imports %s", from, to))
			}
		}
	}
	return wrong
}

func TestArrows(t *testing.T) {
	// -e: a package that does not build is the compiler's to blame.
	list := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,TestImports", "./...")
	list.Dir = ".."
	out, err := list.Output()
	if err != nil {
		t.Fatalf("list packages: %v", err)
	}
	var packages []source
	for in := json.NewDecoder(bytes.NewReader(out)); ; {
		var p source
		if err := in.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("list packages: %v", err)
		}
		packages = append(packages, p)
	}
	if !slices.ContainsFunc(packages, func(p source) bool { return p.ImportPath == module+"/harness/record" }) {
		t.Fatal("list packages: harness/record is not among them, so this looked in the wrong place")
	}
	for _, w := range wrongArrows(packages) {
		t.Error(w)
	}
}

func TestArrowsPlanted(t *testing.T) {
	for _, c := range []struct {
		from, to string
		wrong    bool
	}{
		{"harness/record", "harness/leak", true},
		{"harness/leak", "harness/record", false},
		{"harness/leak", "harness/lab", true},
		{"harness/lab", "harness/probe", true},
		{"harness/lab/wire", "harness/lab", false},
		{"harness/fault", "harness/load", true},
		{"harness/target", "harness/lab", false},
		{"harness/target", "harness/leak", true},
		{"reports", "harness", true},
		{"reports/cmd/leakreport", "reports", false},
		{"reports/cmd/leakreport", "harness/leak", false},
		{"reports/cmd/leakreport", "harness/lab", true},
		{"harness", "harness/leak", false},
		{"harness", "scenarios", true},
		{"harness/cmd/soak", "harness", false},
		{"scenarios", "harness/lab", false},
		{"scenarios", "tunnel", true},
		{"harness/load", "tunnel/wire", true},
		{"tunnel", "harness/record", true},
		{"tunnel/cmd/tunnel", "tunnel", false},
		{"harness/attic", "harness/record", true}, // in no room
		{"harness/leak", "harness/attic", true},
	} {
		p := source{ImportPath: module + "/" + c.from, Imports: []string{"fmt", module + "/" + c.to}}
		if got := wrongArrows([]source{p}); (len(got) > 0) != c.wrong {
			t.Errorf("%s imports %s: found %q, want wrong: %t", c.from, c.to, got, c.wrong)
		}
		p.Imports, p.TestImports = nil, p.Imports
		if got := wrongArrows([]source{p}); (len(got) > 0) != c.wrong {
			t.Errorf("a test of %s imports %s: found %q, want wrong: %t", c.from, c.to, got, c.wrong)
		}
	}
}

// vague are names that say nothing of what is in a folder.
var vague = []string{"util", "utils", "common", "helper", "helpers", "manager", "managers"}

func TestNoVagueFolder(t *testing.T) {
	seen := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && path != "..":
			return nil // somebody's temporary folder, gone meanwhile
		case err != nil:
			return err
		case !d.IsDir():
			return nil
		case d.Name() == ".git" || path == filepath.Join("..", "reports", "runs"):
			return filepath.SkipDir
		case slices.Contains(vague, strings.ToLower(d.Name())):
			t.Errorf("folder %s: name it after what is in it", path)
		}
		seen++
		return nil
	})
	if err != nil {
		t.Fatalf("walk the tree: %v", err)
	}
	if seen < 3 {
		t.Fatalf("walked %d folders: this looked in the wrong place", seen)
	}
}
