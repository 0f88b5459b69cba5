package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// output is a buffer that two goroutines may use.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// field waits for "name=value" in the output and returns the value.
func (o *output) field(t *testing.T, name string) string {
	t.Helper()
	for end := time.Now().Add(hung); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if _, rest, ok := strings.Cut(o.String(), " "+name+"="); ok {
			if i := strings.IndexAny(rest, " \n"); i >= 0 {
				return rest[:i]
			}
		}
	}
	t.Fatalf("no %s in %s", name, o)
	return ""
}

// waitFor polls until ok, or fails the test.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(hung); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// wait waits for a text in the output.
func (o *output) wait(t *testing.T, text string) {
	t.Helper()
	waitFor(t, text, func() bool { return strings.Contains(o.String(), text) })
}

// start runs the command until the test's end, and demands exit code 0.
func start(t *testing.T, args ...string) *output {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out := &output{}
	done := make(chan int)
	go func() { done <- run(ctx, args, out, out) }()
	t.Cleanup(func() {
		cancel()
		select {
		case code := <-done:
			if code != 0 {
				t.Errorf("%s: exit code %d\n%s", args[0], code, out)
			}
		case <-time.After(hung):
			t.Errorf("%s does not end", args[0])
		}
	})
	return out
}

func TestServerAndClient(t *testing.T) {
	dir := t.TempDir()
	if code := run(t.Context(), []string{"cert", "--dir", dir, "--host", "127.0.0.1"}, &output{}, &output{}); code != 0 {
		t.Fatal(code)
	}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hi ", r.Host) }))
	defer origin.Close()
	server := start(t, "server", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--tcp-host", "127.0.0.1", "--admin", "127.0.0.1:0",
		"--cert", filepath.Join(dir, "cert.pem"), "--key", filepath.Join(dir, "key.pem"), "--token", "hush-hush=a.test",
		"--session-keepalive", "2s/1s/3", "--edge-keepalive", "0", "--session-user-timeout", "5s")
	server.field(t, "admin")
	if !strings.Contains(server.String(), "level=INFO msg=ready listen=127.0.0.1:") {
		t.Errorf("not the line that harnesses wait for: %s", server)
	}
	t.Setenv("TUNNEL_TOKEN", "hush-hush")
	client := start(t, "client", "--server", server.field(t, "listen"), "--ca", filepath.Join(dir, "ca.pem"),
		"--name", "a.test", "--http-to", strings.TrimPrefix(origin.URL, "http://"), "--admin", "127.0.0.1:0", "--log-format", "text")
	client.field(t, "session")
	req, err := http.NewRequest("GET", "http://"+server.field(t, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "a.test"
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil || body.String() != "hi a.test" {
		t.Errorf("got %q, %v", &body, err)
	}
	if all := server.String() + client.String(); strings.Contains(all, "hush") {
		t.Errorf("the secret was logged:\n%s", all)
	}
	table, text := &output{}, &output{}
	client.wait(t, "msg=ready") // with every session
	if code := run(t.Context(), []string{"status", "--admin", server.field(t, "admin")}, table, table); code != 0 || !strings.Contains(table.String(), "a.test  -     1.0") || !strings.Contains(table.String(), "server: 1 logins, 4 sessions") {
		t.Errorf("status: exit code %d\n%s", code, table)
	}
	if code := run(t.Context(), []string{"status", "--json", "--admin", server.field(t, "admin")}, text, text); code != 0 || !strings.Contains(text.String(), `"sessions": 4`) {
		t.Errorf("status --json: exit code %d\n%s", code, text)
	}
	// A second server on the same port, and a client with another token.
	errs := &output{}
	if code := run(t.Context(), []string{"server", "--listen", server.field(t, "listen"), "--admin", "", "--http", "127.0.0.1:0",
		"--cert", filepath.Join(dir, "cert.pem"), "--key", filepath.Join(dir, "key.pem"), "--token", "x=a"}, errs, errs); code != 2 || !strings.Contains(errs.String(), "already in use") {
		t.Errorf("port in use: exit code %d, %s", code, errs)
	}
	errs = &output{}
	if code := run(t.Context(), []string{"status", "--admin", "127.0.0.1:1"}, errs, errs); code != 1 || !strings.Contains(errs.String(), "nobody answers") {
		t.Errorf("status of nobody: exit code %d, %s", code, errs)
	}
	errs = &output{}
	if code := run(t.Context(), []string{"client", "--server", server.field(t, "listen"), "--ca", filepath.Join(dir, "ca.pem"), "--token", "hush",
		"--name", "a.test", "--http-to", "127.0.0.1:1", "--admin", "", "--log-level", "error"}, errs, errs); code != 1 || errs.String() != "tunnel client: login refused: unknown token\n" {
		t.Errorf("refused: exit code %d, %s", code, errs)
	}
}

// The first signal drains, a second one forces.
func TestSecondSignal(t *testing.T) {
	dir := tls(t)
	hold, release := make(chan struct{}), make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(hold); <-release }))
	defer origin.Close()
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	server, done := &output{}, make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"server", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "", "--tcp-host", "127.0.0.1", "--drain", "1h",
			"--cert", dir + "/cert.pem", "--key", dir + "/key.pem", "--token", "hush=a.test"}, server, server)
	}()
	start(t, "client", "--server", server.field(t, "listen"), "--ca", dir+"/ca.pem", "--token", "hush", "--name", "a.test",
		"--http-to", strings.TrimPrefix(origin.URL, "http://"), "--admin", "", "--drain", "0")
	server.wait(t, "msg=login")
	conn, err := net.Dial("tcp", server.field(t, "http"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	<-hold
	cancel() // as the first signal does
	server.wait(t, "msg=drain")
	select {
	case <-done:
		t.Fatal("ended under a request")
	case <-time.After(100 * time.Millisecond):
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case code := <-done:
		if code != 0 {
			t.Errorf("exit code %d\n%s", code, server)
		}
	case <-time.After(hung):
		t.Error("a second signal does not force")
	}
}

// Every mistake is told in one line that says what to do, without the secret.
func TestMistakes(t *testing.T) {
	for args, want := range map[string]string{
		"":                                       "say what to run",
		"frob":                                   "unknown command",
		"server --frob":                          "unknown flag",
		"server x":                               "unknown command",
		"server --token hush":                    "SECRET=NAME",
		"server --token hush=a":                  "tunnel cert",
		"server --token hush=a --cert x --key x": "tunnel cert",
		"server --heartbeat 5":                   "duration like 5s",
		"server --heartbeat -5s":                 "at least 1ms",
		"server --handshake 0":                   "cannot be switched off",
		"server --max-logins 0":                  "want a number from 1",
		"server --max-pre-auth 0":                "want a number from 1",
		"server --max-sessions 0":                "want a number from 1",
		"server --max-streams -1":                "want a number from 1",
		"server --max-queued many":               "want a number from 1",
		"client --sessions 0":                    "want a number from 1",
		"client --max-streams 0":                 "want a number from 1",
		"client --max-queued 0":                  "want a number from 1",
		"client --drain -1s":                     "at least 1ms",
		"server --drain -1s":                     "at least 1ms",
		"server --session-keepalive 15s/5s":      "idle/interval/count",
		"server --edge-keepalive 1500ms/1s/1":    "whole seconds",
		"server --log-format xml":                "text or json",
		"server --log-level loud":                "debug, info",
		"client":                                 "--ca",
		"client --server h:1 --ca /nonexistent --token hush --name a --http-to h:1": "ca.pem",
		"cert --dir /nonexistent/x": "--host",
	} {
		out := &output{}
		code := run(t.Context(), strings.Fields(args), out, out)
		text := out.String()
		if code != 2 || !strings.Contains(text, want) || strings.Count(text, "\n") != 1 || strings.Contains(text, "hush") {
			t.Errorf("tunnel %s: exit code %d, %q; want 2 and %q", args, code, text, want)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, command := range []string{"", "server", "client", "cert", "check", "status", "token", "version"} {
		out := &output{}
		if code := run(t.Context(), append(strings.Fields(command), "--help"), out, out); code != 0 || !strings.Contains(out.String(), "Usage:") {
			t.Errorf("help of %q: %d", command, code)
		}
	}
}

func TestDefaultsAreShown(t *testing.T) {
	out := &output{}
	run(t.Context(), []string{"server", "--help"}, out, out)
	for _, want := range []string{"4443", "8080", "127.0.0.1:6060", "default 5s", "default 15s/5s/6", "default 45s", "default 60s", "default 1024", "default 64"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help does not show %q", want)
		}
	}
}
