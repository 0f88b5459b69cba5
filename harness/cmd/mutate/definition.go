package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/halfopen/halfopen/harness/record"
)

// definitions is the folder of the definitions, relative to the module.
const definitions = "scenarios/mutants"

// Definition is one planted leak: one file NAME.yaml in scenarios/mutants.
type Definition struct {
	// Name is the file's name without its ending; it is what MUTANT names.
	Name string `yaml:"name" json:"name"`
	// What leaks or hangs, and when, in one sentence.
	What string `yaml:"what" json:"what"`

	// Focus is the story that must catch the leak, Misses one that must pass with
	// the leak planted, for its fault is not the one meant for it; both as ginkgo
	// -focus takes them. Misses may be missing.
	Focus  string `yaml:"focus" json:"focus"`
	Misses string `yaml:"misses,omitempty" json:"misses,omitempty"`
	// Also are stories of other faults that must catch it in the same way: a leak that
	// many faults find shows that each of them can find one.
	Also []string `yaml:"also,omitempty" json:"also,omitempty"`
	// Besides is the text of a finding that is not the leak: with it the story that
	// misses may be INCONCLUSIVE ("SO_KEEPALIVE": the sockets tell that it is off).
	Besides string `yaml:"besides,omitempty" json:"besides,omitempty"`
	// Verdict is the one that the story must come to: LEAK, LATE or DEAD.
	Verdict record.Verdict `yaml:"verdict" json:"verdict"`
	// Holder are texts that the judgement must contain, each of them, in its reason,
	// where, why, survivors or excesses. HeldBy is the role of the one process that
	// may hold anything ("client"); any if it is "".
	Holder []string `yaml:"holder" json:"holder"`
	HeldBy string   `yaml:"held_by,omitempty" json:"held_by,omitempty"`
	// Target is the file of the system under test, relative to the module; "" is the
	// suite's own default. Env is added to the environment of its processes.
	Target string            `yaml:"target,omitempty" json:"target,omitempty"`
	Env    map[string]string `yaml:"env,omitempty" json:"env,omitempty"`

	// Package is the folder of the package, relative to the module: "./tunnel".
	Package string `yaml:"package" json:"package"`
	// Place is the edit, or Edits are, where there are several.
	Place `yaml:",inline"`
	Edits []Place `yaml:"edits,omitempty" json:"edits,omitempty"`
	// Declare is a file more for the package, without its package clause: imports and
	// declarations that the edits need.
	Declare string `yaml:"declare,omitempty" json:"declare,omitempty"`
}

// Place is one edit and where it is made.
type Place struct {
	// Func is the function that is edited, as stacks write it: "Serve",
	// "Config.check", "(*Server).serveSession". Type parameters are left out.
	Func string `yaml:"func,omitempty" json:"func,omitempty"`
	Edit Edit   `yaml:"edit,omitempty" json:"edit,omitzero"`
	// Imports are paths that the new statements need beside those that the file
	// has already.
	Imports []string `yaml:"imports,omitempty" json:"imports,omitempty"`
}

// places are all edits, in the order in which they are written.
func (d Definition) places() []Place {
	if d.Func != "" {
		return append([]Place{d.Place}, d.Edits...)
	}
	return d.Edits
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
		{"what", d.What}, {"focus", d.Focus}, {"package", d.Package}, {"holder", strings.Join(d.Holder, "")},
	} {
		if strings.TrimSpace(field.value) == "" {
			return fmt.Errorf("%s is missing", field.name)
		}
	}
	if slices.Contains(d.Holder, "") {
		return errors.New("holder: an empty text is in every judgement")
	}
	if slices.Contains(d.Also, "") {
		return errors.New("also: an empty focus is every story")
	}
	if _, err := regexp.Compile(d.Focus); err != nil {
		return fmt.Errorf("focus: %w", err)
	}
	if _, err := regexp.Compile(d.Misses); err != nil {
		return fmt.Errorf("misses: %w", err)
	}
	for _, focus := range d.Also {
		if _, err := regexp.Compile(focus); err != nil {
			return fmt.Errorf("also: %w", err)
		}
	}
	if !slices.Contains([]record.Verdict{record.Leak, record.Late, record.Dead}, d.Verdict) {
		return fmt.Errorf("verdict is %q, and a planted leak can be LEAK, LATE or DEAD", d.Verdict)
	}
	if d.Target != "" && !filepath.IsLocal(d.Target) {
		return fmt.Errorf("target %q is not a file of this module", d.Target)
	}
	if local, ok := strings.CutPrefix(d.Package, "./"); !ok || !filepath.IsLocal(local) {
		return fmt.Errorf("package %q is not a folder of this module, like ./tunnel", d.Package)
	}
	if d.Func == "" && (d.Edit != Edit{} || d.Imports != nil) {
		return errors.New("func is missing")
	}
	if len(d.places()) == 0 {
		return errors.New("edits is missing (or func and edit)")
	}
	for _, p := range d.places() {
		if err := p.check(); err != nil {
			return err
		}
	}
	return nil
}

func (p Place) check() error {
	if p.Func == "" {
		return errors.New("edits: func is missing")
	}
	edits := 0
	for _, text := range []string{p.Edit.Append, p.Edit.Prepend, p.Edit.Remove} {
		if text != "" {
			edits++
		}
	}
	if r := p.Edit.Replace; r != nil {
		edits++
		if r.Old == "" || r.New == "" {
			return fmt.Errorf("edit of %s: replace needs old and new", p.Func)
		}
	}
	if edits != 1 {
		return fmt.Errorf("edit of %s: has %d of append, prepend, remove and replace, needs one", p.Func, edits)
	}
	return nil
}
