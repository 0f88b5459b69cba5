package target

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// mutateCommand plants leaks: it prints the path of an overlay for go build.
const mutateCommand = "github.com/halfopen/halfopen/harness/cmd/mutate"

// Compile builds the target's programs into dir, with the leak named mutant
// planted ("" for none), and returns their paths by name. The source tree is not
// touched.
func (t *Target) Compile(ctx context.Context, dir, mutant string) (map[string]string, error) {
	var overlay []string
	if mutant != "" {
		if len(t.Build) == 0 {
			return nil, fmt.Errorf("plant %s: target %s is not built from source", mutant, t.Name)
		}
		out, err := t.goTool(ctx, "run", mutateCommand, "overlay", mutant, "--dir", dir)
		if err != nil {
			return nil, fmt.Errorf("plant %s: %w", mutant, err)
		}
		overlay = []string{"-overlay", strings.TrimSpace(out)}
	}
	bins := map[string]string{}
	for name, pkg := range t.Build {
		bins[name] = filepath.Join(dir, name)
		args := append([]string{"build", "-trimpath", "-o", bins[name]}, overlay...)
		if _, err := t.goTool(ctx, append(args, pkg)...); err != nil {
			return nil, fmt.Errorf("build %s: %w", pkg, err)
		}
	}
	return bins, nil
}

// goTool runs the go command in the folder of the target's file, so that its
// module decides. The error is the last line that the command printed.
func (t *Target) goTool(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Dir(t.File)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		lines := strings.Split(strings.TrimSpace(string(exit.Stderr)), "\n")
		last := lines[len(lines)-1]
		if strings.HasPrefix(last, "exit status") && len(lines) > 1 {
			last = lines[len(lines)-2] // go run adds its own line
		}
		return "", fmt.Errorf("%s (%w)", last, err)
	}
	if err != nil {
		return "", fmt.Errorf("run go: %w", err)
	}
	return string(out), nil
}
