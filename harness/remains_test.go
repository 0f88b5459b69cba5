package harness

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// Each thing that is held is told, and is told no more when it is let go.
func TestBeyond(t *testing.T) {
	for _, c := range []struct {
		what string
		hold func() (release func() error, err error)
		says string
	}{
		{"nothing", func() (func() error, error) { return func() error { return nil }, nil }, ""},
		{"a goroutine", func() (func() error, error) {
			stop := make(chan struct{})
			go func() { <-stop }()
			return func() error { close(stop); return nil }, nil
		}, "1 goroutines ["},
		{"a file", func() (func() error, error) {
			f, err := os.Open("remains.go")
			return f.Close, err
		}, "/remains.go"},
		{"a pipe", func() (func() error, error) {
			r, w, err := os.Pipe()
			return func() error { _ = r.Close(); return w.Close() }, err
		}, "2 descriptors of pipe"},
		{"a process", func() (func() error, error) {
			cmd := exec.Command("sleep", "60")
			err := cmd.Start()
			for end := time.Now().Add(leftTime); err == nil && time.Now().Before(end); time.Sleep(poll) {
				// Start returns when the new program is certain; its name comes a little later.
				if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid)); string(name) == "sleep\n" {
					break
				}
			}
			return func() error { _ = cmd.Process.Kill(); _ = cmd.Wait(); return nil }, err
		}, "(sleep)"},
	} {
		before := read(t)
		release, err := c.hold()
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t).beyond(before); (c.says == "") != (len(got) == 0) ||
			!slices.ContainsFunc(append(got, ""), func(s string) bool { return strings.Contains(s, c.says) }) {
			t.Errorf("%s: %q, want %q", c.what, got, c.says)
		}
		if err := release(); err != nil {
			t.Fatal(err)
		}
		var got []string
		for end := time.Now().Add(leftTime); ; time.Sleep(poll) {
			if got = read(t).beyond(before); len(got) == 0 || time.Now().After(end) {
				break
			}
		}
		if len(got) > 0 {
			t.Errorf("%s: let go, and still: %q", c.what, got)
		}
	}
}

func read(t *testing.T) holdings {
	t.Helper()
	h, err := readHoldings()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestKind(t *testing.T) {
	own := map[string]bool{"17": true}
	for target, want := range map[string]string{
		"socket:[17]": "", "socket:[18]": "socket", "pipe:[17]": "pipe", "net:[18]": "net", "/tmp/x": "/tmp/x",
		"anon_inode:[eventpoll]": "", "anon_inode:[eventfd]": "", "anon_inode:[pidfd]": "pidfd",
	} {
		if got := kind(target, own); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}
