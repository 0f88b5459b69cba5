package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// burnCommand keeps one CPU busy until it is killed.
func burnCommand() *cobra.Command {
	return &cobra.Command{
		Use: "burn", Short: "keep one CPU busy", Hidden: true, Args: cobra.NoArgs,
		Run: func(*cobra.Command, []string) {
			for n := 0; ; n++ { // it is killed
			}
		},
	}
}

// burn keeps n CPUs busy until stop is called. The programs die with this one.
func burn(n int) (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("make load: %w", err)
	}
	var all []*exec.Cmd
	stop = func() {
		for _, cmd := range all {
			_ = cmd.Process.Kill() // it is gone already, then
			_ = cmd.Wait()         // "signal: killed"
		}
	}
	for range n {
		cmd := exec.Command(self, "burn")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
		if err := cmd.Start(); err != nil {
			stop()
			return nil, fmt.Errorf("make load: %w", err)
		}
		all = append(all, cmd)
	}
	return stop, nil
}
