package probe

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	httppprof "net/http/pprof"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness/lab"
)

// The tests observe a process of their own: this binary again, which does what
// it is told on stdin and answers each order with a line of JSON.
func TestMain(m *testing.M) {
	if os.Getenv("HALFOPEN_PROBE_CHILD") != "" {
		if err := childMain(); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Benchmarks have hosts of their own.
	if err := lab.Sandbox(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// answer is what the child says to an order.
type answer struct {
	Plain, Dual, V6, Pprof string // listeners
	FDs                    int    // as it counts its own, before anybody asked its pprof
	Accepted, Freed        int
	Goroutines             int
}

// parked is the leak that the tests look for.
//
//go:noinline
func parked(wait <-chan struct{}) { <-wait }

//go:noinline
func parkFrom(first bool, wait <-chan struct{}) {
	if first {
		go parked(wait)
	} else {
		startElsewhere(wait)
	}
}

//go:noinline
func startElsewhere(wait <-chan struct{}) { go parked(wait) }

func childMain() error {
	var listeners []net.Listener
	var held []net.Conn
	accepted := make(chan net.Conn, 4096)
	for _, at := range []struct{ network, address string }{{"tcp4", "127.0.0.1:0"}, {"tcp", ":0"}, {"tcp6", "[::1]:0"}} {
		l, err := net.Listen(at.network, at.address)
		if err != nil {
			return err
		}
		listeners = append(listeners, l)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				accepted <- c
			}
		}()
	}
	var freed atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", httppprof.Index)
	mux.HandleFunc("POST /debug/free", func(http.ResponseWriter, *http.Request) { debug.FreeOSMemory(); freed.Add(1) })
	mux.HandleFunc("POST /debug/freetells", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"heap_alloc": 1234, "heap_objects": 5}`)
	})
	mux.HandleFunc("GET /debug/freeget", func(http.ResponseWriter, *http.Request) { freed.Add(1) })
	admin, err := net.Listen("tcp", ":0") // dual stack: its peers look like IPv6
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux}
	go server.Serve(admin) // ends with the process, or with "restart"
	pprofAt := "127.0.0.1:" + port(admin)
	wait := make(chan struct{})
	out := json.NewEncoder(os.Stdout)
	for in := bufio.NewScanner(os.Stdin); ; {
		open, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			return err
		}
		// One of them is the folder itself.
		a := answer{FDs: len(open) - 1, Accepted: len(held), Freed: int(freed.Load()), Goroutines: runtime.NumGoroutine(),
			Plain: listeners[0].Addr().String(), Dual: "127.0.0.1:" + port(listeners[1]), V6: listeners[2].Addr().String(), Pprof: pprofAt}
		if err := out.Encode(a); err != nil {
			return err
		}
		if !in.Scan() {
			return in.Err()
		}
		order, argument, _ := strings.Cut(in.Text(), " ")
		n, _ := strconv.Atoi(argument) // 0 for those that take none
		switch order {
		case "accept":
			for range n {
				held = append(held, <-accepted)
			}
		case "close":
			for _, c := range held {
				c.Close()
			}
			held = nil
		case "shutdown":
			for _, c := range held {
				if err := c.(*net.TCPConn).CloseWrite(); err != nil {
					return err
				}
			}
		case "set":
			if err := setOptions(held, argument); err != nil {
				return err
			}
		case "park":
			for i := range n {
				labels := pprof.Labels("role", "session", "peer", fmt.Sprintf("10.0.0.%d:1", i), "odd", "a \"b\", {c}]: \\ é\n")
				pprof.Do(context.Background(), labels, func(context.Context) { parkFrom(i%3 != 0, wait) })
			}
			for !parkedNow(n) {
				time.Sleep(time.Millisecond)
			}
		case "restart":
			server.Close()
			if admin, err = net.Listen("tcp", pprofAt); err != nil {
				return err
			}
			server = &http.Server{Handler: mux}
			go server.Serve(admin)
		case "exit":
			return nil
		}
	}
}

// parkedNow tells whether n goroutines are where they shall be found.
func parkedNow(n int) bool {
	buf := make([]byte, 1<<20)
	all, err := ParseStacks(buf[:runtime.Stack(buf, true)])
	if err != nil {
		return false
	}
	for _, g := range all {
		if len(g.Frames) > 0 && strings.HasSuffix(g.Frames[0].Func, ".parked") && g.State == "chan receive" {
			n--
		}
	}
	return n <= 0
}

func port(l net.Listener) string {
	_, p, _ := net.SplitHostPort(l.Addr().String()) // a listener's address always has one
	return p
}

// child is the parent's end.
type child struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
	answer
}

func start(t testing.TB) *child {
	t.Helper()
	return startIn(t, here{})
}

// startIn starts the child from inside a namespace. It dies with the test.
func startIn(t testing.TB, ns Namespace) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, cmd: exec.Command(self)}
	c.cmd.Env = append(os.Environ(), "HALFOPEN_PROBE_CHILD=1", "GODEBUG=tracebacklabels=1")
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = json.NewDecoder(out)
	if err := ns.Do(c.cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	c.read()
	return c
}

func (c *child) kill() {
	if c.cmd.ProcessState != nil {
		return
	}
	if err := c.cmd.Process.Kill(); err != nil {
		c.t.Errorf("kill child: %v", err)
	}
	_ = c.cmd.Wait() // says "killed"
}

func (c *child) read() {
	c.t.Helper()
	c.answer = answer{}
	if err := c.out.Decode(&c.answer); err != nil {
		c.t.Fatalf("child's answer: %v", err)
	}
}

func (c *child) order(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.in, format+"\n", args...); err != nil {
		c.t.Fatal(err)
	}
	c.read()
}

func (c *child) signal(s syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// freeze stops the child and waits until each of its threads stands still.
func (c *child) freeze() {
	c.t.Helper()
	c.signal(syscall.SIGSTOP)
	if !eventually(func() bool {
		all, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", c.cmd.Process.Pid))
		for _, name := range all {
			text, err := os.ReadFile(name)
			if err != nil || !strings.Contains(string(text), "\nState:\tT") {
				return false
			}
		}
		return err == nil && len(all) > 0
	}) {
		c.t.Fatal("the child does not stop")
	}
}

func (c *child) process(role string) Process {
	return Process{Role: role, PID: c.cmd.Process.Pid, Host: here{}, Pprof: c.Pprof, Free: "/debug/free"}
}

// here is the namespace that the test runs in.
type here struct{}

func (here) Do(fn func() error) error { return fn() }
func (here) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// apart is a namespace of its own: a locked thread that unshared the network.
type apart struct {
	work chan func()
}

// newApart skips the test where the kernel refuses.
func newApart(t *testing.T) *apart {
	t.Helper()
	a := &apart{work: make(chan func())}
	ready, done := make(chan error), make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		ready <- err
		if err != nil {
			return
		}
		for fn := range a.work {
			fn()
		}
	}()
	if err := <-ready; err != nil {
		<-done
		t.Skipf("unshare a network namespace: %v (CAP_SYS_ADMIN is missing)", err)
	}
	t.Cleanup(func() { close(a.work); <-done })
	return a
}

func (a *apart) Do(fn func() error) error {
	result := make(chan error)
	a.work <- func() { result <- fn() }
	return <-result
}

func (a *apart) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = a.Do(func() (err error) {
		conn, err = here{}.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// eventually polls a condition for 10 s at most.
func eventually(ok func() bool) bool {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return ok()
}
