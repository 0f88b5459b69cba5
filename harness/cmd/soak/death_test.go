package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A target that dies by itself in the middle of a soak is DEAD, in one clear line. Here
// somebody else kills the server once the first cycle is judged.
func TestTargetDies(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a soak: half a minute")
	}
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "soak")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	cmd := exec.Command(program, "--catalogue=false", "--duration=5m", "--seed=1", "--evidence=none")
	cmd.Env = append(os.Environ(), "HALFOPEN_ROOT="+root, "HALFOPEN_OUT="+t.TempDir())
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	guard := time.AfterFunc(9*time.Minute, func() { _ = cmd.Process.Kill() }) // it may have to compile first; what it started dies with it
	defer guard.Stop()
	var said []string
	judged := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said = append(said, lines.Text())
		if strings.HasPrefix(lines.Text(), "cycle   1 ") {
			judged = true
			pid, err := serverBelow(cmd.Process.Pid)
			if err == nil {
				err = unix.Kill(pid, unix.SIGKILL)
			}
			if err != nil {
				t.Error(err)
				_ = cmd.Process.Kill()
			}
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("the soak ends with %v, want status 1", err)
	}
	text := strings.Join(said, "\n")
	if !judged {
		t.Fatalf("no cycle was judged, nobody was killed:\n%s", text)
	}
	if !strings.Contains(text, "\nDEAD: the server ended by itself: ") || !strings.HasPrefix(said[len(said)-1], "verdict=DEAD exit=1 ") {
		t.Errorf("nothing says clearly that the server died:\n%s", text)
	}
	if strings.Contains(text, "NO LEAK sockets") {
		t.Errorf("something is excluded all the same:\n%s", text)
	}
}

// serverBelow is the target's server among the descendants of a process.
func serverBelow(ancestor int) (int, error) {
	parents, server := map[int]int{}, 0
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	var servers []int
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// "pid (name) state parent ...": the name may have blanks and brackets.
		_, rest, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')')+1:]), " ")
		pid, err1 := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		parent, err2 := strconv.Atoi(strings.Fields(rest)[1])
		if err := errors.Join(err1, err2); err != nil {
			return 0, fmt.Errorf("read %s: %w", file, err)
		}
		parents[pid] = parent
		argv, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		if words := strings.Split(string(argv), "\x00"); len(words) > 1 && filepath.Base(words[0]) == "tunnel" && words[1] == "server" {
			servers = append(servers, pid)
		}
	}
	for _, pid := range servers {
		for at := pid; at > 1; at = parents[at] {
			if at == ancestor {
				server = pid
			}
		}
	}
	if server == 0 {
		return 0, fmt.Errorf("no server below process %d", ancestor)
	}
	return server, nil
}
