package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness/lab"
)

// originAddress is where the origin listens, on the loopback of every host that
// has one.
const originAddress = "127.0.0.1:9000"

// congestion is the congestion control of the hosts. bbr, the default of some
// kernels, paces loopback traffic and costs every peer, some more than others.
const congestion = "reno"

// bench is the place of the measurements.
type bench struct {
	options
	tunnelPath string
	lab        *lab.Lab
	dir        string // in the sandbox's own temporary folder
	self       string
	clientSide net.IP

	ca, cert, key, both string // files; both is certificate and key

	spent map[string]float64 // by peer: seconds of processor time a gigabyte, last time
}

// newBench makes the lab. The origin runs on the two hosts that need it.
func newBench(o options) (*bench, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own program: %w", err)
	}
	b := &bench{options: o, self: self, spent: map[string]float64{}}
	for to, path := range map[*string]string{&b.tunnelPath: o.tunnel, &b.before: o.before} {
		if path != "" {
			if *to, err = filepath.Abs(path); err != nil {
				return nil, fmt.Errorf("find the tunnel: %w", err)
			}
		}
	}
	if b.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	// sshd wants a folder of its own in /run; the sandbox's mounts are private.
	if err := unix.Mount("run", "/run", "tmpfs", 0, ""); err != nil {
		return nil, fmt.Errorf("mount /run: %w", err)
	}
	if err := os.Mkdir("/run/sshd", 0o755); err != nil {
		return nil, fmt.Errorf("make sshd's folder: %w", err)
	}
	if b.lab, err = lab.Direct(); err != nil {
		return nil, err
	}
	b.clientSide = b.lab.ClientSide.AsSlice()
	for _, h := range []*lab.Host{b.lab.Server, b.lab.Client} {
		for key, value := range map[string]string{
			"net.ipv4.tcp_congestion_control": congestion,
			"net.ipv4.ip_local_port_range":    "16000 65000",
			"net.core.somaxconn":              "4096",
		} {
			if err := h.Sysctl(key, value); err != nil {
				return nil, errors.Join(err, b.lab.Close())
			}
		}
		if _, err := b.lab.Start(h, lab.Command{Role: "origin on " + h.Name, Argv: []string{self, "origin", originAddress}, Log: filepath.Join(b.dir, "origin-"+h.Name)}); err != nil {
			return nil, errors.Join(err, b.lab.Close())
		}
	}
	return b, b.certificate()
}

// selfSigned makes a certificate that is its own authority.
func selfSigned(key *ecdsa.PrivateKey, ips ...net.IP) ([]byte, error) {
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, IPAddresses: ips,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	return x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
}

// crowd is a process of visitors that runs.
type crowd struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
	fault *bytes.Buffer
}

// send starts visitors on a host. They die with the bench.
func (b *bench) send(h *lab.Host, o order) (*crowd, error) {
	c := &crowd{cmd: exec.Command(b.self, o.argv(b.self)[1:]...), fault: &bytes.Buffer{}}
	c.cmd.Stderr = c.fault
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("send visitors: %w", err)
	}
	c.lines = bufio.NewScanner(out)
	if err := h.Do(c.cmd.Start); err != nil {
		return nil, fmt.Errorf("send visitors: %w", err)
	}
	return c, nil
}

// line waits for what the visitors say.
func (c *crowd) line(want string) error {
	if c.lines.Scan() && c.lines.Text() == want {
		return nil
	}
	return fmt.Errorf("visitors are not %s: %s", want, strings.TrimSpace(c.fault.String()))
}

// dismiss ends them.
func (c *crowd) dismiss() {
	_ = c.cmd.Process.Kill() // fails only when it has ended
	_ = c.cmd.Wait()         // says that it was killed
}

// visit sends visitors and waits for their tally.
func (b *bench) visit(ctx context.Context, h *lab.Host, o order) (tally, error) {
	var t tally
	if err := ctx.Err(); err != nil {
		return t, err
	}
	c, err := b.send(h, o)
	if err != nil {
		return t, err
	}
	ok := c.lines.Scan()
	line := append([]byte(nil), c.lines.Bytes()...)
	if err := c.cmd.Wait(); err != nil || !ok {
		return t, fmt.Errorf("visit %s by %s: %w: %s", o.Address, o.Kind, err, strings.TrimSpace(c.fault.String()))
	}
	if err := json.Unmarshal(line, &t); err != nil {
		return t, fmt.Errorf("read the visitors' tally: %w", err)
	}
	return t, nil
}

// family is a process and all below it.
func family(pid int) []int {
	all := []int{pid}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return all
	}
	for _, field := range strings.Fields(string(text)) {
		if child, err := strconv.Atoi(field); err == nil {
			all = append(all, family(child)...)
		}
	}
	return all
}

// ticks is the unit of /proc/PID/stat: USER_HZ, which is 100 on every Linux that
// Go runs on.
const ticks = 100

// cpu is the processor time of processes in seconds: fields 14 and 15 of stat.
func cpu(pids []int) (seconds float64) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has ended: its time is lost, and the peer with it
		}
		rest := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		for _, i := range []int{11, 12} {
			n, err := strconv.ParseFloat(rest[i], 64)
			if err == nil {
				seconds += n / ticks
			}
		}
	}
	return seconds
}

// rss is the anonymous resident memory of processes in bytes.
func rss(pids []int) (bytes float64) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
				n, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
				if err == nil {
					bytes += n * 1024
				}
			}
		}
	}
	return bytes
}
