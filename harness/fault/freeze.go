package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

// Freeze stops a process in its tracks: SIGSTOP. Its kernel goes on to acknowledge
// data and to answer keepalive probes, so no kernel at the other end ever notices:
// an application's deadline must.
type Freeze struct {
	Role string // of the process in the lab: "client"
}

// Describe implements Fault.
func (f Freeze) Describe() record.Fault {
	return record.Fault{Name: "frozen", Place: f.Role, Class: record.Frozen}
}

// Inject implements Fault. It returns when every thread has stopped. The Heal lets
// the process go on.
func (f Freeze) Inject(ctx context.Context, on *lab.Lab) (Heal, Witness, error) {
	p, err := running(on, f.Role)
	if err != nil {
		return nil, nil, fmt.Errorf("freeze %w", err)
	}
	thaw := func(context.Context) error {
		if err := p.Signal(unix.SIGCONT); err != nil {
			return fmt.Errorf("thaw: %w", err)
		}
		return nil
	}
	if err := p.Signal(unix.SIGSTOP); err != nil {
		return nil, nil, fmt.Errorf("freeze: %w", err)
	}
	for {
		stopped, threads, err := stops(p.PID())
		if err == nil && threads > 0 && stopped == threads {
			break
		}
		if err == nil && !p.Running() {
			err = fmt.Errorf("it has ended by itself: %s", p.Status())
		}
		if err == nil {
			err = wait(ctx, time.Millisecond)
		}
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("freeze %s: %w", f.Role, err), thaw(ctx))
		}
	}
	witness := func(context.Context) (string, bool, error) {
		if !p.Running() {
			return fmt.Sprintf("pid %d: %s", p.PID(), p.Status()), false, nil
		}
		stopped, threads, err := stops(p.PID())
		if err != nil {
			return "", false, err
		}
		return fmt.Sprintf("pid %d: %d of %d threads are stopped (state T)", p.PID(), stopped, threads), threads > 0 && stopped == threads, nil
	}
	return thaw, witness, nil
}

// stops counts the threads of a process, and those that are stopped by a signal.
// https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
func stops(pid int) (stopped, threads int, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("list threads of pid %d: %w", pid, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // that thread has ended
		}
		if err != nil {
			return 0, 0, fmt.Errorf("read thread of pid %d: %w", pid, err)
		}
		// The name before the state may hold anything, parentheses too.
		_, state, _ := bytes.Cut(text[max(0, bytes.LastIndexByte(text, ')')):], []byte(" "))
		threads++
		if bytes.HasPrefix(state, []byte("T")) {
			stopped++
		}
	}
	return stopped, threads, nil
}
