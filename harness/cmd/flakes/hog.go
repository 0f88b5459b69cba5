package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// hogCommand keeps one CPU busy until it is killed.
func hogCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "hog",
		Short:  "keep one CPU busy until killed",
		Args:   cobra.NoArgs,
		Hidden: true,
		Run: func(*cobra.Command, []string) {
			runtime.GOMAXPROCS(1)
			for n := 0; ; n++ { // nothing to wait for: that is the point
			}
		},
	}
}

// startHogs starts n of them. They die with this program, however it ends; end kills
// them before that.
func startHogs(n int) (end func(), err error) {
	var running []*exec.Cmd
	end = func() {
		for _, cmd := range running {
			_ = cmd.Process.Kill() // gone already is as good
			_ = cmd.Wait()         // it was killed
		}
	}
	self, err := os.Executable()
	if err != nil {
		return end, fmt.Errorf("start hogs: %w", err)
	}
	for range n {
		cmd := exec.Command(self, "hog")
		// Out of reach of Ctrl-C, which is for the run.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
		if err := cmd.Start(); err != nil {
			end()
			return func() {}, fmt.Errorf("start hogs: %w", err)
		}
		running = append(running, cmd)
	}
	return end, nil
}
