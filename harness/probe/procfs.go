package probe

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness/record"
)

// descriptors are the fds of a process, open as a folder of /proc.
type descriptors struct {
	dir *os.File
	buf [256]byte
}

func openDescriptors(pid int) (*descriptors, error) {
	dir, err := os.Open("/proc/" + strconv.Itoa(pid) + "/fd")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return nil, ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("open descriptors: %w", err)
	}
	return &descriptors{dir: dir}, nil
}

func (d *descriptors) close() {
	_ = d.dir.Close() // read only: there is nothing to lose
}

// list is all of them, by number.
func (d *descriptors) list() ([]record.FD, error) {
	names, err := d.dir.Readdirnames(-1)
	if err != nil && !errors.Is(err, unix.ENOENT) { // ENOENT, ESRCH: exited under our eyes
		if errors.Is(err, unix.ESRCH) {
			return nil, ErrGone
		}
		return nil, fmt.Errorf("list descriptors: %w", err)
	}
	fds := make([]record.FD, 0, len(names))
	for _, name := range names {
		number, err := strconv.Atoi(name)
		if err != nil {
			return nil, fmt.Errorf("list descriptors: %w", err)
		}
		target, err := d.target(name)
		if errors.Is(err, unix.ENOENT) {
			continue // closed since the list was read
		}
		if err != nil {
			return nil, fmt.Errorf("read descriptor %d: %w", number, err)
		}
		fds = append(fds, record.FD{Number: number, Target: target, Inode: inode(target)})
	}
	slices.SortFunc(fds, func(a, b record.FD) int { return a.Number - b.Number })
	return fds, nil
}

// target reads one link. Relative to the open folder this costs a microsecond,
// by full path several.
func (d *descriptors) target(name string) (string, error) {
	n, err := unix.Readlinkat(int(d.dir.Fd()), name, d.buf[:])
	if err != nil {
		return "", err
	}
	return string(d.buf[:n]), nil
}

// still tells whether fd is still what it was when it was listed.
func (d *descriptors) still(fd record.FD) bool {
	target, err := d.target(strconv.Itoa(fd.Number))
	return err == nil && target == fd.Target
}

// inode takes 4711 from "socket:[4711]" and "pipe:[4711]"; 0 if there is none.
func inode(target string) uint64 {
	kind, rest, ok := strings.Cut(target, ":[")
	if !ok || kind != "socket" && kind != "pipe" || !strings.HasSuffix(rest, "]") {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(rest, "]"), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// status is what /proc/PID/status says, in bytes.
type status struct {
	rss, rssAnon int64 // RssAnon is what a leak moves; VmRSS grows by file pages too
	threads      int
}

func readStatus(pid int) (status, error) {
	var s status
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return s, ErrGone
	}
	if err != nil {
		return s, fmt.Errorf("read status: %w", err)
	}
	found := 0
	for line := range bytes.Lines(text) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		number := strings.TrimSuffix(strings.TrimSpace(string(value)), " kB")
		var err error
		switch string(name) {
		case "VmRSS":
			s.rss, err = kibibytes(number)
		case "RssAnon":
			s.rssAnon, err = kibibytes(number)
		case "Threads":
			s.threads, err = strconv.Atoi(number)
		default:
			continue
		}
		if err != nil {
			return s, fmt.Errorf("read status: %s: %w", name, err)
		}
		found++
	}
	if found < 3 {
		return s, ErrGone // a zombie has no memory
	}
	return s, nil
}

func kibibytes(number string) (int64, error) {
	n, err := strconv.ParseInt(number, 10, 64)
	return n << 10, err
}
