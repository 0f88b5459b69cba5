package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// drainFlag adds the flag of how long the end may take.
func drainFlag(c *cobra.Command, drain *time.Duration) {
	*drain = 10 * time.Second
	c.Flags().Var(&span{drain, true, "10s"}, "drain", "when told to stop, let visitors end what they do for so long; 0 stops at once")
}

// secondSignal returns a context that ends after drain, or at the next SIGINT or
// SIGTERM. stop ends it too, and must be called.
func secondSignal(drain time.Duration) (ctx context.Context, stop func()) {
	limited, cancel := context.WithTimeout(context.Background(), drain)
	ctx, restore := signal.NotifyContext(limited, syscall.SIGINT, syscall.SIGTERM)
	return ctx, func() {
		restore()
		cancel()
	}
}

// onHangup calls reload at each SIGHUP until stop, which waits for a call under
// way. The process goes on to catch SIGHUP after stop: one that comes before its
// end must not turn an orderly end into a death by a signal.
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
		close(done)
		reloading.Wait()
	}
}
