package lab

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Refusal says that this machine does not let a lab be built, and what helps.
type Refusal struct {
	What string // "new network namespace"
	Err  error
	Help string
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("%s: %v: %s", r.What, r.Err, r.Help)
}

func (r *Refusal) Unwrap() error { return r.Err }

// refused names what helps against err.
func refused(what string, err error) error {
	again := "run it again with sudo -E"
	if os.Geteuid() == 0 {
		again = "run it on the machine itself or in a container that may make namespaces (--privileged)"
	}
	help := again
	switch {
	case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EUSERS):
		help = "a limit of namespaces is reached: raise user.max_user_namespaces, user.max_pid_namespaces, user.max_mnt_namespaces or user.max_net_namespaces (sudo sysctl -w user.max_net_namespaces=10000), or " + again
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		for _, s := range []struct{ key, bad, cure string }{
			{"kernel/apparmor_restrict_unprivileged_userns", "1", "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
			{"kernel/unprivileged_userns_clone", "0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"},
			{"user/max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=10000"},
		} {
			value, readErr := os.ReadFile("/proc/sys/" + s.key)
			if readErr == nil && strings.TrimSpace(string(value)) == s.bad {
				help = s.cure + ", or " + again
				break
			}
		}
	}
	return &Refusal{What: what, Err: err, Help: help}
}

// Check builds and takes down a small lab, and says what refuses, if anything
// does: network namespaces, a veth pair, iptables, conntrack. Call it inside the
// sandbox.
func Check() error {
	l, err := BehindNAT()
	if err != nil {
		return err
	}
	return l.Close()
}
