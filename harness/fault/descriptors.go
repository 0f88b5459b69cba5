package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

// ExhaustFDs leaves a process no descriptor to open: the soft limit of RLIMIT_NOFILE is
// set to the lowest number that is free, so the next accept or dial fails with EMFILE.
// What the process holds it keeps.
// https://man7.org/linux/man-pages/man2/prlimit.2.html
type ExhaustFDs struct {
	Role string // of the process in the lab: "server"
}

// Describe implements Fault.
func (x ExhaustFDs) Describe() record.Fault {
	return record.Fault{Name: "out of descriptors", Place: x.Role, Class: record.Spared}
}

// Inject implements Fault. The Heal gives the old limit back.
func (x ExhaustFDs) Inject(_ context.Context, on *lab.Lab) (Heal, Witness, error) {
	p, err := running(on, x.Role)
	if err != nil {
		return nil, nil, fmt.Errorf("exhaust descriptors of %w", err)
	}
	pid := p.PID()
	_, free, err := descriptors(pid)
	if err != nil {
		return nil, nil, fmt.Errorf("exhaust descriptors: %w", err)
	}
	var old unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &old); err != nil {
		return nil, nil, fmt.Errorf("exhaust descriptors: read limit of pid %d: %w", pid, err)
	}
	less := unix.Rlimit{Cur: uint64(free), Max: old.Max}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &less, nil); err != nil {
		return nil, nil, fmt.Errorf("exhaust descriptors: set limit of pid %d: %w", pid, err)
	}
	heal := func(context.Context) error {
		if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &old, nil); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("give pid %d its descriptors back: %w", pid, err)
		}
		return nil
	}
	witness := func(context.Context) (string, bool, error) {
		var now unix.Rlimit
		if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &now); err != nil {
			return "", false, fmt.Errorf("read limit of pid %d: %w", pid, err)
		}
		count, free, err := descriptors(pid)
		if err != nil {
			return "", false, err
		}
		saw := fmt.Sprintf("pid %d holds %d descriptors, the lowest free number is %d, the limit %d", pid, count, free, now.Cur)
		return saw, now.Cur == less.Cur, nil
	}
	return heal, witness, nil
}

// descriptors are how many a process holds, and the lowest number that it does not.
func descriptors(pid int) (count, free int, err error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("list descriptors of pid %d: %w", pid, err)
	}
	held := map[string]bool{}
	for _, e := range entries {
		held[e.Name()] = true
	}
	for held[strconv.Itoa(free)] {
		free++
	}
	return len(entries), free, nil
}
