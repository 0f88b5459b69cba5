package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stageEnv marks the re-executed program.
const stageEnv = "HALFOPEN_SANDBOX"

func init() {
	// Pins main on the leader thread: /proc/self/ns and /proc/net show the
	// leader's namespaces, and no host's executor may ever own it.
	runtime.LockOSThread()
}

// Sandbox re-executes the program once, in new user, mount and pid namespaces
// with a /proc of their own, and returns in the re-executed program only (there
// it is pid 1). It stays in the network namespace that it came from, so that
// Ginkgo's parallel processes reach each other. Call it first in main or
// TestMain.
//
// The outer program waits, passes SIGTERM on, leaves SIGINT to the inner one
// (the terminal sends it to both), and exits as the inner one does. If the outer
// one's parent dies, it dies, and with it every process of the sandbox. TMPDIR is
// a folder of the sandbox's own, which goes with it. So nothing has to be cleaned
// up, whatever is killed.
//
// As root the program goes on without a user namespace where that is refused.
// The error says what refused, and what helps.
func Sandbox() error {
	if os.Getenv(stageEnv) == "" {
		return outer()
	}
	if err := os.Unsetenv(stageEnv); err != nil {
		return fmt.Errorf("enter sandbox: %w", err)
	}
	return inner()
}

// outer never returns nil: it exits with the inner program's status.
func outer() error {
	parent := os.Getppid()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("enter sandbox: follow the parent into death: %w", err)
	}
	if os.Getppid() != parent || orphaned() {
		os.Exit(1) // the parent died before the kernel knew that we follow it
	}
	temp, err := MakeTemp("halfopen-")
	if err != nil {
		return fmt.Errorf("enter sandbox: %w", err)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM)
	cmd, err := reexec(temp)
	if err != nil {
		return errors.Join(err, temp.Remove())
	}
	go func() {
		for s := range signals {
			if s == unix.SIGTERM {
				_ = cmd.Process.Signal(s) // fails only if the inner program is gone, and then we go too
			}
		}
	}()
	err = cmd.Wait()
	if err := temp.Remove(); err != nil {
		fmt.Fprintln(os.Stderr, "halfopen: leave sandbox:", err)
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		os.Exit(0)
	case errors.As(err, &exit) && exit.Exited():
		os.Exit(exit.ExitCode())
	case errors.As(err, &exit):
		os.Exit(128 + int(exit.Sys().(syscall.WaitStatus).Signal()))
	}
	return fmt.Errorf("enter sandbox: wait: %w", err)
}

// orphaned says whether the process's parent had died before the process could ask
// who that is: unless it leads a process group, it was born into its parent's.
func orphaned() bool {
	group, err := unix.Getpgid(os.Getppid())
	return unix.Getpgrp() != os.Getpid() && (err != nil || group != unix.Getpgrp())
}

// aliveFD is, in the inner program, the end of a pipe that the outer one holds open.
const aliveFD = 3

// follow ends the inner program if the outer one died before the kernel knew that
// we follow it: a process without a parent in its pid namespace cannot ask for it.
func follow() error {
	pipe := []unix.PollFd{{Fd: aliveFD}}
	for {
		_, err := unix.Poll(pipe, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("enter sandbox: look for the outer program: %w", err)
		}
		if pipe[0].Revents&unix.POLLHUP != 0 {
			os.Exit(1)
		}
		if err := unix.Close(aliveFD); err != nil {
			return fmt.Errorf("enter sandbox: look for the outer program: %w", err)
		}
		return nil
	}
}

// reexec starts the inner program, as root without a user namespace if need be.
func reexec(temp *Temp) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("enter sandbox: find own program: %w", err)
	}
	root := os.Geteuid() == 0
	try := func(user bool) (*exec.Cmd, error) {
		attr := &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID,
			Pdeathsig:  unix.SIGKILL,
		}
		if user {
			attr.Cloneflags |= unix.CLONE_NEWUSER
			attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
			attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
			if root {
				// Root keeps its power over everybody's files.
				attr.UidMappings, attr.GidMappings = ownMap("uid_map"), ownMap("gid_map")
				attr.GidMappingsEnableSetgroups = true
			}
		}
		cmd := exec.Command(self, os.Args[1:]...)
		cmd.Args[0] = os.Args[0]
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.Env = append(os.Environ(), stageEnv+"=1", "TMPDIR="+temp.Path)
		cmd.ExtraFiles = []*os.File{temp.alive} // aliveFD
		cmd.SysProcAttr = attr
		return cmd, cmd.Start()
	}
	cmd, err := try(true)
	if err != nil && root {
		cmd, err = try(false)
	}
	if err != nil {
		return nil, refused("new user, mount and pid namespaces", err)
	}
	return cmd, nil
}

// ownMap is the identity map over the ids that this process's user namespace has.
func ownMap(name string) []syscall.SysProcIDMap {
	text, err := os.ReadFile(filepath.Join("/proc/self", name))
	var ids []syscall.SysProcIDMap
	if err == nil {
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) != 3 {
				continue
			}
			inside, err1 := strconv.Atoi(f[0])
			size, err2 := strconv.Atoi(f[2])
			if err1 == nil && err2 == nil {
				ids = append(ids, syscall.SysProcIDMap{ContainerID: inside, HostID: inside, Size: size})
			}
		}
	}
	if ids == nil {
		ids = []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
	}
	return ids
}

// inner makes the sandbox's own /proc and begins to reap.
func inner() error {
	if err := follow(); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return refused("private mounts", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return refused("mount /proc", err)
	}
	// The legacy iptables wants a lock in /run, where an ordinary user may not
	// write; every host here has its own rules, and one caller at a time.
	if os.Getenv("XTABLES_LOCKFILE") == "" {
		lock := filepath.Join(os.TempDir(), "xtables.lock")
		if err := os.Setenv("XTABLES_LOCKFILE", lock); err != nil {
			return fmt.Errorf("enter sandbox: %w", err)
		}
	}
	// An ordinary user's PATH often lacks the folders of iptables.
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin"); err != nil {
		return fmt.Errorf("enter sandbox: %w", err)
	}
	go reap()
	return nil
}

// reap collects children that nobody waits for: processes whose parent died fall
// to pid 1. One that is a zombie for five seconds has no waiter, not even a slow one.
func reap() {
	seen := map[int]int{} // in how many looks on end
	for {
		now := map[int]int{}
		for pid := range zombies() {
			if now[pid] = seen[pid] + 1; now[pid] > 5 {
				_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil) // gone already is as good
			}
		}
		seen = now
		time.Sleep(time.Second) // and no ticker: after a pause two of its ticks are close together
	}
}

// zombies are the dead children of this process, by pid.
func zombies() map[int]bool {
	found := map[int]bool{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return found
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == 1 {
			continue
		}
		text, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		// "pid (name) state ppid ...": the name may hold anything.
		rest := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if len(rest) > 1 && rest[0] == "Z" && rest[1] == "1" {
			found[pid] = true
		}
	}
	return found
}
