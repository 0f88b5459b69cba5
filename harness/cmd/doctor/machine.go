package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// toolTime bounds one question to a program.
const toolTime = 20 * time.Second

// machine looks at what needs no sandbox: programs, sysctls, limits.
func machine(ctx context.Context, root string) []capability {
	return []capability{
		golang(ctx, root),
		files(),
		pressure(),
		sysctls(),
		ginkgo(ctx, root),
		raceDetector(ctx, root),
		program(ctx, capability{
			Name: "git", Need: byWorkshop, Lost: "the commit in the report of a run",
			Get: "sudo apt-get install git",
		}, []string{"git"}, "--version"),
		program(ctx, capability{
			Name: "chromium", Need: byWorkshop, Lost: "the tests that look at reports in a real browser",
			Get: "sudo apt-get install chromium",
		}, []string{"chromium", "chromium-browser", "google-chrome"}, "--version"),
		program(ctx, capability{
			Name: "ruby", Need: byWorkshop, Lost: "make lint: the check of the Vagrantfile",
			Get: "sudo apt-get install ruby",
		}, []string{"ruby"}, "--version"),
		actionlint(ctx, root),
	}
}

// ask runs a program in dir and returns the first line that it printed.
func ask(ctx context.Context, dir, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, toolTime)
	defer cancel()
	var said strings.Builder
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stderr = dir, &said
	out, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("no %s in PATH: %w", name, exec.ErrNotFound)
	case errors.As(err, &exit):
		return "", fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	case err != nil:
		return "", fmt.Errorf("%s %s: %w", filepath.Base(name), strings.Join(args, " "), err)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line, nil
}

// program looks for the first of the names in PATH and asks it for its version.
func program(ctx context.Context, c capability, names []string, args ...string) capability {
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		version, err := ask(ctx, "", path, args...)
		return c.tried(err, version)
	}
	return c.absent("no "+strings.Join(names, ", ")+" in PATH", "")
}

func golang(ctx context.Context, root string) capability {
	c := capability{
		Name: "go", Need: byCatalogue, Lost: "everything: target and stories are built when they run",
		Get: "https://go.dev/dl; 1.24 or newer fetches the version that go.mod asks for",
	}
	version, err := ask(ctx, root, "go", "env", "GOVERSION")
	return c.tried(err, version)
}

// ginkgo compares the command with the version that go.mod pins: another one warns
// at each run, and may not fit.
func ginkgo(ctx context.Context, root string) capability {
	c := capability{
		Name: "ginkgo", Need: byWorkshop, Lost: "stories by the ginkgo command; go tool ginkgo and make soak do without",
		Get: "scripts/setup.sh",
	}
	pinned, err := ask(ctx, root, "go", "list", "-m", "-f", "{{.Version}}", "github.com/onsi/ginkgo/v2")
	if err != nil {
		return c.absent(err.Error(), "")
	}
	pinned = strings.TrimPrefix(pinned, "v")
	said, err := ask(ctx, "", "ginkgo", "version")
	if errors.Is(err, exec.ErrNotFound) {
		return c.absent("no ginkgo in PATH, go.mod pins "+pinned, "")
	}
	if f := strings.Fields(said); err == nil && f[len(f)-1] != pinned {
		err = fmt.Errorf("the one in PATH is %s, go.mod pins %s", f[len(f)-1], pinned)
	}
	return c.tried(err, pinned)
}

// actionlint is a tool of go.mod: it is here once the module cache has it.
func actionlint(ctx context.Context, root string) capability {
	c := capability{
		Name: "actionlint", Need: byWorkshop, Lost: "make lint: the check of the workflows",
		Get: "a network, once: go mod download",
	}
	version, err := ask(ctx, root, "go", "tool", "actionlint", "-version")
	return c.tried(err, version)
}

// raceDetector compiles a C program, as the go command does for -race.
func raceDetector(ctx context.Context, root string) capability {
	c := capability{
		Name: "race detector", Need: byWorkshop, Lost: "make test: unit tests under the race detector",
		Get: "sudo apt-get install gcc libc6-dev",
	}
	compiler, err := ask(ctx, root, "go", "env", "CC")
	if err != nil {
		return c.absent(err.Error(), "")
	}
	dir, err := os.MkdirTemp("", "halfopen-doctor-")
	if err != nil {
		return c.absent(err.Error(), "")
	}
	defer os.RemoveAll(dir)
	source := filepath.Join(dir, "try.c")
	if err := os.WriteFile(source, []byte("#include <stdlib.h>\nint main(void) { return 0; }\n"), 0o600); err != nil {
		return c.absent(err.Error(), "")
	}
	words := strings.Fields(compiler)
	if len(words) == 0 {
		return c.absent("go env CC names no C compiler", "")
	}
	_, err = ask(ctx, dir, words[0], append(words[1:], "-o", filepath.Join(dir, "try"), source)...)
	return c.tried(err, compiler+" compiles")
}

// enoughFiles is what eight stories at once need in one process, with room.
const enoughFiles = 1024

// filesAVisitor are the descriptors of one visitor in the harness's own process:
// its end, and the origin's.
const filesAVisitor = 2

// files looks at the hard limit: Go programs raise the soft one to it.
func files() capability {
	c := capability{
		Name: "open files", Need: byCatalogue, Lost: "stories with more visitors than the limit allows",
		Get: fmt.Sprintf("raise the hard limit of open files to %d or more: ulimit -Hn, /etc/security/limits.conf", enoughFiles),
	}
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return c.absent(err.Error(), "")
	}
	detail := fmt.Sprintf("RLIMIT_NOFILE %d: some %d visitors at once", l.Max, (max(l.Max, enoughFiles/2)-enoughFiles/2)/filesAVisitor)
	if l.Max == unix.RLIM_INFINITY {
		detail = "RLIMIT_NOFILE without a limit"
	}
	if l.Max < enoughFiles {
		return c.absent(detail, "")
	}
	return c.present(detail)
}

func pressure() capability {
	c := capability{
		Name: "/proc/pressure", Need: byFaults, Lost: "the second account of a starved machine; the harness's own ticker stays",
		Get: "a kernel with CONFIG_PSI, booted with psi=1",
	}
	text, err := os.ReadFile("/proc/pressure/cpu")
	line, _, _ := strings.Cut(string(text), "\n")
	return c.tried(err, line)
}

// refusing are the sysctls that refuse something to an ordinary user, with the value
// that does.
var refusing = []struct{ key, bad, cure string }{
	{"kernel.apparmor_restrict_unprivileged_userns", "1", "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
	{"kernel.unprivileged_userns_clone", "0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"},
	{"user.max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=10000"},
	{"user.max_net_namespaces", "0", "sudo sysctl -w user.max_net_namespaces=10000"},
	{"kernel.yama.ptrace_scope", "3", "sudo sysctl -w kernel.yama.ptrace_scope=1 (3 stays until the next boot)"},
}

// sysctls lists what would refuse; whether it does is said by what was tried.
func sysctls() capability {
	c := capability{Name: "sysctls", Need: byFaults, Lost: "what they refuse, as named above; root may not mind"}
	var fine, bad, cures []string
	for _, s := range refusing {
		text, err := os.ReadFile(filepath.Join("/proc/sys", strings.ReplaceAll(s.key, ".", "/")))
		if err != nil {
			continue // this kernel has no such refusal
		}
		value := strings.TrimSpace(string(text))
		if value == s.bad {
			bad, cures = append(bad, s.key+"="+value), append(cures, s.cure)
		} else {
			fine = append(fine, s.key+"="+value)
		}
	}
	if bad != nil {
		return c.absent(strings.Join(bad, ", "), strings.Join(cures, "; "))
	}
	return c.present("nothing refuses: " + strings.Join(fine, ", "))
}
