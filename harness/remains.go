package harness

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onsi/gomega/gleak"

	"github.com/halfopen/halfopen/harness/record"
)

// holdings are what this process itself holds: a harness that leaks should not judge.
// Idle threads of Go's runtime come and go; a thread of a host is one that is in
// another network namespace.
type holdings struct {
	goroutines []gleak.Goroutine
	namespaces map[string]bool // network namespaces of its threads and descriptors: "net:[4026532281]"
	files      map[string]int  // descriptors by what they are; see kind
	children   map[string]bool // processes that live
}

// atFirst is what this process held before the suite made anything.
var atFirst *holdings

// remember notes what this process holds, the first time that it is called.
func remember() {
	if atFirst != nil {
		return
	}
	h, err := readHoldings()
	if err != nil {
		ginkgoT{}.Fatalf("set-up: %v", err)
	}
	atFirst = &h
}

// expectNothingLeft says what this process holds at the end of its suite that it did
// not at the beginning. The verdicts of a harness that leaks are worth nothing: it goes
// into the record as a check that failed.
func expectNothingLeft() error {
	if atFirst == nil {
		return nil // there was no suite to leave anything
	}
	if err := suite.close(); err != nil {
		return err
	}
	var left []string
	for end := time.Now().Add(leftTime); ; time.Sleep(poll) {
		h, err := readHoldings()
		if err != nil {
			return err
		}
		if left = h.beyond(*atFirst); len(left) == 0 {
			return nil
		}
		if time.Now().After(end) {
			break
		}
	}
	more := ""
	if n := len(left) - maxListed; n > 0 {
		left, more = left[:maxListed], fmt.Sprintf("; and %d more", n)
	}
	err := fmt.Errorf("the harness itself still holds at the end of its suite: %s%s", strings.Join(left, "; "), more)
	if shared.Dir == "" {
		return err
	}
	check := record.Check{What: "the harness holds at the end of its suite what it held at its beginning", Error: err.Error(), Duration: leftTime.Seconds()}
	return errors.Join(err, note(shared.Dir, []record.Event{{At: time.Now(), Kind: record.KindCheck, Check: &check}}))
}

// leftTime is how long what was closed may take to be gone: the promise that holds for
// a harness that is killed, too.
const leftTime = 3 * time.Second

// readHoldings reads what this process holds now.
func readHoldings() (h holdings, err error) {
	h = holdings{goroutines: gleak.Goroutines(), namespaces: map[string]bool{}, files: map[string]int{}, children: map[string]bool{}}
	own, err := ownSockets()
	if err != nil {
		return h, err
	}
	threads, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil || len(threads) == 0 {
		return h, errors.Join(errors.New("list own threads: there are none in /proc/self/task"), err)
	}
	for _, path := range threads {
		if name, err := os.Readlink(path); err == nil { // else the thread has just ended
			h.namespaces[name] = true
		}
	}
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return h, fmt.Errorf("list own descriptors: %w", err)
	}
	for _, f := range files {
		target, err := os.Readlink("/proc/self/fd/" + f.Name())
		if err != nil {
			continue // the one that listed them
		}
		if strings.HasPrefix(target, "net:[") {
			h.namespaces[target] = true
		}
		if k := kind(target, own); k != "" {
			h.files[k]++
		}
	}
	for _, c := range children() {
		h.children[c] = true
	}
	return h, nil
}

// kind is what a descriptor is, without the number that no two have in common; "" for
// those of Go's runtime, and for sockets in the process's own network namespace: by
// them Ginkgo's processes talk with each other, and no host of a lab is there.
func kind(target string, own map[string]bool) string {
	what, number, numbered := strings.Cut(target, ":[")
	switch {
	case own[strings.TrimSuffix(number, "]")] && what == "socket":
		return ""
	case target == "anon_inode:[eventpoll]", target == "anon_inode:[eventfd]":
		return ""
	case strings.HasPrefix(target, "anon_inode:"):
		return strings.Trim(strings.TrimPrefix(target, "anon_inode:"), "[]")
	case numbered:
		return what
	}
	return target
}

// ownSockets are the inodes of the sockets in the network namespace that this process
// was started in.
func ownSockets() (map[string]bool, error) {
	own := map[string]bool{}
	for _, table := range []struct {
		name  string
		inode int // the field
	}{{"tcp", 9}, {"tcp6", 9}, {"udp", 9}, {"unix", 6}} {
		f, err := os.Open("/proc/self/net/" + table.name)
		if errors.Is(err, os.ErrNotExist) {
			continue // a kernel without it
		}
		if err != nil {
			return nil, fmt.Errorf("list own sockets: %w", err)
		}
		for in := bufio.NewScanner(f); in.Scan(); {
			if fields := strings.Fields(in.Text()); len(fields) > table.inode {
				own[fields[table.inode]] = true
			}
		}
		if err := f.Close(); err != nil {
			return nil, fmt.Errorf("list own sockets: %w", err)
		}
	}
	return own, nil
}

// children are this process's children, by number and name.
func children() []string {
	var found []string
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil // the pattern is well-formed
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has just ended
		}
		// "pid (name) state ppid ...": the name may hold anything.
		end := strings.LastIndexByte(string(text), ')')
		rest := strings.Fields(string(text[end+1:]))
		// The dead ones among them are reaped within seconds, whoever started them.
		if end >= 0 && len(rest) > 1 && rest[1] == strconv.Itoa(os.Getpid()) && rest[0] != "Z" {
			found = append(found, string(text[:end+1]))
		}
	}
	return found
}

// beyond says what h holds that before did not, a phrase for each.
func (h holdings) beyond(before holdings) []string {
	var found []string
	alike := map[string]int{}
	for _, g := range h.goroutines {
		leaked, err := gleak.HaveLeaked(before.goroutines).Match([]gleak.Goroutine{g})
		if err != nil || leaked {
			alike[fmt.Sprintf("[%s] %s, created by %s", g.State, g.TopFunction, g.CreatorFunction)]++
		}
	}
	for _, what := range slices.Sorted(maps.Keys(alike)) {
		found = append(found, fmt.Sprintf("%d goroutines %s", alike[what], what))
	}
	for _, name := range slices.Sorted(maps.Keys(h.namespaces)) {
		if !before.namespaces[name] {
			found = append(found, "network namespace "+name)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(h.files)) {
		if more := h.files[k] - before.files[k]; more > 0 {
			found = append(found, fmt.Sprintf("%d descriptors of %s", more, k))
		}
	}
	for _, c := range slices.Sorted(maps.Keys(h.children)) {
		if !before.children[c] {
			found = append(found, "process "+c)
		}
	}
	return found
}
