package harness

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
)

// Every text of the evidence is bounded, says so when it was cut, and has no secret; a
// profile that is too long is named as missing.
func TestEvidenceIsBounded(t *testing.T) {
	const secret = "hunter22-of-alpha"
	logs := t.TempDir()
	huge := strings.Repeat("level=INFO msg=\"visit\" given="+secret+" port=7001\n", 12_000) // 700 KB
	for name, text := range map[string]string{
		"server.log": huge, "one-line.log": strings.Repeat(secret, 100_000), "short.log": "token=" + secret + "\n", "tunnel.keys": strings.Repeat("CLIENT_RANDOM 00 11\n", 50_000),
	} {
		if err := os.WriteFile(filepath.Join(logs, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	secrets := &redactor{}
	secrets.learn(secret)
	b := &bundle{dir: t.TempDir(), secrets: secrets}
	b.logs(logs)
	b.network(&lab.Host{Name: "router"}, network{rules: huge, flows: "few\n"}, network{rules: huge, flows: "fewer\n"})
	s := record.Sample{}
	for i := range 8_500 {
		s.FDs = append(s.FDs, record.FD{Number: i, Target: "/tmp/" + secret})
		s.Sockets = append(s.Sockets, record.Socket{FD: i, Local: "10.0.1.1:4443", Remote: "10.0.2.2:40112", State: "ESTABLISHED"})
		s.Goroutines = append(s.Goroutines, record.Goroutine{ID: int64(i), State: "IO wait", Labels: map[string]string{"peer": secret}, Frames: []record.Frame{{Func: "main.read", File: "main.go", Line: 1}}})
	}
	b.tables("server", leak.Snapshots{B: s, G: s})
	b.profile("heap.pb.gz", "heap", make([]byte, mostProfile+1))

	whole := map[string]bool{"short.log": true, "router-conntrack.txt": true}
	for _, f := range b.Files {
		data, err := os.ReadFile(filepath.Join(b.dir, f.Name))
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > mostEvidence || int64(len(data)) != f.Bytes || f.Cut == whole[f.Name] {
			t.Errorf("%s has %d bytes, the record says %d, cut %v", f.Name, len(data), f.Bytes, f.Cut)
		}
		if info, err := os.Stat(filepath.Join(b.dir, f.Name)); err != nil || (info.Mode().Perm() == 0o600) != strings.HasSuffix(f.Name, ".keys") {
			t.Errorf("mode of %s: %v, %v", f.Name, info.Mode(), err)
		}
		if strings.Contains(string(data), secret[len(secret)-4:]) {
			t.Errorf("%s has a secret, or the end of one", f.Name)
		}
		if f.Name == "router-ruleset.txt" && (!strings.HasPrefix(string(data), "== at the end of the window") || !strings.Contains(string(data), "== at the verdict ==")) {
			t.Error("one half of the ruleset was cut away for the other")
		}
	}
	if len(b.Files) != 10 || len(b.Missing) != 1 || !strings.Contains(b.Missing[0], "heap.pb.gz has 4194305 bytes") {
		t.Errorf("%d files, missing %q", len(b.Files), b.Missing)
	}
}
