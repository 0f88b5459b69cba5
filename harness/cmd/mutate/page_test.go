package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// The page about planted leaks names each of them, and none that is not there.
func TestPageNamesEveryMutant(t *testing.T) {
	page, err := os.ReadFile("../../../docs/mutants.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../../" + definitions + "/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no definitions in %s (%v)", definitions, err)
	}
	var defined []string
	for _, f := range files {
		name := filepath.Base(f)
		defined = append(defined, name[:len(name)-len(".yaml")])
	}
	var named []string
	for _, found := range regexp.MustCompile("`([a-z]+(?:-[a-z]+)+)`").FindAllStringSubmatch(string(page), -1) {
		named = append(named, found[1])
	}
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
