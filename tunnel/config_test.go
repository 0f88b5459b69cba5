package tunnel

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDefaults(t *testing.T) {
	var l Liveness
	var wrong ConfigError
	if l.fill(&wrong); wrong.orNil() != nil {
		t.Fatal(wrong)
	}
	s := time.Second
	want := Liveness{
		Heartbeat: 5 * s, HeartbeatDeadline: 15 * s,
		SessionKeepAlive: KeepAlive{15 * s, 5 * s, 6}, SessionUserTimeout: 15 * s,
		EdgeKeepAlive: KeepAlive{15 * s, 5 * s, 6}, EdgeUserTimeout: 45 * s,
		Flush: 10 * s, Handshake: 10 * s, Dial: 10 * s, HalfClose: 60 * s,
	}
	if l != want {
		t.Errorf("got %+v", l)
	}
	off := Liveness{Heartbeat: Off, Flush: Off, HalfClose: Off, SessionKeepAlive: KeepAlive{Idle: Off}}
	if off.fill(&wrong); wrong.orNil() != nil || off.HeartbeatDeadline != Off || off.Flush != Off {
		t.Errorf("all off: %+v, %v", off, wrong)
	}
}

func TestBadSettings(t *testing.T) {
	s := time.Second
	for name, l := range map[string]Liveness{
		"deadline within heartbeat":  {Heartbeat: 5 * s, HeartbeatDeadline: 5 * s},
		"deadline without heartbeat": {Heartbeat: Off, HeartbeatDeadline: 5 * s},
		"negative":                   {Dial: -5 * s},
		"handshake off":              {Handshake: Off},
		"dial off":                   {Dial: Off},
		"keepalive below a second":   {SessionKeepAlive: KeepAlive{1500 * time.Millisecond, s, 3}},
		"keepalive without count":    {EdgeKeepAlive: KeepAlive{Idle: s, Interval: s}},
		"keepalive too long":         {EdgeKeepAlive: KeepAlive{40000 * s, s, 1}},
	} {
		var wrong ConfigError
		if l.fill(&wrong); !errors.Is(wrong.orNil(), ErrSetup) {
			t.Errorf("%s: got %v", name, wrong)
		}
	}
	good := ClientConfig{Server: "h:1", CA: "x", Token: "x", Name: "x", HTTPTo: "h:1"}
	if c := good; c.fill() != nil {
		t.Error(c.fill())
	}
	for name, change := range map[string]func(*ClientConfig){
		"server":        func(c *ClientConfig) { c.Server = "h" },
		"ca":            func(c *ClientConfig) { c.CA = "" },
		"token":         func(c *ClientConfig) { c.Token = "" },
		"name":          func(c *ClientConfig) { c.Name = "A" },
		"port":          func(c *ClientConfig) { c.Port, c.TCPTo = 70000, "h:1" },
		"port for none": func(c *ClientConfig) { c.Port = 1 },
		"no origin":     func(c *ClientConfig) { c.HTTPTo = "" },
		"origin":        func(c *ClientConfig) { c.HTTPTo = "h" },
		"backoff":       func(c *ClientConfig) { c.Backoff, c.BackoffCap = 2*s, s },
		"limit":         func(c *ClientConfig) { c.MaxStreams = -1 },
	} {
		c := good
		change(&c)
		if err := c.fill(); !errors.Is(err, ErrSetup) {
			t.Errorf("client's %s: got %v", name, err)
		}
	}
	for name, c := range map[string]ServerConfig{
		"no certificate": {Tokens: make([]Token, 1)},
		"no token":       {Cert: "x", Key: "x"},
		"tcp-host":       {Cert: "x", Key: "x", Tokens: make([]Token, 1), TCPHost: "h"},
		"listen":         {Cert: "x", Key: "x", Tokens: make([]Token, 1), Listen: "localhost"},
		"http":           {Cert: "x", Key: "x", Tokens: make([]Token, 1), HTTP: "127.0.0.1:99999"},
		"admin":          {Cert: "x", Key: "x", Tokens: make([]Token, 1), Admin: "0.0.0.0:6060"},
		"missing file":   {Cert: "/nonexistent", Key: "/nonexistent", Tokens: make([]Token, 1)},
	} {
		if _, err := NewServer(c); !errors.Is(err, ErrSetup) {
			t.Errorf("server's %s: got %v", name, err)
		}
	}
}

func TestTokens(t *testing.T) {
	tok, err := ParseToken("se=cr,et=a.test,b-1.test,9000,9001")
	if err != nil {
		t.Fatal(err)
	}
	all := []Token{{}, tok}
	for _, c := range []struct {
		secret, name string
		port         uint16
		ok           bool
	}{
		{"se=cr,et", "a.test", 0, true},
		{"se=cr,et", "b-1.test", 9001, true},
		{"se=cr,et", "a.test", 9002, false},
		{"se=cr,et", "c.test", 0, false},
		{"se=cr,e", "a.test", 0, false},
		{"", "a.test", 0, false},
	} {
		if err := permit(all, sha256.Sum256([]byte(c.secret)), c.name, c.port); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, bad := range []string{"", "x", "=a", "hush=", "hush=9000", "hush=a,,b", "hush=A", "hush=a,0", "hush=a,65536", "hush=a..b", strings.Repeat("x", 2000) + "=a"} {
		if _, err := ParseToken(bad); !errors.Is(err, ErrSetup) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%.20q: got %v", bad, err)
		}
	}
}

func TestJitter(t *testing.T) {
	low, high := time.Hour, time.Duration(0)
	for range 1000 {
		d := jitter(time.Second)
		low, high = min(low, d), max(high, d)
	}
	if low < 500*time.Millisecond || high > time.Second || low > 600*time.Millisecond || high < 900*time.Millisecond {
		t.Errorf("drawn from %v to %v", low, high)
	}
}

func TestCerts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	hosts := []string{"tunnel.test", "192.0.2.1", "::1"}
	if err := WriteCerts(dir, hosts, false); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "key.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key: %v, %v", info.Mode(), err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	for _, host := range hosts {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "other.test"}); err == nil {
		t.Error("good for another host")
	}
	if err := WriteCerts(dir, hosts, false); !errors.Is(err, ErrSetup) || !strings.Contains(err.Error(), "--force") {
		t.Errorf("overwritten: %v", err)
	}
	if now, _ := os.ReadFile(filepath.Join(dir, "ca.pem")); string(now) != string(ca) {
		t.Error("ca.pem changed")
	}
	if err := os.Chmod(filepath.Join(dir, "key.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := WriteCerts(dir, hosts, true); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "key.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key after --force: %v, %v", info.Mode(), err)
	}
	if err := WriteCerts(t.TempDir(), nil, false); !errors.Is(err, ErrSetup) {
		t.Errorf("no host: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteCerts(filepath.Join(dir, "file"), hosts, false); !errors.Is(err, ErrSetup) && !errors.Is(err, fs.ErrExist) {
		t.Errorf("folder is a file: %v", err)
	}
}
