package target

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// mutateCommand plants leaks: it prints the path of an overlay for go build.
const mutateCommand = "github.com/halfopen/halfopen/harness/cmd/mutate"

// Compile builds the target's programs into dir, with the leak named mutant
// planted ("" for none), and returns their paths by name. The module that the
// target's file lies in decides, or root, the main module, if it lies in none. The
// source tree is not touched.
func (t *Target) Compile(ctx context.Context, root, dir, mutant string) (map[string]string, error) {
	var overlay []string
	if mutant != "" {
		if len(t.Build) == 0 {
			return nil, fmt.Errorf("plant %s: target %s is not built from source", mutant, t.Name)
		}
		out, err := goTool(ctx, root, "run", mutateCommand, "overlay", mutant, "--dir", dir)
		if err != nil {
			return nil, fmt.Errorf("plant %s: %w", mutant, err)
		}
		overlay = []string{"-overlay", strings.TrimSpace(out)}
	}
	bins := map[string]string{}
	for name, pkg := range t.Build {
		bins[name] = filepath.Join(dir, name)
		args := append([]string{"build", "-trimpath", "-o", bins[name]}, overlay...)
		if _, err := goTool(ctx, t.module(root), append(args, pkg)...); err != nil {
			return nil, fmt.Errorf("build %s: %w", pkg, err)
		}
	}
	return bins, nil
}

// GoBuild builds one package of the main module root into the file out.
func GoBuild(ctx context.Context, root, out, pkg string) error {
	if _, err := goTool(ctx, root, "build", "-trimpath", "-o", out, pkg); err != nil {
		return fmt.Errorf("build %s: %w", pkg, err)
	}
	return nil
}

// module is a folder from which the go command finds the target's module.
func (t *Target) module(root string) string {
	for dir := filepath.Dir(t.File); ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return root
		}
	}
}

// goTool runs the go command in dir. The error holds what it printed.
func goTool(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("%s (%w)", gist(string(exit.Stderr)), err)
	}
	if err != nil {
		return "", fmt.Errorf("run go: %w", err)
	}
	return string(out), nil
}

// gist is what the go command said, in one line: its headings ("# package") and the
// "exit status" of a program that it ran say nothing.
func gist(said string) string {
	var lines []string
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "# ") && !strings.HasPrefix(line, "exit status") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[:min(3, len(lines))], " ")
}
