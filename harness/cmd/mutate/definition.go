package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// definitions is the folder of the definitions, relative to the module.
const definitions = "scenarios/mutants"

// Definition is one planted leak: one file NAME.yaml in scenarios/mutants.
type Definition struct {
	// Name is the file's name without its ending; it is what MUTANT names.
	Name string `yaml:"name" json:"name"`
	// What leaks or hangs, and when, in one sentence.
	What string `yaml:"what" json:"what"`
	// Catches names the story that finds the leak, as ginkgo -focus takes it.
	Catches string `yaml:"catches" json:"catches"`
	// Package is the folder of the package, relative to the module: "./tunnel".
	Package string `yaml:"package" json:"package"`
	// Func is the function that is edited, as stacks write it: "Serve",
	// "Config.check", "(*Server).serveSession". Type parameters are left out.
	Func string `yaml:"func" json:"func"`
	Edit Edit   `yaml:"edit" json:"edit"`
	// Imports are paths that the new statements need beside those that the file
	// has already.
	Imports []string `yaml:"imports,omitempty" json:"imports,omitempty"`
}

// Edit is exactly one change of a function's body. Statements are compared by
// their tokens: layout and comments do not count.
type Edit struct {
	// Append puts statements at the end of the body. An error if control never
	// gets there.
	Append string `yaml:"append,omitempty" json:"append,omitempty"`
	// Prepend puts statements before the first one of the body.
	Prepend string `yaml:"prepend,omitempty" json:"prepend,omitempty"`
	// Remove takes a statement away. It must occur once in the function, at any
	// depth.
	Remove string `yaml:"remove,omitempty" json:"remove,omitempty"`
	// Replace puts other statements in the place of one.
	Replace *Replacement `yaml:"replace,omitempty" json:"replace,omitempty"`
}

// Replacement is a statement that occurs once in the function, at any depth,
// and the statements that take its place.
type Replacement struct {
	Old string `yaml:"old" json:"old"`
	New string `yaml:"new" json:"new"`
}

// ReadDefinitions reads all definitions in dir, by name.
func ReadDefinitions(dir string) ([]Definition, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("list mutants in %s: %w", dir, err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("list mutants in %s: there is none", dir)
	}
	all := make([]Definition, 0, len(files))
	for _, file := range files {
		d, err := readDefinition(file)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

// FindDefinition reads the definition called name in dir. The error for an
// unknown name lists the known ones.
func FindDefinition(dir, name string) (Definition, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return Definition{}, fmt.Errorf("list mutants in %s: %w", dir, err)
	}
	known := make([]string, 0, len(files))
	for _, file := range files {
		if nameOf(file) == name {
			return readDefinition(file)
		}
		known = append(known, nameOf(file))
	}
	return Definition{}, fmt.Errorf("find mutant %q: unknown; there are: %s", name, strings.Join(known, ", "))
}

func nameOf(file string) string { return strings.TrimSuffix(filepath.Base(file), ".yaml") }

func readDefinition(file string) (Definition, error) {
	fail := func(err error) (Definition, error) {
		return Definition{}, fmt.Errorf("read mutant %s: %w", file, err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return fail(err)
	}
	var d Definition
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&d); err != nil {
		return fail(err)
	}
	if d.Name != nameOf(file) {
		return fail(fmt.Errorf("name is %q, and the file says %q", d.Name, nameOf(file)))
	}
	if err := d.check(); err != nil {
		return fail(err)
	}
	return d, nil
}

func (d Definition) check() error {
	for _, field := range []struct{ name, value string }{
		{"what", d.What}, {"catches", d.Catches}, {"package", d.Package}, {"func", d.Func},
	} {
		if strings.TrimSpace(field.value) == "" {
			return fmt.Errorf("%s is missing", field.name)
		}
	}
	if local, ok := strings.CutPrefix(d.Package, "./"); !ok || !filepath.IsLocal(local) {
		return fmt.Errorf("package %q is not a folder of this module, like ./tunnel", d.Package)
	}
	edits := 0
	for _, text := range []string{d.Edit.Append, d.Edit.Prepend, d.Edit.Remove} {
		if text != "" {
			edits++
		}
	}
	if r := d.Edit.Replace; r != nil {
		edits++
		if r.Old == "" || r.New == "" {
			return errors.New("edit: replace needs old and new")
		}
	}
	if edits != 1 {
		return fmt.Errorf("edit: has %d of append, prepend, remove and replace, needs one", edits)
	}
	return nil
}
