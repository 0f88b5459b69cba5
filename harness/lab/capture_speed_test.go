package lab

import (
	"errors"
	"io"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"
)

// bulk is how many bytes one transfer of BenchmarkCapture carries.
const bulk = 256 << 20

// BenchmarkCapture says what keeping packets costs: the same bulk transfer from client to
// server through the router, in turn without a capture and with the two that evidence
// keeps, headers only and whole packets. Each round's own ratio is taken, so that a busy
// machine is in both its sides: median, least and greatest of them, of the rate and of
// the CPU time of this process and its system calls.
func BenchmarkCapture(b *testing.B) {
	for _, c := range []struct {
		name string
		size CaptureSize
	}{{"headers", CaptureSize{}}, {"whole", CaptureSize{Packets: 16384, Snaplen: 2048}}} {
		b.Run(c.name, func(b *testing.B) {
			l, err := threeHosts()
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			var rates, cpus, plain []float64
			for b.Loop() {
				took, cpu := transfer(b, l)
				var on []*Capture
				for _, h := range []*Host{l.Server, l.Client} {
					seen, err := h.Capture(c.size)
					if err != nil {
						b.Fatal(err)
					}
					on = append(on, seen)
				}
				slower, more := transfer(b, l)
				for _, seen := range on {
					if err := seen.Close(); err != nil {
						b.Fatal(err)
					}
					if seen.seen == 0 {
						b.Fatal("a capture has seen nothing")
					}
				}
				plain = append(plain, bulk/took.Seconds()/1e6)
				rates = append(rates, took.Seconds()/slower.Seconds())
				cpus = append(cpus, more.Seconds()/cpu.Seconds())
			}
			for name, all := range map[string][]float64{"rate": rates, "cpu": cpus} {
				slices.Sort(all)
				b.ReportMetric(all[len(all)/2], name+"-ratio")
				b.ReportMetric(all[0], name+"-least")
				b.ReportMetric(all[len(all)-1], name+"-most")
			}
			slices.Sort(plain)
			b.ReportMetric(plain[len(plain)/2], "MB/s-without")
			b.ReportMetric(0, "ns/op") // of both transfers: it says nothing
		})
	}
}

// transfer sends bulk bytes from the client to the server, and gives how long that took
// and how much CPU time.
func transfer(b *testing.B, l *Lab) (took, cpu time.Duration) {
	b.Helper()
	in, err := l.Server.Listen(b.Context(), "0.0.0.0:7777")
	if err != nil {
		b.Fatal(err)
	}
	defer in.Close()
	before, began := spent(b), time.Now()
	sent := make(chan error, 1)
	go func() {
		out, err := l.Client.DialContext(b.Context(), "tcp", net.JoinHostPort(l.Router.Outer.Peer.IP().String(), "7777"))
		if err != nil {
			sent <- err
			return
		}
		block := make([]byte, 1<<17)
		for range bulk / len(block) {
			if _, err = out.Write(block); err != nil {
				break
			}
		}
		sent <- errors.Join(err, out.Close())
	}()
	conn, err := in.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	n, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{conn}, make([]byte, 1<<17))
	if err := errors.Join(err, <-sent); err != nil || n != bulk {
		b.Fatalf("%d bytes of %d: %v", n, bulk, err)
	}
	return time.Since(began), spent(b) - before
}

// spent is the CPU time of this process so far, the kernel's on its behalf too.
func spent(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
