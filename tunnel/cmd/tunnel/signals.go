package main

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// onHangup calls reload at each SIGHUP until stop, which waits for a call under
// way.
func onHangup(reload func()) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	done := make(chan struct{})
	var reloading sync.WaitGroup
	reloading.Go(func() {
		for {
			select {
			case <-hangups:
				reload()
			case <-done:
				return
			}
		}
	})
	return func() {
		signal.Stop(hangups)
		close(done)
		reloading.Wait()
	}
}
