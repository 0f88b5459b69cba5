package lab

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Temp is a temporary folder that goes when the process that made it ends, also
// when it is killed.
type Temp struct {
	Path string

	// A shell in a session of its own reads alive, which nobody writes to, and
	// removes the folder when nobody holds keep open any more.
	alive, keep *os.File
}

// janitor removes the folder $1 when its standard input ends. What is still being
// killed may write into the folder meanwhile: then it tries again, for 5 s.
const janitor = `trap '' HUP INT TERM
read -r _
tries=0
until rm -rf -- "$1" || [ "$tries" -ge 100 ]; do tries=$((tries + 1)); sleep 0.05; done`

// MakeTemp makes a folder below TMPDIR, its name beginning with prefix. Whoever
// makes it removes it; if that is prevented, a shell that outlives the process does.
func MakeTemp(prefix string) (_ *Temp, err error) {
	fail := func(err error) (*Temp, error) { return nil, fmt.Errorf("make a temporary folder: %w", err) }
	// Nobody else has this name: the janitor may know it before the folder is there,
	// so that there is no moment in which a kill leaves the folder.
	path, err := filepath.Abs(filepath.Join(os.TempDir(), prefix+rand.Text()))
	if err != nil {
		return fail(err)
	}
	t := &Temp{Path: path}
	if t.alive, t.keep, err = os.Pipe(); err != nil {
		return fail(err)
	}
	cmd := exec.Command("/bin/sh", "-c", janitor, "halfopen-janitor", path)
	cmd.Dir = "/"
	cmd.Stdin = t.alive
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fail(errors.Join(err, t.alive.Close(), t.keep.Close()))
	}
	go func() { _ = cmd.Wait() }() // how it ends changes nothing: the folder is gone or it is not
	if err := os.Mkdir(path, 0o700); err != nil {
		return fail(errors.Join(err, t.alive.Close(), t.keep.Close()))
	}
	return t, nil
}

// Remove removes the folder and ends its janitor.
func (t *Temp) Remove() error {
	if err := errors.Join(os.RemoveAll(t.Path), t.keep.Close(), t.alive.Close()); err != nil {
		return fmt.Errorf("remove a temporary folder: %w", err)
	}
	return nil
}
