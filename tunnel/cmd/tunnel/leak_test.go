package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hung is how long something may take that must happen, or come to an end, by itself. It
// is no measure of speed.
const hung = time.Minute

// TestMain fails if the tests leave more goroutines or sockets than there were before.
func TestMain(m *testing.M) {
	stopping = hung
	signal.Notify(make(chan os.Signal, 1), syscall.SIGWINCH) // os/signal's one goroutine stays for ever
	goroutines, sockets := runtime.NumGoroutine(), openSockets()
	code := m.Run()
	end := time.Now().Add(hung)
	for code == 0 && (runtime.NumGoroutine() > goroutines || openSockets() > sockets) {
		if time.Now().After(end) {
			fmt.Printf("left behind: %d goroutines (had %d), %d sockets (had %d)\n",
				runtime.NumGoroutine(), goroutines, openSockets(), sockets)
			_ = pprof.Lookup("goroutine").WriteTo(os.Stdout, 1) // nobody is left to tell
			code = 1
		}
		time.Sleep(2 * time.Millisecond)
	}
	os.Exit(code)
}

// openSockets counts the sockets of this process.
func openSockets() (n int) {
	fds, _ := filepath.Glob("/proc/self/fd/*") // fails only for a bad pattern
	for _, fd := range fds {
		// One that is gone by now was the listing's own.
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}
