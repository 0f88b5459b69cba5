package lab_test

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

// tempVictim makes this test binary a process that makes a folder, tells its path,
// and waits to be killed.
const tempVictim = "HALFOPEN_TEMP_VICTIM"

func TestTempGoesWithAKilledProcess(t *testing.T) {
	if os.Getenv(tempVictim) != "" {
		temp, err := lab.MakeTemp("halfopen-victim-")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(temp.Path+"/file", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stdout.WriteString("folder " + temp.Path + "\n"); err != nil {
			t.Fatal(err)
		}
		select {}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestTempGoesWithAKilledProcess$")
	cmd.Env = append(os.Environ(), tempVictim+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	path := ""
	for lines := bufio.NewScanner(out); path == "" && lines.Scan(); {
		if p, ok := strings.CutPrefix(lines.Text(), "folder "); ok {
			path = p
		}
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the folder is not there before the kill: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s outlived the process that made it", path)
		}
	}
}

func TestTempRemove(t *testing.T) {
	temp, err := lab.MakeTemp("halfopen-test-")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(temp.Path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder is %v, %v; want one for its owner only", info, err)
	}
	if err := temp.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(temp.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is there after Remove: %v", err)
	}
}
