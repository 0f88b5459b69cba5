package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// doctor runs the command; after take, a shell command, in a user namespace of its
// own, where nothing that is taken away is taken from the machine.
func doctor(t *testing.T, take string) (report, int) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "doctor")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	var said bytes.Buffer
	cmd := exec.Command("/bin/sh", "-ec", take+"\nexec \"$0\" --json", program)
	cmd.Stderr = &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if take != "" {
		cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWUSER | unix.CLONE_NEWNS
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: it printed %q and said %q", err, out, said.String())
	}
	return r, cmd.ProcessState.ExitCode()
}

func (r report) find(t *testing.T, name string) capability {
	t.Helper()
	i := slices.IndexFunc(r.Capabilities, func(c capability) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("nothing is said of %s", name)
	}
	return r.Capabilities[i]
}

func TestEverythingIsHere(t *testing.T) {
	r, status := doctor(t, "")
	if !r.Fit || status != 0 {
		t.Errorf("exit status %d, and it says %+v", status, r)
	}
	if c := r.find(t, sandbox.Name); !strings.Contains(c.Detail, "in a user namespace") {
		t.Errorf("%s: %q", c.Name, c.Detail)
	}
}

func TestWhatIsTakenAwayIsMissed(t *testing.T) {
	for _, c := range []struct{ what, take, name, says string }{
		{"network namespaces", "echo 0 >/proc/sys/user/max_net_namespaces", sandbox.Name, "new network namespace"},
		{"the iptables program", `for f in /usr/sbin /sbin /usr/local/sbin; do
			[ ! -d $f ] || mount -t tmpfs none $f; done; mkdir /sbin/x; PATH=$(dirname "$(command -v go)"):/bin`, masquerade.Name, "iptables"},
	} {
		r, status := doctor(t, c.take)
		if r.Fit || status != unfit {
			t.Errorf("without %s: exit status %d, catalogue can run: %t", c.what, status, r.Fit)
		}
		if missed := r.find(t, c.name); missed.Present || !strings.Contains(missed.Detail, c.says) || missed.Get == "" || missed.Lost == "" {
			t.Errorf("without %s: it says of %s: %+v", c.what, c.name, missed)
		}
		var table bytes.Buffer
		if err := r.table(&table); err != nil || !strings.Contains(table.String(), "cannot run here: "+c.name) {
			t.Errorf("without %s: %v\n%s", c.what, err, table.String())
		}
	}
}

// Root can do without user namespaces.
func TestRootWithoutUserNamespaces(t *testing.T) {
	r, status := doctor(t, "echo 0 >/proc/sys/user/max_user_namespaces")
	if c := r.find(t, sandbox.Name); !r.Fit || status != 0 || !strings.Contains(c.Detail, "without a user namespace") {
		t.Errorf("exit status %d: %+v", status, c)
	}
	if c := r.find(t, "sysctls"); c.Present || !strings.Contains(c.Get, "max_user_namespaces") {
		t.Errorf("of the sysctl it says %+v", c)
	}
}

func TestOnlyTheCatalogueDecides(t *testing.T) {
	for _, c := range []struct {
		missing need
		fit     bool
	}{{byCatalogue, false}, {byFaults, true}, {byWorkshop, true}} {
		r := newReport([]capability{{Name: "a", Need: byCatalogue, Present: true}, {Name: "b", Need: c.missing}})
		if r.Fit != c.fit {
			t.Errorf("without something for %s: fit %t", c.missing, r.Fit)
		}
	}
}
