package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/build"
	"os"
	"path/filepath"
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
	file, patched, err := patch(folder, d)
	if err != nil {
		return "", err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make folder: %w", err)
	}
	// Not *.go: in a folder of the module it would be taken for source.
	to := filepath.Join(dir, filepath.Base(file)+".patched")
	if err := os.WriteFile(to, patched, 0o644); err != nil {
		return "", fmt.Errorf("write patched source: %w", err)
	}
	overlay, err := json.MarshalIndent(map[string]any{"Replace": map[string]string{file: to}}, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encode overlay: %w", err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, append(overlay, '\n'), 0o644); err != nil {
		return "", fmt.Errorf("write overlay: %w", err)
	}
	return path, nil
}

// patch finds the function of d among the files of the package in folder that
// are built on this machine, tests apart, and returns its file and the new
// source.
func patch(folder string, d Definition) (file string, patched []byte, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "", nil, fmt.Errorf("read package %s: %w", d.Package, err)
	}
	for _, e := range entries {
		if e.IsDir() || filepath.Ext(e.Name()) != ".go" || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		match, err := build.Default.MatchFile(folder, e.Name())
		if err != nil {
			return "", nil, fmt.Errorf("read package %s: %w", d.Package, err)
		}
		if !match {
			continue
		}
		path := filepath.Join(folder, e.Name())
		source, err := os.ReadFile(path)
		if err != nil {
			return "", nil, fmt.Errorf("read package %s: %w", d.Package, err)
		}
		out, err := Apply(path, source, d)
		if errors.Is(err, errNoFunc) {
			continue
		}
		if err != nil {
			return "", nil, err
		}
		if file != "" {
			return "", nil, fmt.Errorf("func %s is ambiguous: in %s and in %s", d.Func, filepath.Base(file), e.Name())
		}
		file, patched = path, out
	}
	if file == "" {
		return "", nil, fmt.Errorf("%w %s in package %s", errNoFunc, d.Func, d.Package)
	}
	return file, patched, nil
}
