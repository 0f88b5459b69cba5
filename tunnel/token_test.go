package tunnel

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// tokenFile writes a token file.
func tokenFile(t *testing.T, path string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTokenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	secret, line, err := NewToken("a.test,9000")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(line, secret) {
		t.Errorf("the secret is in the file: %s", line)
	}
	tokenFile(t, path, "# app", "", line)
	all, err := ReadTokens(path)
	if err != nil || len(all) != 1 {
		t.Fatalf("got %v, %v", all, err)
	}
	same, err := ParseToken(secret + "=a.test,9000")
	if err != nil || same.hash != all[0].hash || all[0].Names[0] != "a.test" || all[0].Ports[0] != 9000 {
		t.Errorf("got %+v, want %+v", all[0], same)
	}
	for text, want := range map[string]string{
		"":                         "no token",
		"# nothing":                "no token",
		"hush=a.test":              ":1: a line begins with sha256:",
		line + "\nhush=a.test":     ":2: a line begins with sha256:",
		"sha256:0011=a.test":       ":1: the token for \"a.test\" wants 64",
		line + ",A.test":           ":1: the token for",
		strings.Repeat("#", 1<<17): "token too long",
	} {
		tokenFile(t, path, text)
		if _, err := ReadTokens(path); !errors.Is(err, ErrSetup) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%.30q: got %v, want %s", text, err, want)
		}
	}
	if _, err := ReadTokens("/nonexistent"); !errors.Is(err, ErrSetup) {
		t.Errorf("no file: %v", err)
	}
	if _, _, err := NewToken("A"); !errors.Is(err, ErrSetup) {
		t.Errorf("bad rights: %v", err)
	}
}

// A token that is taken out of the file is shut out at once, and only that one;
// a file that cannot be read changes nothing.
func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	first, firstLine, _ := NewToken("a.test")
	second, secondLine, _ := NewToken("b.test")
	tokenFile(t, path, firstLine, secondLine)
	w := newWorld(t, func(c *ServerConfig) { c.Tokens, c.TokenFile = nil, path })
	h := newHolder(t)
	a := w.client(h.address, func(c *ClientConfig) { c.Token, c.Port = first, 0 })
	b := w.client(h.address, func(c *ClientConfig) { c.Name, c.Token, c.Port = "b.test", second, 0 })
	visitor := dial(t, w.server.HTTPAddr())
	say(t, visitor, "GET / HTTP/1.1\r\nHost: b.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
	conn := take(t, h.in)

	tokenFile(t, path, firstLine, "nonsense")
	if err := w.server.Reload(); !errors.Is(err, ErrSetup) || !strings.Contains(err.Error(), "stay in use") {
		t.Errorf("broken file: %v", err)
	}
	tokenFile(t, path, "", "# all gone")
	if err := w.server.Reload(); !errors.Is(err, ErrSetup) {
		t.Errorf("empty file: %v", err)
	}
	if !a.healthy() || !b.healthy() {
		t.Fatal("a broken file ended a login")
	}

	tokenFile(t, path, secondLine)
	if err := w.server.Reload(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-a.done:
	case <-time.After(patience):
		t.Fatal("the client of the removed token is still there")
	}
	if !errors.Is(a.err, ErrRefused) || !w.log.has("detector=revoked") {
		t.Errorf("ended with %v", a.err)
	}
	if _, known := w.server.registry.find("a.test"); known {
		t.Error("a name that nobody may take is still known")
	}
	say(t, conn, "HTTP/1.1 101 Switching Protocols\r\n\r\nstill here")
	hear(t, visitor, "HTTP/1.1 101 Switching Protocols\r\n\r\nstill here")

	tokenFile(t, path, secondLine, firstLine)
	if err := w.server.Reload(); err != nil {
		t.Fatal(err)
	}
	w.client(h.address, func(c *ClientConfig) { c.Token, c.Port = first, 0 })
}

// A token that lost its right between AUTH and the login is caught there.
func TestRevokedWhileLoggingIn(t *testing.T) {
	w := newWorld(t, nil)
	token := digest{}
	if _, err := w.server.registry.take(&login{name: "a.test", token: token}, ""); err == nil {
		t.Error("a login without a right has its name")
	}
	if l, _ := w.server.registry.find("a.test"); l != nil {
		t.Error("the name is taken")
	}
}

// Both ends may have to show a certificate.
func TestClientCertificates(t *testing.T) {
	foreign := t.TempDir()
	if err := WriteCerts(foreign, []string{"127.0.0.1"}, false); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *ServerConfig) { c.ClientCA = filepath.Join(certs, "ca.pem") })
	for name, dir := range map[string]string{"no certificate": "", "of another authority": foreign} {
		cfg := w.config("127.0.0.1:1")
		if dir != "" {
			cfg.Cert, cfg.Key = filepath.Join(dir, "client-cert.pem"), filepath.Join(dir, "client-key.pem")
		}
		c := runClient(t, cfg)
		eventually(t, name+": refused, and told so", func() bool { return c.log.has("remote error: tls:") })
		if c.log.has("msg=login") {
			t.Errorf("%s: logged in", name)
		}
		c.end(t)
	}
	w.client("127.0.0.1:1", func(c *ClientConfig) {
		c.Cert, c.Key = filepath.Join(certs, "client-cert.pem"), filepath.Join(certs, "client-key.pem")
	})
	if _, err := NewClient(ClientConfig{Server: "h:1", CA: filepath.Join(certs, "ca.pem"), Cert: filepath.Join(certs, "client-cert.pem"), Token: "x", Name: "x", HTTPTo: "h:1"}); !errors.Is(err, ErrSetup) {
		t.Errorf("a certificate without its key: %v", err)
	}
}

// Whoever guesses a thousand times is refused a thousand times, holds nothing,
// and keeps nobody else waiting.
func TestWrongTokenManyTimes(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client(origin(t, echo), nil)
	eventually(t, "the client's flusher runs", func() bool { return c.session(0).rtt.Load() > 0 })
	goroutines := runtime.NumGoroutine()
	auth := wire.Append(nil, wire.Auth, 0, wire.Login{Name: "a.test", Port: uint16(w.port), Token: "guess"}.Append(nil))
	var guessing sync.WaitGroup
	guesses := make(chan struct{})
	for range 10 {
		guessing.Go(func() {
			for range guesses {
				c := rawTLS(t, w.server.Addr())
				c.send(auth)
				if code, text := wire.ParseReason(c.want(wire.Refused).Payload); code != wire.Denied || text != "unknown token" {
					t.Errorf("refused with %v %s", code, text)
				}
				c.wantEnd()
				c.conn.Close()
			}
		})
	}
	for n := range 1000 {
		guesses <- struct{}{}
		if n%100 == 50 {
			conn := w.visitTCP()
			say(t, conn, "served?")
			hear(t, conn, "served?")
			conn.Close()
		}
	}
	close(guesses)
	guessing.Wait()
	eventually(t, "nothing is held for the guesses", func() bool {
		return w.server.preAuth.taken.Load() == 0 && w.streams() == 0 && runtime.NumGoroutine() <= goroutines
	})
	if n := w.log.count("unknown token"); n != 1000 {
		t.Errorf("%d refusals are in the log", n)
	}
}
