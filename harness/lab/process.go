package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Command is a program to be started on a host.
type Command struct {
	Role string   // "server", "client": the process's name in the lab
	Argv []string // Argv[0] is a path or is looked up in PATH
	Env  []string // added to the harness's own environment
	Log  string   // the file that its output goes to; made anew
}

// Process is a real process on a host.
type Process struct {
	Role string
	Host *Host
	Argv []string

	cmd    *exec.Cmd
	log    string
	exited chan struct{}
	err    error        // of Wait; set before exited is closed
	told   atomic.Int32 // the first signal that told it to end, while it ran; 0 if none did
}

// Start starts a program on host h and enters it into the lab under its role. It
// is killed when the lab is closed, or when the harness dies.
func (l *Lab) Start(h *Host, c Command) (*Process, error) {
	if len(c.Argv) == 0 {
		return nil, fmt.Errorf("start %s: no command given", c.Role)
	}
	if err := os.MkdirAll(filepath.Dir(c.Log), 0o755); err != nil {
		return nil, fmt.Errorf("start %s: make log folder: %w", c.Role, err)
	}
	log, err := os.Create(c.Log)
	if err != nil {
		return nil, fmt.Errorf("start %s: make log: %w", c.Role, err)
	}
	defer log.Close()
	cmd := exec.Command(c.Argv[0], c.Argv[1:]...)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own: Ctrl-C is the harness's to handle.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true}
	if err := h.Do(cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s on host %s: %w", c.Role, h.Name, err)
	}
	p := &Process{Role: c.Role, Host: h, Argv: c.Argv, cmd: cmd, log: c.Log, exited: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	l.Processes[c.Role] = p
	return p, nil
}

// killStrays kills what the lab's processes have started and left: whoever is on one of
// the hosts, in whatever session. Pid 1 of the sandbox reaps them.
func (l *Lab) killStrays() error {
	hosts := map[string]bool{}
	for _, h := range l.hosts {
		if name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", int(h.ns))); err == nil { // else it is closed
			hosts[name] = true
		}
	}
	all, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		return fmt.Errorf("kill strays: %w", err)
	}
	for _, path := range all {
		if name, err := os.Readlink(path); err != nil || !hosts[name] {
			continue // elsewhere, gone, or another user's
		}
		pid, err := strconv.Atoi(strings.Split(path, "/")[2])
		if err == nil {
			err = unix.Kill(pid, unix.SIGKILL)
		}
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("kill strays: %w", err)
		}
	}
	return nil
}

// PID is the process's number inside the sandbox.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Exited is closed when the process has ended and has been waited for.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Running says whether the process has not yet ended.
func (p *Process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Status tells how the process ended: "exit status 2", "signal: killed"; it is
// "running" before that.
func (p *Process) Status() string {
	if p.Running() {
		return "running"
	}
	if p.err == nil {
		return "exit status 0"
	}
	return p.err.Error()
}

// AsTold says whether the process has ended as it was told to by Signal: by SIGKILL, or in
// whatever way after SIGTERM. One that ended by itself before it was told has not.
func (p *Process) AsTold() bool {
	switch told := syscall.Signal(p.told.Load()); {
	case p.Running():
		return false
	case told == unix.SIGKILL: // it may have ended already, and not have been waited for
		return p.Status() == "signal: killed"
	default:
		return told == unix.SIGTERM
	}
}

// Signal sends sig. A process that has ended already is no error.
func (p *Process) Signal(sig os.Signal) error {
	if !p.Running() {
		return nil
	}
	if sig == unix.SIGTERM || sig == unix.SIGKILL {
		p.told.CompareAndSwap(0, int32(sig.(syscall.Signal)))
	}
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to %s: %w", sig, p.Role, err)
	}
	return nil
}

// Kill sends SIGKILL and waits until the process is gone.
func (p *Process) Kill() error {
	if err := p.Signal(unix.SIGKILL); err != nil {
		return err
	}
	<-p.exited
	return nil
}

// Stop sends SIGTERM and waits; a process that is still there when ctx ends is
// killed, and that is an error.
func (p *Process) Stop(ctx context.Context) error {
	if err := p.Signal(unix.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("stop %s: it did not end on SIGTERM: %w", p.Role, context.Cause(ctx)), p.Kill())
	}
}

// Printed is what the process has printed since the first from bytes of it.
func (p *Process) Printed(from int64) ([]byte, error) {
	f, err := os.Open(p.log)
	if err != nil {
		return nil, fmt.Errorf("read the output of %s: %w", p.Role, err)
	}
	defer f.Close()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read the output of %s: %w", p.Role, err)
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read the output of %s: %w", p.Role, err)
	}
	return text, nil
}

// PrintedBytes is how many bytes the process has printed.
func (p *Process) PrintedBytes() (int64, error) {
	info, err := os.Stat(p.log)
	if err != nil {
		return 0, fmt.Errorf("look at the output of %s: %w", p.Role, err)
	}
	return info.Size(), nil
}

// tailBytes is how much of a log Tail looks at.
const tailBytes = 8 << 10

// Tail is the last lines that the process printed, at most n.
func (p *Process) Tail(n int) []string {
	f, err := os.Open(p.log)
	if err != nil {
		return nil
	}
	defer f.Close()
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, size-tailBytes), io.SeekStart) // from the start is as good
	}
	text, err := io.ReadAll(io.LimitReader(f, tailBytes))
	if err != nil {
		return nil
	}
	lines := strings.Split(string(bytes.TrimRight(text, "\n")), "\n")
	if len(lines) == 1 && lines[0] == "" {
		return nil
	}
	return lines[max(0, len(lines)-n):]
}
