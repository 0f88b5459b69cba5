package leftovers_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/record"
)

// plant starts a shell that leaves a process behind, and returns when that one has
// lost its parent.
func plant(t *testing.T, script string) *victim {
	t.Helper()
	folder := t.TempDir()
	v := &victim{ended: make(chan struct{}), log: filepath.Join(folder, "log"), folder: folder}
	v.cmd = exec.Command("sh", "-c", script)
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := v.cmd.Run(); err != nil {
		t.Fatalf("plant: %v", err)
	}
	close(v.ended)
	t.Cleanup(func() { v.finish(t) })
	return v
}

func TestProcessIsSeen(t *testing.T) {
	adopt(t)
	plant(t, "setsid sleep 3601 & setsid sleep 3602 &")
	below, err := descendants(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if len(below) != 2 {
		t.Errorf("two processes were left, found %v", below)
	}
}

func TestNamespaceIsSeen(t *testing.T) {
	adopt(t)
	old, err := allNamespaces()
	if err != nil {
		t.Fatal(err)
	}
	flags := "-n"
	if os.Geteuid() != 0 {
		flags = "-Un"
	}
	if err := exec.Command("unshare", flags, "true").Run(); err != nil {
		t.Skipf("no unshare here: %v", err)
	}
	plant(t, "unshare "+flags+" sleep 3603 &")
	end := time.Now().Add(10 * time.Second)
	for {
		below, err := descendants(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		now, err := allNamespaces()
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(now.heldBy(old, namespaces{}, below), func(s string) bool { return strings.Contains(s, "net:[") }) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("a namespace was left, and not found")
		}
		time.Sleep(poll)
	}
}

func TestChangeOfHostIsSeen(t *testing.T) {
	before, err := readHost()
	if err != nil {
		t.Fatal(err)
	}
	if _, there := before["net/ipv4/ip_forward"]; !there {
		t.Error("sysctls were not read")
	}
	if _, there := before["link lo"]; !there {
		t.Error("links were not read")
	}
	if found := before.changes(before); len(found) > 0 {
		t.Errorf("nothing changed, found %q", found)
	}
	for name, change := range map[string]func(h host){
		"a changed sysctl": func(h host) { h["net/ipv4/ip_forward"] += "1" },
		"a new link":       func(h host) { h["link veth0"] = "7" },
		"a link gone":      func(h host) { delete(h, "link lo") },
		"a new rule":       func(h host) { h["iptables-save"] += "\n-A INPUT -j DROP" },
	} {
		after, err := readHost()
		if err != nil {
			t.Fatal(err)
		}
		change(after)
		if found := after.changes(before); len(found) == 0 {
			t.Errorf("%s was not found", name)
		}
	}
	after, err := readHost()
	if err != nil {
		t.Fatal(err)
	}
	after["net/netfilter/nf_conntrack_new"] = "1"
	if found := after.changes(before); len(found) > 0 {
		t.Errorf("a module that was loaded is no change, found %q", found)
	}
}

func TestResults(t *testing.T) {
	head := `{"kind":"run","run":{"version":` + strconv.Itoa(record.Version) + `,"name":"x","target":"t"}}` + "\n"
	for name, c := range map[string]struct {
		files   map[string]string
		killed  bool
		wrong   bool
		rescued int
	}{
		"no run":                        {},
		"cut record, killed":            {files: map[string]string{"r/run.jsonl": head + `{"ki`}, killed: true, rescued: 1},
		"record without report":         {files: map[string]string{"r/run.jsonl": head}, wrong: true},
		"empty record, killed":          {files: map[string]string{"r/run.jsonl": ""}, killed: true, wrong: true},
		"damaged record, killed":        {files: map[string]string{"r/run.jsonl": head + "{\n{}\n"}, killed: true, wrong: true},
		"no record, killed":             {files: map[string]string{"r/index.html": "</html>"}, killed: true, wrong: true},
		"half a page":                   {files: map[string]string{"r/run.jsonl": head, "r/index.html": "<html>", "r/summary.json": `{"verdict":"PASS"}`}, wrong: true},
		"whole":                         {files: map[string]string{"r/run.jsonl": head, "r/index.html": "<html></html>", "r/summary.json": `{"verdict":"PASS"}`}},
		"an index cut off":              {files: map[string]string{"index.html": "<html>", "r/run.jsonl": head}, killed: true, wrong: true, rescued: 1},
		"a hidden file beside the runs": {files: map[string]string{".latest-1/x": ""}, killed: true, wrong: true},
		"a hidden file in a run":        {files: map[string]string{"r/run.jsonl": head, "r/.index.html-1": ""}, killed: true, wrong: true, rescued: 1},
	} {
		out := t.TempDir()
		for file, text := range c.files {
			path := filepath.Join(out, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		wrong, _, rescued := results(out, c.killed)
		if (len(wrong) > 0) != c.wrong || rescued != c.rescued {
			t.Errorf("%s: found %q, %d reports made; want wrong: %t, %d made", name, wrong, rescued, c.wrong, c.rescued)
		}
	}
}

// A test process whose parent dies before it can ask for its death signal must see
// that for itself.
func TestOrphanEnds(t *testing.T) {
	adopt(t)
	s := prepare(t, true)
	v := &victim{ended: make(chan struct{}), folder: t.TempDir()}
	v.cmd = s.command("scenarios", "sh", "-c", `(while kill -0 $$ 2>/dev/null; do sleep 0.01; done; exec "$0" -ginkgo.label-filter=quick) & exit 0`, s.suite)
	v.cmd.Env = append(v.cmd.Env, "HALFOPEN_OUT="+v.out(), "TMPDIR="+v.folder)
	if err := v.cmd.Run(); err != nil {
		t.Fatal(err)
	}
	close(v.ended)
	defer v.finish(t)
	for clock := time.Now(); ; time.Sleep(poll) {
		reapOrphans(0)
		below, err := descendants(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if len(below) == 0 {
			break
		}
		if time.Since(clock) > 10*limit { // one that stays goes on for minutes
			t.Fatalf("an orphan goes on: %v", below)
		}
	}
	if found, err := stray(v.folder, func(string) bool { return false }); err != nil || len(found) > 0 {
		t.Errorf("an orphan left %v %v", found, err)
	}
}
