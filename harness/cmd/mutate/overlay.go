package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// WriteOverlay writes the patched source of d and overlay.json into dir, which
// it makes if it is missing, and returns the path of overlay.json for go build
// -overlay. module is the folder of the module that d.Package belongs to.
// Stacks of the patched file say "FILE (patched)", with the lines of FILE.
func WriteOverlay(module, dir string, d Definition) (string, error) {
	path, err := writeOverlay(module, dir, d)
	if err != nil {
		return "", fmt.Errorf("plant %s: %w", d.Name, err)
	}
	return path, nil
}

func writeOverlay(module, dir string, d Definition) (string, error) {
	folder, err := filepath.Abs(filepath.Join(module, d.Package))
	if err != nil {
		return "", err
	}
	patched, err := patch(folder, d)
	if err != nil {
		return "", err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make folder: %w", err)
	}
	replace := map[string]string{}
	for file, text := range patched {
		// Not *.go: in a folder of the module it would be taken for source.
		to := filepath.Join(dir, filepath.Base(file)+".patched")
		if err := os.WriteFile(to, text, 0o644); err != nil {
			return "", fmt.Errorf("write patched source: %w", err)
		}
		replace[file] = to
	}
	overlay, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encode overlay: %w", err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, append(overlay, '\n'), 0o644); err != nil {
		return "", fmt.Errorf("write overlay: %w", err)
	}
	return path, nil
}

// source is one file of a package.
type source struct {
	path string
	text []byte
	tree *ast.File
}

// declared is the name of the file that the declarations of a planted leak go to.
const declared = "planted.go"

// patch makes the edits of d in the package in folder, and returns the new source
// of each file that changes, by its path.
func patch(folder string, d Definition) (map[string][]byte, error) {
	sources, err := readPackage(folder)
	if err != nil {
		return nil, fmt.Errorf("read package %s: %w", d.Package, err)
	}
	places := map[int][]Place{} // by index in sources
	for _, place := range d.places() {
		at := -1
		for i, s := range sources {
			switch _, err := findFunc(s.tree, place.Func); {
			case errors.Is(err, errNoFunc):
			case err != nil:
				return nil, err
			case at >= 0:
				return nil, fmt.Errorf("func %s is ambiguous: in %s and in %s", place.Func, filepath.Base(sources[at].path), filepath.Base(s.path))
			default:
				at = i
			}
		}
		if at < 0 {
			return nil, fmt.Errorf("%w %s in package %s", errNoFunc, place.Func, d.Package)
		}
		places[at] = append(places[at], place)
	}
	patched := map[string][]byte{}
	for i, here := range places {
		s := sources[i]
		if patched[s.path], err = Apply(s.path, s.text, here); err != nil {
			return nil, err
		}
	}
	if d.Declare == "" {
		return patched, nil
	}
	path := filepath.Join(folder, declared)
	if slices.ContainsFunc(sources, func(s source) bool { return s.path == path }) {
		return nil, fmt.Errorf("declare: package %s has a %s of its own", d.Package, declared)
	}
	text := fmt.Appendf(nil, "package %s\n\n//line %s (patched):1\n%s", sources[0].tree.Name.Name, path, d.Declare)
	if _, err := parser.ParseFile(token.NewFileSet(), declared, text, parser.SkipObjectResolution); err != nil {
		return nil, fmt.Errorf("parse declarations: %w", err)
	}
	patched[path] = text
	return patched, nil
}

// readPackage reads the files of the package in folder that are built on this
// machine, tests apart.
func readPackage(folder string) ([]source, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var all []source
	for _, e := range entries {
		if e.IsDir() || filepath.Ext(e.Name()) != ".go" || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		match, err := build.Default.MatchFile(folder, e.Name())
		if err != nil {
			return nil, err
		}
		if !match {
			continue
		}
		s := source{path: filepath.Join(folder, e.Name())}
		if s.text, err = os.ReadFile(s.path); err != nil {
			return nil, err
		}
		if s.tree, err = parser.ParseFile(token.NewFileSet(), s.path, s.text, parser.SkipObjectResolution); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}
