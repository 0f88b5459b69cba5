package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The keys of a session are written by both ends if the environment asks for them, into a
// file that nobody else can read, with a warning; and not otherwise.
func TestKeyLog(t *testing.T) {
	dir := t.TempDir()
	if code := run(t.Context(), []string{"cert", "--dir", dir, "--host", "127.0.0.1"}, &output{}, &output{}); code != 0 {
		t.Fatal(code)
	}
	server := func() *output {
		return start(t, "server", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "", "--tcp-host", "127.0.0.1",
			"--cert", filepath.Join(dir, "cert.pem"), "--key", filepath.Join(dir, "key.pem"), "--token", "hush-hush=a.test")
	}
	t.Setenv("TUNNEL_TOKEN", "hush-hush")
	client := func(server *output) *output {
		c := start(t, "client", "--server", server.field(t, "listen"), "--ca", filepath.Join(dir, "ca.pem"), "--name", "a.test",
			"--http-to", "127.0.0.1:9", "--admin", "")
		c.wait(t, "msg=ready")
		return c
	}
	plain := server()
	plain.wait(t, "msg=ready") // it has read its environment
	ofServer, ofClient := filepath.Join(dir, "server.keys"), filepath.Join(dir, "client.keys")
	t.Setenv(keyLogVariable, ofServer)
	asked := server()
	asked.wait(t, "msg=ready")
	t.Setenv(keyLogVariable, ofClient)
	warned := client(asked)
	keys := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode of %s: %v, %v", file, info.Mode(), err)
		}
		return string(text)
	}
	for _, file := range []string{ofServer, ofClient} {
		if n := strings.Count(keys(file), "CLIENT_TRAFFIC_SECRET_0 "); n != 4 {
			t.Errorf("%s has the keys of %d sessions, want 4", file, n)
		}
	}
	for _, o := range []*output{asked, warned} {
		if !strings.Contains(o.String(), "the keys of all sessions are written") {
			t.Errorf("no warning: %s", o)
		}
	}
	before := keys(ofServer)
	t.Setenv(keyLogVariable, "")
	client(plain)
	if keys(ofServer) != before {
		t.Error("a server that was not asked writes keys")
	}
	t.Setenv(keyLogVariable, filepath.Join(dir, "no", "folder"))
	out := &output{}
	if code := run(t.Context(), []string{"client", "--server", "127.0.0.1:1", "--ca", filepath.Join(dir, "ca.pem"), "--name", "a.test", "--http-to", "127.0.0.1:9", "--admin", ""}, out, out); code != 2 ||
		strings.Count(out.String(), "\n") != 1 || !strings.Contains(out.String(), "unset it to run without") {
		t.Errorf("exit code %d: %s", code, out)
	}
}
