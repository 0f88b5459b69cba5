package harness

import (
	"fmt"
	"html"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/reports"
)

// evidenceRow is a file as the page lists it.
var evidenceRow = regexp.MustCompile(`<tr><td class="addr"><a href="\./([^"]*)"><code>([^<]*)</code></a></td><td class="prose">([^<]*)</td><td class="n">([0-9.]+)\x{a0}(B|KiB|MiB)([^<]*)</td></tr>`)

// The page names each file of the evidence, and no other; its sizes are those of the
// files, what was cut is said to be, and what is not there is said to be missing. No file
// has a secret.
func TestPageNamesTheEvidence(t *testing.T) {
	const secret = "hunter22-of-alpha"
	run, logs := filepath.Join(t.TempDir(), "20261120-093000-scenarios"), t.TempDir()
	b := &bundle{Evidence: record.Evidence{Dir: "evidence/1-1"}, dir: filepath.Join(run, "evidence", "1-1"), secrets: &redactor{}}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b.secrets.learn(secret)
	for name, text := range map[string]string{
		"server-1.log": strings.Repeat("level=INFO msg=login given="+secret+"\n", 20_000), "client <2>&.log": "token=" + secret + "\n", "server-1.keys": "CLIENT_RANDOM 00 11\n", "empty.log": "",
	} {
		if err := os.WriteFile(filepath.Join(logs, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b.logs(logs)
	s := record.Sample{FDs: []record.FD{{Number: 3, Target: "/tmp/" + secret}}, Goroutines: make([]record.Goroutine, 900)}
	b.tables("server", leak.Snapshots{B: s, G: s})
	b.tables("client", leak.Snapshots{B: s}) // it has died, and is another one after the heal
	b.tables("other", leak.Snapshots{})      // its runtime cannot be asked
	b.network(&lab.Host{Name: "router"}, network{rules: "-A FORWARD -j DROP\n"}, network{rules: secret})
	b.profile("server-heap-after.pb.gz", "heap", make([]byte, 2_900_000))
	b.profile("client-heap-after.pb.gz", "heap", make([]byte, mostProfile+1))

	at := time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)
	w, err := record.Append(run)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []record.Event{
		{Kind: record.KindRun, Run: &record.Run{Version: record.Version, Name: "scenarios"}},
		{Kind: record.KindBegin, Spec: "1-1", Begin: &record.Spec{Name: "Client death"}},
		{Kind: record.KindVerdict, Spec: "1-1", Verdict: &record.Judgement{Verdict: record.Leak, Reason: "server: 1 fd outlived the window", Returned: -1}},
		{Kind: record.KindEvidence, Spec: "1-1", Evidence: &b.Evidence},
		{Kind: record.KindEnd, Spec: "1-1", End: &record.End{State: "failed"}},
		{Kind: record.KindFinish, Finish: &record.Finish{Reason: "done"}},
	} {
		e.At = at
		if err := w.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := reports.Write(run); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(run, reports.PageName))
	if err != nil {
		t.Fatal(err)
	}
	holdEvidence(t, run, string(data), secret)

	if len(b.Files) != 14 {
		t.Errorf("%d files were kept", len(b.Files))
	}
	for _, missing := range []string{"client-goroutines-after.txt", "other-goroutines-before.txt, other-goroutines-after.txt", "client-heap-after.pb.gz has 4194305 bytes"} {
		if !strings.Contains(string(data), `<p class="notice">Not kept: `+missing) {
			t.Errorf("the page does not say that %s is missing", missing)
		}
	}
	if missing := strings.Count(string(data), "Not kept:"); missing != len(b.Missing) || missing != 3 {
		t.Errorf("%d are missing by the page, %q by the record", missing, b.Missing)
	}
}

// holdEvidence holds the page of a run against what its folders of evidence have.
func holdEvidence(t *testing.T, run, page, secret string) {
	t.Helper()
	folders, err := filepath.Glob(filepath.Join(run, "evidence", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	for _, file := range folders {
		name, err := filepath.Rel(run, file)
		if err != nil {
			t.Fatal(err)
		}
		left[filepath.ToSlash(name)] = true
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), secret) {
			t.Errorf("%s has a secret", name)
		}
	}
	if strings.Contains(page, secret) {
		t.Error("the page has a secret")
	}
	for _, row := range evidenceRow.FindAllStringSubmatch(page, -1) {
		name := html.UnescapeString(row[1])
		if name, err = url.PathUnescape(name); err != nil {
			t.Errorf("link to %q: %v", row[1], err)
		}
		if shown := html.UnescapeString(row[2]); filepath.Base(name) != shown {
			t.Errorf("the link named %s leads to %s", shown, name)
		}
		if !left[name] {
			t.Errorf("the page names %s, which is not there, or twice", name)
			continue
		}
		delete(left, name)
		info, err := os.Stat(filepath.Join(run, name))
		if err != nil {
			t.Fatal(err)
		}
		value, err := strconv.ParseFloat(row[4], 64)
		if err != nil {
			t.Fatal(err)
		}
		decimals := len(row[4]) - len(strings.TrimRight(row[4], "0123456789"))
		if !strings.Contains(row[4], ".") {
			decimals = 0
		}
		unit := map[string]float64{"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}[row[5]]
		if off := math.Abs(value*unit - float64(info.Size())); off > unit*math.Pow10(-decimals)/2+1e-6 || row[5] == "B" && off > 0 {
			t.Errorf("%s has %d bytes, the page says %s %s", name, info.Size(), row[4], row[5])
		}
		if cut := strings.Contains(row[6], "its last part only"); cut != strings.HasSuffix(name, "server-1.log") {
			t.Errorf("%s: the page says that it was cut: %v", name, cut)
		}
	}
	for name := range left {
		t.Errorf("the page does not name %s", name)
	}
	if words := fmt.Sprintf("%d files in evidence/", len(folders)); !strings.Contains(page, words) {
		t.Errorf("the page does not say %q", words)
	}
}
