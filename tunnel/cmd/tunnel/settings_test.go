package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// config writes a config file.
func config(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tunnel.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tls makes certificates and returns their folder.
func tls(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if code := run(t.Context(), []string{"cert", "--dir", dir, "--host", "127.0.0.1"}, &output{}, &output{}); code != 0 {
		t.Fatal(code)
	}
	return dir
}

// One precedence for all options: the command line, the environment, the file,
// the default.
func TestPrecedence(t *testing.T) {
	dir := tls(t)
	path := config(t, `
client:
  server: 127.0.0.1:1
  ca: `+dir+`/ca.pem
  token: from-file
  name: a.test
  http-to: 127.0.0.1:2
server: # checked too
  cert: `+dir+`/cert.pem
  key: `+dir+`/key.pem
  token: [hush=a.test, "hush=b.test,9000"]
  heartbeat: 2s
  edge-keepalive: 7s/2s/3
  flush: 0
  debug-free: true
`)
	t.Setenv("TUNNEL_HEARTBEAT_DEADLINE", "4s")
	t.Setenv("TUNNEL_HEARTBEAT", "3s")
	out, errs := &output{}, &output{}
	if code := run(t.Context(), []string{"check", path}, out, errs); code != 0 {
		t.Fatalf("exit code %d, %s", code, errs)
	}
	for _, want := range []string{
		"server:\n", "  heartbeat: 3s # TUNNEL_HEARTBEAT\n", "  heartbeat-deadline: 4s # TUNNEL_HEARTBEAT_DEADLINE\n",
		"  edge-keepalive: 7s/2s/3 # line 13\n", "  flush: 0 # line 14\n", "  debug-free: true # line 15\n", "  dial: 10s # default\n", "  token: (hidden) # line 11\n",
		"client:\n", "  http-to: 127.0.0.1:2 # line 7\n", "  token: (hidden) # line 5\n", `  tcp-to: "" # default`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out.String(), "hush") || strings.Contains(out.String(), "from-file") {
		t.Errorf("a secret is shown:\n%s", out)
	}
	// What check prints is what runs: the file's name is refused, the flag's is taken.
	server := start(t, "server", "--config", path, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--tcp-host", "127.0.0.1")
	errs = &output{}
	args := []string{"client", "--config", path, "--admin", "", "--server", server.field(t, "listen"), "--log-level", "error"}
	if code := run(t.Context(), args, errs, errs); code != 1 || !strings.Contains(errs.String(), "unknown token") {
		t.Errorf("with the file's token: exit code %d, %s", code, errs)
	}
	t.Setenv("TUNNEL_TOKEN", "hush")
	start(t, args...)
	server.wait(t, "msg=login name=a.test")
}

// pageConfig writes the config file that docs/tunnel.md shows, with its certificates
// in a folder that is there.
func pageConfig(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../../docs/tunnel.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "\n```yaml\n")
	text, _, found := strings.Cut(text, "\n```\n")
	if !found {
		t.Fatal("docs/tunnel.md shows no config file")
	}
	return config(t, strings.ReplaceAll(text, "/etc/tunnel", tls(t)))
}

// The page's own config file is right, in the environment that the client's unit has, and
// each side's half of it also without the other's.
func TestConfigOfThePage(t *testing.T) {
	path := pageConfig(t)
	check := func(args ...string) (int, string) {
		out := &output{}
		return run(t.Context(), append([]string{"check"}, args...), out, out), out.String()
	}
	if code, text := check(path, "--only", "server"); code != 0 || !strings.Contains(text, "server:\n") || strings.Contains(text, "client:") {
		t.Errorf("server's half: exit code %d\n%s", code, text)
	}
	if code, text := check(path); code != 2 || !strings.Contains(text, "no token: give --token or TUNNEL_TOKEN") {
		t.Errorf("the client has no token: exit code %d\n%s", code, text)
	}
	t.Setenv("TUNNEL_TOKEN", "s3cret")
	if code, text := check(path); code != 0 || !strings.Contains(text, "server:\n") || !strings.Contains(text, "client:\n") {
		t.Errorf("exit code %d\n%s", code, text)
	}
	t.Setenv("TUNNEL_TOKENS", "a=a.test b=b.test")
	if code, text := check(path, "--only", "server"); code != 0 || !strings.Contains(text, "  token: (hidden) # TUNNEL_TOKENS\n") {
		t.Errorf("server's tokens in the environment: exit code %d\n%s", code, text)
	}
	if code, text := check(path, "--only", "clients"); code != 2 || !strings.Contains(text, "server or client") {
		t.Errorf("no such half: exit code %d\n%s", code, text)
	}
	if code, text := check(config(t, "server: {}\n"), "--only", "client"); code != 2 || !strings.Contains(text, `has no section "client:"`) {
		t.Errorf("a half that is not there: exit code %d\n%s", code, text)
	}
}

// A default that hangs on another option is shown as it is in force, and so is what an
// empty address means.
func TestInForce(t *testing.T) {
	dir := tls(t)
	path := config(t, `
server:
  cert: `+dir+`/cert.pem
  key: `+dir+`/key.pem
  token: hush=a.test
  listen: ""
  heartbeat: 0
  half-close: 90s
client:
  server: 127.0.0.1:1
  ca: `+dir+`/ca.pem
  token: hush
  name: a.test
  http-to: 127.0.0.1:2
  backoff: 40s
`)
	out := &output{}
	if code := run(t.Context(), []string{"check", path}, out, out); code != 0 {
		t.Fatalf("exit code %d, %s", code, out)
	}
	for _, want := range []string{
		"  listen: 0.0.0.0:4443 # line 6\n", "  heartbeat: 0 # line 7\n", "  heartbeat-deadline: 0 # default\n", "  half-close: 90s # line 8\n",
		"  half-close: 60s # default\n", "  backoff: 40s # line 15\n", "  backoff-cap: 40s # default\n", "  server-name: 127.0.0.1 # default\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// What the server's unit does before it starts, it can do without the client's secret,
// and with it.
func TestServerUnit(t *testing.T) {
	unit, err := os.ReadFile("../../../docs/systemd/tunnel-server.service")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(unit), "\nExecStartPre=/usr/local/bin/tunnel ")
	text, _, _ = strings.Cut(text, "\n")
	args := strings.Fields(strings.ReplaceAll(text, "/etc/tunnel/tunnel.yaml", pageConfig(t)))
	for range 2 {
		out := &output{}
		if code := run(t.Context(), args, out, out); code != 0 || len(args) == 0 {
			t.Errorf("%s: exit code %d\n%s", text, code, out)
		}
		t.Setenv("TUNNEL_TOKEN", "s3cret")
	}
}

// Each mistake of a file is one line that begins with its place.
func TestConfigMistakes(t *testing.T) {
	dir := tls(t)
	server := "server:\n  cert: " + dir + "/cert.pem\n  key: " + dir + "/key.pem\n"
	for text, want := range map[string][]string{
		"":               {": wants the sections"},
		"- x\n":          {": wants the sections"},
		"server:\n\t- x": {": line 2: "},
		"sever: {}\n":    {":1: unknown section \"sever\""},
		"server: 3\n":    {":1: section \"server\" wants"},
		"server: {}\n":   {":1: no certificate", ":1: no token"},
		server + "  token: hush=a\n  hearbeat: 3s\n  flush: soon\n":             {":5: unknown key \"hearbeat\"", ":6: flush: want a duration"},
		server + "  token: hush\n":                                              {":4: token: a token is not SECRET="},
		server + "  token: [hush=a, {b: c}]\n":                                  {":4: token wants one value"},
		server + "  token: hush=a\n  token: hush=b\n":                           {":5: a second \"token\""},
		server + "  token: hush=a\n  flush: [1s, 2s]\n":                         {":5: flush wants one value"},
		server + "  token: hush=a\n  flush:\n":                                  {":5: flush has no value"},
		server + "  token: hush=a\n  max-queued: 0\n  drain: -1s\n":             {":5: max-queued: want a number from 1", ":6: drain: want at least 1ms"},
		server + "  token: hush=a\n  config: x\n":                               {":5: unknown key \"config\""},
		server + "  token: hush=a\n  admin: 0.0.0.0:6060\n":                     {":5: admin address"},
		server + "  token: hush=a\n  heartbeat: 9s\n  heartbeat-deadline: 5s\n": {":6: heartbeat-deadline 5s would end"},
		server + "  token: hush=a\nclient:\n  name: a\n  server: h\n":           {":5: no authority", ":5: no token", ":5: nothing to tunnel to", ":7: server \"h\""},
	} {
		path := config(t, text)
		out, errs := &output{}, &output{}
		code := run(t.Context(), []string{"check", path}, out, errs)
		if code != 2 || strings.Contains(errs.String(), "hush") {
			t.Errorf("%q: exit code %d, %s", text, code, errs)
		}
		for _, w := range want {
			if !strings.Contains(errs.String(), path+w) {
				t.Errorf("%q: no %q in\n%s", text, w, errs)
			}
		}
	}
	for _, args := range []string{"check /nonexistent", "server --config /nonexistent", "check", "check a b"} {
		errs := &output{}
		if code := run(t.Context(), strings.Fields(args), errs, errs); code != 2 || strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("%s: exit code %d, %s", args, code, errs)
		}
	}
	// A file without this side's section, and a variable that is nobody's.
	errs := &output{}
	if code := run(t.Context(), []string{"client", "--config", config(t, server)}, errs, errs); code != 2 || !strings.Contains(errs.String(), `no section "client:"`) {
		t.Errorf("no section: exit code %d, %s", code, errs)
	}
	t.Setenv("TUNNEL_HARTBEAT", "3s")
	errs = &output{}
	if code := run(t.Context(), []string{"server"}, errs, errs); code != 2 || !strings.Contains(errs.String(), "TUNNEL_HARTBEAT") {
		t.Errorf("unknown variable: exit code %d, %s", code, errs)
	}
}

// A disk that is full costs lines, not the service.
func TestLogDiskFull(t *testing.T) {
	dir := tls(t)
	server := start(t, "server", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--tcp-host", "127.0.0.1",
		"--cert", dir+"/cert.pem", "--key", dir+"/key.pem", "--token", "hush=a.test", "--log-file", "/dev/full")
	server.wait(t, "no space left on device; the service goes on")
	if n := strings.Count(server.String(), "\n"); n != 1 {
		t.Errorf("told %d times:\n%s", n, server)
	}
	errs := &output{}
	if code := run(t.Context(), []string{"server", "--cert", dir + "/cert.pem", "--key", dir + "/key.pem", "--token", "hush=a.test", "--log-file", "/nonexistent/x"}, errs, errs); code != 2 || !strings.Contains(errs.String(), "open log file") {
		t.Errorf("no such folder: exit code %d, %s", code, errs)
	}
}

// What could not be written is counted, told once, and told again at its end.
func TestLostLines(t *testing.T) {
	errs := &output{}
	f := &logFile{path: "/dev/full", stderr: errs}
	if err := f.reopen(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if n, err := f.Write([]byte("line")); n != 4 || err != nil {
			t.Errorf("wrote %d, %v", n, err)
		}
	}
	f.path = filepath.Join(t.TempDir(), "log")
	if err := f.reopen(); err != nil {
		t.Fatal(err)
	}
	defer f.close()
	for range 2 {
		_, _ = f.Write([]byte("line"))
	}
	if got := errs.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "no space left") || !strings.Contains(got, "3 lines were lost") {
		t.Errorf("told:\n%s", got)
	}
}

// SIGHUP after the log was moved away begins a new one.
func TestLogReopened(t *testing.T) {
	dir := tls(t)
	path := filepath.Join(dir, "log")
	start(t, "server", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "", "--tcp-host", "127.0.0.1",
		"--cert", dir+"/cert.pem", "--key", dir+"/key.pem", "--token", "hush=a.test", "--log-file", path, "--log-format", "json")
	lines := func() string { text, _ := os.ReadFile(path); return string(text) }
	waitFor(t, "ready", func() bool { return strings.Contains(lines(), `"msg":"ready"`) })
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a new file", func() bool {
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		_, err := os.Stat(path)
		return err == nil
	})
}

// A SIGHUP after the last reload, before the process is gone, ends nobody: without
// that this test process dies of it.
func TestHangupAtTheEnd(t *testing.T) {
	reloaded := make(chan struct{}, 1)
	stop := onHangup(func() {
		select {
		case reloaded <- struct{}{}:
		default: // more than one came: that of another test, late
		}
	})
	hangUp := func() {
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	hangUp()
	<-reloaded
	stop()
	select {
	case <-reloaded: // before stop
	default:
	}
	hangUp()
	select {
	case <-reloaded:
		t.Error("reloaded after stop")
	case <-time.After(50 * time.Millisecond):
	}
}

func TestVersionAndCompletion(t *testing.T) {
	for args, want := range map[string]string{
		"version":               ", protocol ",
		"completion bash":       "__start_tunnel",
		"completion zsh":        "#compdef tunnel",
		"__complete server --h": "--heartbeat",
	} {
		out, errs := &output{}, &output{}
		if code := run(t.Context(), strings.Fields(args), out, errs); code != 0 || !strings.Contains(out.String(), want) {
			t.Errorf("%s: exit code %d, no %q in %.200s %s", args, code, want, out, errs)
		}
	}
}
