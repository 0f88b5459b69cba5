package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

// The names of ours, and of the way without a tunnel.
const (
	ours   = "tunnel"
	before = "before"
	direct = "direct"
)

// peer is a program that does what the tunnel does: server and client, or two
// ends of one way.
type peer struct {
	name     string
	programs []string // on PATH
	install  string   // how to get them
	// commands are what to start: server first. Ports from base on are the
	// peer's own; base is the public one. Files go to dir.
	commands func(b *bench, dir string, base int) ([][]string, error)
	http     int // public port of HTTP by Host, as an offset to base; 0 for the raw one
}

// peers are all that bench knows, ours first.
var peers = []peer{
	{name: ours, commands: func(b *bench, dir string, base int) ([][]string, error) { return b.tunnel(b.tunnelPath, base), nil }, http: 1},
	{name: before, commands: func(b *bench, dir string, base int) ([][]string, error) { return b.tunnel(b.before, base), nil }, http: 1},
	{name: direct},
	{name: "haproxy", programs: []string{"haproxy"}, install: "apt-get install haproxy", commands: haproxy},
	{name: "ssh", programs: []string{"ssh", "sshd", "ssh-keygen"}, install: "apt-get install openssh-server openssh-client", commands: ssh},
	{name: "stunnel", programs: []string{"stunnel"}, install: "apt-get install stunnel4", commands: stunnel},
	{name: "frp", programs: []string{"frps", "frpc"}, install: "the release of github.com/fatedier/frp, frps and frpc on PATH", commands: frp},
	{name: "rathole", programs: []string{"rathole"}, install: "cargo install rathole", commands: rathole},
	{name: "chisel", programs: []string{"chisel"}, install: "go install github.com/jpillora/chisel@latest", commands: chisel},
}

func peerNames() (names []string) {
	for _, p := range peers {
		if p.name != before {
			names = append(names, p.name)
		}
	}
	return names
}

// host is the name under which the tunnel's HTTP visitors come.
const host = "bench.example"

// tunnel is one of our builds, with its defaults but for the limits.
func (b *bench) tunnel(program string, base int) [][]string {
	return [][]string{
		{program, "server", fmt.Sprintf("--listen=127.0.0.1:%d", base+2), fmt.Sprintf("--http=127.0.0.1:%d", base+1), "--tcp-host=127.0.0.1",
			fmt.Sprintf("--admin=127.0.0.1:%d", base+3), "--cert=" + b.cert, "--key=" + b.key, fmt.Sprintf("--token=bench=%s,%d", host, base), "--max-streams=20000"},
		{program, "client", fmt.Sprintf("--server=127.0.0.1:%d", base+2), "--ca=" + b.ca, "--token=bench", "--name=" + host, fmt.Sprintf("--port=%d", base),
			"--http-to=" + originAddress, "--tcp-to=" + originAddress, fmt.Sprintf("--admin=127.0.0.1:%d", base+4), "--max-streams=20000"},
	}
}

// write writes a peer's file.
func write(dir, name, text string) (string, error) {
	path := filepath.Join(dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

const cipher = "TLS_AES_128_GCM_SHA256"

// haproxy is a pair in TCP mode, TLS 1.3 between them.
func haproxy(b *bench, dir string, base int) ([][]string, error) {
	const common = "global\n maxconn 9500\n ssl-server-verify none\ndefaults\n mode tcp\n timeout connect 10s\n timeout client 1h\n timeout server 1h\n"
	server, err := write(dir, "server.cfg", fmt.Sprintf("%sfrontend f\n bind 127.0.0.1:%d\n default_backend b\nbackend b\n server s 127.0.0.1:%d ssl ssl-min-ver TLSv1.3 ciphersuites %s\n",
		common, base, base+1, cipher))
	if err != nil {
		return nil, err
	}
	client, err := write(dir, "client.cfg", fmt.Sprintf("%sfrontend f\n bind 127.0.0.1:%d ssl crt %s ssl-min-ver TLSv1.3 ciphersuites %s\n default_backend b\nbackend b\n server s %s\n",
		common, base+1, b.both, cipher, originAddress))
	return [][]string{{"haproxy", "-db", "-f", server}, {"haproxy", "-db", "-f", client}}, err
}

// ssh is sshd and ssh -R, with the same key.
func ssh(b *bench, dir string, base int) ([][]string, error) {
	sshd, err := exec.LookPath("sshd") // wants to be called by its whole path
	if err != nil {
		return nil, err
	}
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, "id")).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make key: %w: %s", err, out)
	}
	config, err := write(dir, "sshd.conf", fmt.Sprintf("ListenAddress 127.0.0.1:%d\nHostKey %s\nAuthorizedKeysFile %s/id.pub\nPermitRootLogin yes\nStrictModes no\nUsePAM no\nPidFile none\nMaxSessions 20000\nMaxStartups 1000\n",
		base+1, b.key, dir))
	if err != nil {
		return nil, err
	}
	return [][]string{
		{sshd, "-D", "-e", "-f", config},
		{"ssh", "-N", "-F", "none", "-i", filepath.Join(dir, "id"), "-c", "aes128-gcm@openssh.com", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
			"-o", "ExitOnForwardFailure=yes", "-o", "LogLevel=ERROR", "-p", fmt.Sprint(base + 1), "-R", fmt.Sprintf("127.0.0.1:%d:%s", base, originAddress), "root@127.0.0.1"},
	}, nil
}

// stunnel is a pair.
func stunnel(b *bench, dir string, base int) ([][]string, error) {
	const common = "foreground = yes\ndebug = err\npid =\nsslVersionMin = TLSv1.3\nciphersuites = " + cipher + "\n"
	server, err := write(dir, "server.conf", fmt.Sprintf("%s[s]\nclient = yes\naccept = 127.0.0.1:%d\nconnect = 127.0.0.1:%d\n", common, base, base+1))
	if err != nil {
		return nil, err
	}
	client, err := write(dir, "client.conf", fmt.Sprintf("%s[c]\naccept = 127.0.0.1:%d\nconnect = %s\ncert = %s\n", common, base+1, originAddress, b.both))
	return [][]string{{"stunnel", server}, {"stunnel", client}}, err
}

// frp is as it comes: one TLS connection, yamux.
func frp(b *bench, dir string, base int) ([][]string, error) {
	server, err := write(dir, "frps.toml", fmt.Sprintf("bindAddr = \"127.0.0.1\"\nbindPort = %d\nproxyBindAddr = \"127.0.0.1\"\n[transport.tls]\ncertFile = %q\nkeyFile = %q\n",
		base+1, b.cert, b.key))
	if err != nil {
		return nil, err
	}
	port := strings.Split(originAddress, ":")[1]
	client, err := write(dir, "frpc.toml", fmt.Sprintf("serverAddr = \"127.0.0.1\"\nserverPort = %d\n[[proxies]]\nname = \"bench\"\ntype = \"tcp\"\nlocalIP = \"127.0.0.1\"\nlocalPort = %s\nremotePort = %d\n",
		base+1, port, base))
	return [][]string{{"frps", "-c", server}, {"frpc", "-c", client}}, err
}

// rathole has TLS by its own PKCS#12 file only; without it it is measured plain,
// which favours it.
func rathole(_ *bench, dir string, base int) ([][]string, error) {
	server, err := write(dir, "server.toml", fmt.Sprintf("[server]\nbind_addr = \"127.0.0.1:%d\"\ndefault_token = \"bench\"\n[server.services.bench]\nbind_addr = \"127.0.0.1:%d\"\n", base+1, base))
	if err != nil {
		return nil, err
	}
	client, err := write(dir, "client.toml", fmt.Sprintf("[client]\nremote_addr = \"127.0.0.1:%d\"\ndefault_token = \"bench\"\n[client.services.bench]\nlocal_addr = %q\n", base+1, originAddress))
	return [][]string{{"rathole", server}, {"rathole", client}}, err
}

// chisel encrypts by SSH, as it comes.
func chisel(_ *bench, _ string, base int) ([][]string, error) {
	return [][]string{
		{"chisel", "server", "--host", "127.0.0.1", "--port", fmt.Sprint(base + 1), "--reverse"},
		{"chisel", "client", fmt.Sprintf("http://127.0.0.1:%d", base+1), fmt.Sprintf("R:127.0.0.1:%d:%s", base, originAddress)},
	}, nil
}

// running is a peer that has been started on a host.
type running struct {
	peer
	raw, web  string // where visitors come
	processes []*lab.Process
}

// pids are the processes that do the peer's work, with their children: sshd and
// haproxy have some.
func (r *running) pids() (all []int) {
	for _, p := range r.processes {
		all = append(all, family(p.PID())...)
	}
	return all
}

// start starts a peer on one host and waits until a visit succeeds.
func (b *bench) start(ctx context.Context, p peer, h *lab.Host, base int) (*running, error) {
	r := &running{peer: p, raw: fmt.Sprintf("127.0.0.1:%d", base), web: fmt.Sprintf("127.0.0.1:%d", base+p.http)}
	if p.name == direct {
		r.raw, r.web = originAddress, originAddress
		return r, nil
	}
	dir := filepath.Join(b.dir, p.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	commands, err := p.commands(b, dir, base)
	if err != nil {
		return nil, fmt.Errorf("set up %s: %w", p.name, err)
	}
	for i, argv := range commands {
		one, err := b.lab.Start(h, lab.Command{Role: fmt.Sprint(p.name, i), Argv: argv, Log: filepath.Join(dir, fmt.Sprint("log", i))})
		if err != nil {
			return nil, err
		}
		r.processes = append(r.processes, one)
		if i == 0 {
			time.Sleep(300 * time.Millisecond) // clients of some peers try once only
		}
	}
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		t, err := b.visit(ctx, h, order{Kind: "ws", Address: r.web, Host: host, N: 1, Warm: time.Millisecond, Window: 20 * time.Millisecond})
		if err == nil && t.Errors == 0 && t.Count > 0 {
			return r, nil
		}
		if time.Now().After(end) || ctx.Err() != nil {
			err = errors.Join(err, errors.New(t.Error))
			for _, one := range r.processes {
				err = errors.Join(err, fmt.Errorf("%s is %s: %s", one.Argv[0], one.Status(), strings.Join(one.Tail(3), " | ")), one.Kill())
			}
			return nil, fmt.Errorf("start %s: no visit succeeds: %w", p.name, err)
		}
	}
}

// choose says which peers are measured, and why others are not.
func choose(o options) (chosen []peer, skipped []string) {
	for _, p := range peers {
		if len(o.peers) > 0 && p.name != ours && p.name != before && !slices.Contains(o.peers, p.name) || p.name == before && o.before == "" {
			continue
		}
		var lacks []string
		for _, program := range p.programs {
			if _, err := exec.LookPath(program); err != nil {
				lacks = append(lacks, program)
			}
		}
		if len(lacks) > 0 {
			skipped = append(skipped, fmt.Sprintf("%s is not measured: no %s on PATH; install: %s", p.name, strings.Join(lacks, ", "), p.install))
			continue
		}
		chosen = append(chosen, p)
	}
	return chosen, skipped
}

// certificate makes the one key and certificate of all peers, in the forms that
// they want.
func (b *bench) certificate() error {
	b.ca, b.cert, b.key, b.both = filepath.Join(b.dir, "ca.pem"), filepath.Join(b.dir, "cert.pem"), filepath.Join(b.dir, "key.pem"), filepath.Join(b.dir, "both.pem")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(key) // the form that OpenSSH reads too
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	cert, err := selfSigned(key, net.IPv4(127, 0, 0, 1), b.clientSide)
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	for path, text := range map[string][]byte{b.ca: certPEM, b.cert: certPEM, b.key: keyPEM, b.both: append(append([]byte{}, certPEM...), keyPEM...)} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return fmt.Errorf("write certificate: %w", err)
		}
	}
	return nil
}
