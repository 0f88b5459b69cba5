package probe

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

// crowd is how many connections the target of the benchmarks holds.
const crowd = 10_000

// openCrowd starts a target on a host of its own that holds a crowd of idle
// connections, all from another host.
func openCrowd(b *testing.B) (*child, *Observer) {
	b.Helper()
	l, err := lab.Direct()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	})
	// The child listens at [::1] too, and hosts begin without IPv6.
	if err := l.Server.Sysctl("net.ipv6.conf.all.disable_ipv6", "0"); err != nil {
		b.Fatal(err)
	}
	c := startIn(b, l.Server)
	_, port, err := net.SplitHostPort(c.Dual)
	if err != nil {
		b.Fatal(err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		b.Fatal(err)
	}
	address := netip.AddrPortFrom(l.VisitorSide, uint16(number)).String()
	for range crowd / 1000 {
		for range 1000 {
			conn, err := l.Visitor.DialContext(b.Context(), "tcp", address)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { conn.Close() })
		}
		c.order("accept 1000")
	}
	p := c.process("server")
	p.Host, p.Pprof = l.Server, ""
	return c, observe(b, p)
}

// BenchmarkCrowd reads the sockets of a target with 10,000 connections.
func BenchmarkCrowd(b *testing.B) {
	c, o := openCrowd(b)
	for name, silence := range map[string]bool{"SockDiag": false, "SockDiagWithTCPInfo": true} {
		b.Run(name, func(b *testing.B) {
			defer ownCPU(b)()
			for b.Loop() {
				all, err := o.diag.sockets(silence, func(uint64) bool { return true })
				if err != nil || len(all) < crowd {
					b.Fatalf("%d sockets: %v", len(all), err)
				}
			}
		})
	}
	b.Run("Point", func(b *testing.B) {
		defer ownCPU(b)()
		for b.Loop() {
			p, err := o.Point(b.Context())
			if err != nil || p.Sockets["ESTABLISHED"] != crowd {
				b.Fatalf("point %+v: %v", p, err)
			}
		}
	})
	// What a timeline costs its target: CPU time of its own, in percent of a core,
	// beside what it needs when nobody looks.
	b.Run("TargetCPU", func(b *testing.B) {
		before := cpuTime(b, c.cmd.Process.Pid)
		c.order("accept 0")
		if cpuTime(b, c.cmd.Process.Pid) == before {
			b.Fatal("the target has worked, and its CPU time does not tell")
		}
		const every, points = 250 * time.Millisecond, 12
		var looked, left float64
		n := 0.0
		for b.Loop() {
			for _, look := range []bool{true, false} {
				begin, before := time.Now(), cpuTime(b, c.cmd.Process.Pid)
				for range points {
					if look {
						if _, err := o.Point(b.Context()); err != nil {
							b.Fatal(err)
						}
					}
					time.Sleep(every)
				}
				used := 100 * (cpuTime(b, c.cmd.Process.Pid) - before).Seconds() / time.Since(begin).Seconds()
				if look {
					looked += used
				} else {
					left += used
				}
			}
			n++
		}
		b.ReportMetric(looked/n, "%core-sampled")
		b.ReportMetric(left/n, "%core-alone")
	})
}

// ownCPU reports what the benchmark's own process has run for: on a busy machine that
// tells more than the time that has passed.
func ownCPU(b *testing.B) (done func()) {
	before := cpuTime(b, os.Getpid())
	return func() {
		b.ReportMetric(float64(cpuTime(b, os.Getpid())-before)/1e6/float64(b.N), "cpu-ms/op")
	}
}

// cpuTime is what all threads of a process have run for, to the nanosecond
// (schedstat; the ticks of stat are too coarse).
func cpuTime(b *testing.B, pid int) (total time.Duration) {
	b.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		ran, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(ran, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		total += time.Duration(ns)
	}
	return total
}
