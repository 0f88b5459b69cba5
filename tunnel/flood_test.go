package tunnel

import (
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Ten thousand connections that never say a word: the limit of them is held, the
// others are refused at once, and who is logged in is served all the while.
func TestSilentTenThousand(t *testing.T) {
	const most, all = 256, 10_000
	w := newWorld(t, func(c *ServerConfig) { c.MaxPreAuth, c.Handshake = most, time.Minute })
	w.client(origin(t, echo), nil)
	visitor := w.visitTCP()
	goroutines := runtime.NumGoroutine()
	var mu sync.Mutex
	var conns []net.Conn
	defer func() {
		for _, conn := range conns {
			conn.Close()
		}
	}()
	var dialling sync.WaitGroup
	for range 8 {
		dialling.Go(func() {
			for range all / 8 {
				conn, err := net.Dial("tcp", w.server.Addr())
				if err != nil {
					continue // refused so soon that the dial saw it
				}
				mu.Lock()
				conns = append(conns, conn)
				mu.Unlock()
			}
		})
	}
	for range 20 {
		say(t, visitor, "served?")
		hear(t, visitor, "served?")
	}
	dialling.Wait()
	eventually(t, "the limit is held, no more", func() bool { return w.server.preAuth.taken.Load() == most })
	// A second one each would be 256 more; what sessions have running beside is a few.
	const beside = 16
	eventually(t, "a goroutine a connection, no more", func() bool { return runtime.NumGoroutine() <= goroutines+most+beside })
	metric(t, w.server.AdminAddr(), "tunnel_pre_auth_connections 256")
	for _, conn := range conns {
		conn.Close()
	}
	eventually(t, "all is free again", func() bool { return w.server.preAuth.taken.Load() == 0 })
	w.client("127.0.0.1:1", func(c *ClientConfig) { c.Name, c.Port = "b.test", 0 })
}

// Without a descriptor left the server goes on for those it has, asks again ever
// more slowly, and takes who waits when there are some.
func TestNoDescriptors(t *testing.T) {
	w := newWorld(t, nil)
	w.client(origin(t, echo), nil)
	visitor := w.visitTCP()
	say(t, visitor, "x")
	hear(t, visitor, "x")
	// The pipes that io.Copy kept for splice are closed when garbage is collected: none
	// may come free while there is to be none.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	collected := make(chan struct{})
	runtime.AddCleanup(new([16]byte), func(struct{}) { close(collected) }, struct{}{})
	for range 3 { // a pool forgets at the second
		runtime.GC()
	}
	take(t, collected)
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	few := before
	few.Cur = 256
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	restore := sync.OnceFunc(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
			t.Error(err)
		}
	})
	defer restore()
	var fillers []*os.File
	defer func() {
		for _, f := range fillers {
			f.Close()
		}
	}()
	for {
		f, err := os.Open("/dev/null")
		if err != nil {
			break
		}
		fillers = append(fillers, f)
	}
	if len(fillers) == 0 {
		t.Fatal("more than 256 descriptors are open already")
	}
	last := fillers[len(fillers)-1]
	fillers = fillers[:len(fillers)-1]
	last.Close()
	waiting := w.visitTCP() // takes the one that is free: none is left to accept it
	eventually(t, "accepting fails", func() bool { return w.log.has("too many open files") })
	for range 20 {
		say(t, visitor, "served?")
		hear(t, visitor, "served?")
		time.Sleep(15 * time.Millisecond)
	}
	// 5+10+20+40+80+160 ms: six or seven times, and more on a machine that stands still.
	if n := w.log.count("cannot accept"); n > 15 {
		t.Errorf("asked %d times in about 300 ms", n)
	}
	restore()
	say(t, waiting, "at last")
	hear(t, waiting, "at last")
}
