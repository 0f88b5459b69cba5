package target

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const good = `
name: x
server: {command: [srv, "--at={{.Server.ClientIP}}:1"], ready: {tcp: "127.0.0.1:1"}}
client: {command: [cli, "{{.Client.Name}}"], ready: {log: ready}}
visit: {tcp: {port: "{{.Client.Port}}"}}
settings: {keepalive: {idle: 2s, interval: 1s, count: 3}, user_timeout: 5s, heartbeat: {interval: 1s, deadline: 1500ms}}
`

func load(t *testing.T, text string) (*Target, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return Load(path)
}

func TestLoad(t *testing.T) {
	x, err := load(t, good)
	if err != nil {
		t.Fatal(err)
	}
	s := x.Settings.Record()
	if s.KeepaliveIdle != 2 || s.KeepaliveCount != 3 || s.UserTimeout != 5 || s.HeartbeatDeadline != 1.5 || s.HalfClose != 0 {
		t.Errorf("settings are %+v", s)
	}
	if len(x.Hash) != 64 || !filepath.IsAbs(x.File) {
		t.Errorf("hash %q, file %q", x.Hash, x.File)
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, c := range []struct{ name, old, new, says string }{
		{"unknown key", "name: x", "name: x\nnmae: y", "line 3: field nmae not found"},
		{"unknown key inside", "user_timeout: 5s", "user_timout: 5s", "field user_timout not found"},
		{"no time", "user_timeout: 5s", "user_timeout: soon", "soon"},
		{"no name", "name: x", "what: x", "name is missing"},
		{"no way in", `visit: {tcp: {port: "{{.Client.Port}}"}}`, "", "visit is missing"},
		{"two kinds of ready", "{log: ready}", `{log: ready, tcp: "127.0.0.1:1"}`, "client.ready: name exactly one"},
		{"template that does not parse", "{{.Client.Name}}", "{{.Client.Name", "parse"},
		{"template of what is not there", "{{.Client.Name}}", "{{.Client.Nmae}}", "Nmae"},
		{"program that is not built", "{{.Client.Name}}", "{{.Bin.nothing}}", "nothing"},
		{"sysctl of the machine", "name: x", "name: x\nkernel: {kernel.panic: \"1\"}", "only net.* does"},
		{"keepalive without an interval", "interval: 1s, count: 3", "count: 3", "settings.keepalive: idle 2s, interval 0s, count 3: give all three"},
		{"keepalive without an idle time", "idle: 2s, ", "", "settings.keepalive: idle 0s"},
		{"keepalive without a count", ", count: 3", "", "settings.keepalive: idle 2s, interval 1s, count 0"},
		{"negative count", "count: 3", "count: -3", "settings.keepalive"},
		{"keepalive at the edge without an interval", "user_timeout: 5s", "edge: {keepalive: {idle: 2s, count: 3}}", "settings.edge.keepalive: idle 2s, interval 0s, count 3"},
		{"a gauge with a value", "{log: ready}", "{log: ready}, metrics: {url: 'http://127.0.0.1:1/m', gauges: [conns 5]}", "line 4: gauge \"conns 5\": want a name"},
		{"two gauges in one", "{log: ready}", "{log: ready}, metrics: {url: 'http://127.0.0.1:1/m', gauges: [\"a 0\\nb\"]}", "want a name"},
		{"a gauge with half a label", "{log: ready}", "{log: ready}, metrics: {url: 'http://127.0.0.1:1/m', gauges: ['conns{kind=']}", "gauge \"conns{kind=\": want a name"},
		{"no gauge", "{log: ready}", "{log: ready}, metrics: {url: 'http://127.0.0.1:1/m', gauges: ['']}", "want a name"},
		{"a gauge that is a comment", "{log: ready}", "{log: ready}, metrics: {url: 'http://127.0.0.1:1/m', gauges: ['# x']}", "want a name"},
		{"a gauge twice", "{log: ready}", "{log: ready}, metrics: {url: 'http://127.0.0.1:1/m', gauges: [a, b, a]}", "client.metrics: gauge a is named twice"},
		{"gauges from nowhere", "{log: ready}", "{log: ready}, metrics: {gauges: [a]}", "client.metrics: give both url and gauges"},
		{"a page without gauges", "{log: ready}", "{log: ready}, metrics: {url: 'http://127.0.0.1:1/m'}", "client.metrics: give both"},
		{"a page that is not http's", "{log: ready}", "{log: ready}, metrics: {url: '127.0.0.1:1/m', gauges: [a]}", "client.metrics: url is"},
		{"a page of a template that is not there", "{log: ready}", "{log: ready}, metrics: {url: 'http://{{.Admin}}/m', gauges: [a]}", "Admin"},
		{"fewer than no neighbours", "name: x", "name: x\nneighbours: -1", "neighbours is negative"},
		{"less than no limit", "name: x", "name: x\nlimits: {visitors: -1}", "limits: one of them is negative"},
		{"a limit of logins that no story can pass", "name: x", "name: x\nneighbours: 3\nlimits: {logins: 5}", "limits.logins is 5: a story brings one more, beside the two clients 4 neighbours"},
		{"a limit of visitors that no client is told", "name: x", "name: x\nlimits: {visitors: 5}", "client.command does not use {{.Client.Visitors}}"},
		{"not YAML", "name: x", "name: [", "line"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(t, strings.Replace(good, c.old, c.new, 1))
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("error is %v, want it to say %q", err, c.says)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error has more than one line: %q", err)
			}
		})
	}
	if _, err := Load("/nowhere/x.yaml"); err == nil || !strings.Contains(err.Error(), "/nowhere/x.yaml") {
		t.Errorf("error of a missing file is %v", err)
	}
}

func TestGauges(t *testing.T) {
	x, err := load(t, strings.Replace(good, "{log: ready}",
		"{log: ready}, metrics: {url: 'http://{{.Client.Admin}}/m', gauges: [conns, 'conns{kind=\"tcp\",way=\"in\"}']}", 1))
	if err != nil {
		t.Fatal(err)
	}
	want := []Gauge{
		{Text: "conns", Name: "conns", Labels: map[string]string{}},
		{Text: `conns{kind="tcp",way="in"}`, Name: "conns", Labels: map[string]string{"kind": "tcp", "way": "in"}},
	}
	if !reflect.DeepEqual(x.Client.Metrics.Gauges, want) || len(x.Server.Metrics.Gauges) != 0 {
		t.Errorf("gauges are %+v", x.Client.Metrics)
	}
}

func TestOurTargetsLoad(t *testing.T) {
	files, err := filepath.Glob("../../scenarios/targets/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no targets: %v", err)
	}
	for _, f := range files {
		if _, err := Load(f); err != nil {
			t.Error(err)
		}
	}
}
