package leftovers_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// process is one line of the process table.
type process struct {
	pid, parent int
	state       string
	args        string // of its command line, space-separated; its name if it has none
}

func (p process) String() string {
	return fmt.Sprintf("%d (%s) %.120s", p.pid, p.state, p.args)
}

// adopt makes this process the one that orphans fall to, so that whatever a victim
// started stays below us.
func adopt(t *testing.T) {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatalf("become subreaper: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0); err != nil {
			t.Errorf("be subreaper no more: %v", err)
		}
	})
}

// descendants are the processes below root, without those that are dead and only
// wait to be reaped.
func descendants(root int) ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	children := map[int][]process{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, ok := readProcess(pid); ok {
			children[p.parent] = append(children[p.parent], p)
		}
	}
	var found []process
	for todo := []int{root}; len(todo) > 0; todo = todo[1:] {
		for _, p := range children[todo[0]] {
			todo = append(todo, p.pid)
			if p.state != "Z" && p.state != "X" {
				found = append(found, p)
			}
		}
	}
	for i := range found { // of those of ours only
		found[i].args = commandLine(found[i])
	}
	return found, nil
}

// readProcess reads a process's line, or not if it is gone.
func readProcess(pid int) (process, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, false
	}
	// "pid (name) state ppid ...": the name may hold anything.
	end := strings.LastIndexByte(string(text), ')')
	start := strings.IndexByte(string(text), '(')
	rest := strings.Fields(string(text[end+1:]))
	if start < 0 || len(rest) < 2 {
		return process{}, false
	}
	parent, err := strconv.Atoi(rest[1])
	return process{pid: pid, parent: parent, state: rest[0], args: string(text[start : end+1])}, err == nil
}

func commandLine(p process) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
	if args := strings.TrimSpace(strings.ReplaceAll(string(text), "\x00", " ")); err == nil && args != "" {
		return args
	}
	return p.args
}

// reapOrphans collects our dead children but for the one that exec.Cmd waits for.
func reapOrphans(but int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return // the next look tells
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == but {
			continue
		}
		if p, ok := readProcess(pid); ok && p.parent == os.Getpid() && p.state == "Z" {
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil) // gone already is as good
		}
	}
}

// namespaces holds who is in which namespace: "net:[4026531840]" by process number.
type namespaces map[string][]int

// namespaceKinds are those that a sandbox and its hosts make.
var namespaceKinds = []string{"net", "mnt", "pid", "user"}

// namespacesOf are those of the given processes, all their threads included: a host
// of the lab is a thread. Of other users' processes only root sees them.
func namespacesOf(pids []int) namespaces {
	found := namespaces{}
	for _, pid := range pids {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/ns", pid))
		if err != nil {
			continue // the pattern is well-formed
		}
		mine := map[string]bool{}
		for _, task := range tasks {
			for _, kind := range namespaceKinds {
				if name, err := os.Readlink(filepath.Join(task, kind)); err == nil {
					mine[name] = true
				}
			}
		}
		for name := range mine {
			found[name] = append(found[name], pid)
		}
	}
	return found
}

// allNamespaces are those of all processes, and those that a mount holds (pid 0).
func allNamespaces() (namespaces, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	found := namespacesOf(pids)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	for line := range strings.Lines(string(mounts)) {
		// "36 35 0:4 net:[4026532281] /run/netns/x rw shared:1 - nsfs nsfs rw"
		if f := strings.Fields(line); len(f) > 4 && strings.Contains(line, " - nsfs ") {
			found[f[3]] = append(found[f[3]], 0)
		}
	}
	return found, nil
}

// count is how many network namespaces there are.
func (n namespaces) count() int {
	networks := 0
	for name := range n {
		if strings.HasPrefix(name, "net:") {
			networks++
		}
	}
	return networks
}

// heldBy names the namespaces of now that are not in before, and that a process
// below us holds, or one that was below the victim, or a mount. Others' come and
// go on a busy machine, and get the numbers that ours had.
func (n namespaces) heldBy(before, seen namespaces, below []process) []string {
	ours := map[int]bool{}
	for _, p := range below {
		ours[p.pid] = true
	}
	for _, pids := range seen {
		for _, pid := range pids {
			ours[pid] = true
		}
	}
	var held []string
	for _, name := range slices.Sorted(maps.Keys(n)) {
		_, old := before[name]
		_, was := seen[name]
		if !old && slices.ContainsFunc(n[name], func(pid int) bool { return ours[pid] || pid == 0 && was }) {
			held = append(held, fmt.Sprintf("namespace %s, held by %v", name, n[name]))
		}
	}
	return held
}
