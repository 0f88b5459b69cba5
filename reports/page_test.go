package reports

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"math"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/halfopen/halfopen/harness/record"
)

// check parses the page and looks at what must hold for each: balanced tags, one
// style sheet and one script that the policy names, nothing that loads, links to
// anchors that are there and to files of the run, unique ids, headings that skip no
// level. The page keeps to the syntax that HTML and XML share, so that the standard
// library's strict parser can be the judge.
func check(t *testing.T, page string) {
	t.Helper()
	if !utf8.ValidString(page) {
		t.Error("the page is not UTF-8")
	}
	before, rest, ok := strings.Cut(page, "<script>")
	script, after, closed := strings.Cut(rest, "</script>")
	if !ok || !closed || script != scriptText {
		t.Fatal("the page does not have our script, and nothing else, as its script")
	}
	page = before + after
	allowed := map[string]bool{}
	for name := range strings.FieldsSeq(`html head meta title style body main header footer section h1 h2 h3 h4 h5 p b br span div dl dt dd ul ol li
		a code pre table thead tbody tr th td details summary figure figcaption svg g path rect text`) {
		allowed[name] = true
	}
	ids, links, style, open, level := map[string]bool{}, map[string]bool{}, "", "", 0
	dec := xml.NewDecoder(strings.NewReader(page))
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("parse page: %v", err)
		}
		switch tok := token.(type) {
		case xml.StartElement:
			open = tok.Name.Local
			if !allowed[open] {
				t.Errorf("element %s on the page", open)
			}
			if len(open) == 2 && open[0] == 'h' && open[1] <= '6' {
				if now := int(open[1] - '0'); now > level+1 {
					t.Errorf("heading %s follows one of level %d", open, level)
				} else {
					level = now
				}
			}
			for _, a := range tok.Attr {
				name := a.Name.Local
				switch {
				case strings.HasPrefix(name, "on") || name == "src" || name == "style":
					t.Errorf("attribute %s of %s on the page", name, open)
				case name == "href" && strings.HasPrefix(a.Value, "#"):
					links[a.Value[1:]] = true
				case name == "href" && a.Value != "../index.html" && !(strings.HasPrefix(a.Value, "./") && filepath.IsLocal(a.Value)):
					t.Errorf("the page points out of its folder: %s", a.Value)
				case name == "id" && ids[a.Value]:
					t.Errorf("id %s twice", a.Value)
				case name == "id":
					ids[a.Value] = true
				}
			}
		case xml.CharData:
			if open == "style" {
				style += string(tok)
			}
		case xml.EndElement:
			open = ""
		}
	}
	for l := range links {
		if !ids[l] {
			t.Errorf("a link leads to #%s, which is not there", l)
		}
	}
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	policy := html.UnescapeString(page[:strings.Index(page, "<title>")])
	if want := "default-src 'none'; style-src " + hash(style) + "; script-src " + hash(script) + ";"; !strings.Contains(policy, want) {
		t.Error("the policy does not allow just the style sheet and the script of the page")
	}
	if regexp.MustCompile(`(?i)<script|@import|url\(|javascript:`).MatchString(page) {
		t.Error("another script, or a style that loads")
	}
}

// text is the page as read: without tags, entities resolved.
func text(page string) string {
	_, page, _ = strings.Cut(page, "</style>")
	page, _, _ = strings.Cut(page, "<script>")
	return html.UnescapeString(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(page, ""))
}

func TestPagesHold(t *testing.T) {
	for name, c := range map[string]struct {
		b     *recordBuilder
		title string
		want  []string
	}{
		"pass": {passRun(t), "PASS: ", []string{"PASS: nothing outlived its window: 270 connections", "a leak of 1 in 90 or more would have been seen (95 %)",
			"make test", "✓ 5 PASS · – 1 SKIPPED", "Skipped: MTU black hole on the router (the kernel lacks iptables TCPMSS).", "UDP"}},
		"leak": {leakRun(t), "LEAK: ", []string{"LEAK: 1 session socket of the server outlived kill -9 at client",
			"CLOSE_WAIT with no kernel timer", "mux.(*session).readLoop", "session.go:212", "created by server.(*Server).acceptLoop",
			"10.0.1.1:4443", "→ 10.0.2.2:40112", "server pid 4121 fd 19", "session from 10.0.2.2:40112", "peer=10.0.2.2:40112 role=session session=7",
			`go tool ginkgo -focus "Login churn silent death`, "heartbeat deadline", "◀ decides", "pid 4188 is gone", "? did not bite:", "no bound is stated"}},
		"soak":        {soakRun(t, 30, 17, 22), "LEAK: ", []string{"30 cycles: ✗ 2 LEAK · ✓ 28 PASS", "The finding: Soak: faults in cycles, cycle 17", "First cycle: 1", "Last cycle: 30", "+2 since the start"}},
		"interrupted": {interruptedRun(t), "INCONCLUSIVE: ", []string{"The run ended early, after 21 s: interrupted", "the spec was interrupted"}},
		"empty":       {newRecord(t), "INCONCLUSIVE: ", []string{"nothing was judged", "None ran.", "has no end"}},
		"hostile":     {hostileRun(t), "LEAK: ", []string{"<script>alert(1)</script>", "does not serve", "by no fault", "more in run.jsonl"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, page := mustWrite(t, c.b.write())
			if strings.Contains(name, "hostile") && !strings.Contains(page, "&lt;script&gt;") {
				t.Error("the hostile text is not on the page at all")
			}
			check(t, page)
			if !strings.Contains(page, "<title>"+c.title) {
				t.Errorf("the title does not start with %q", c.title)
			}
			got := text(page)
			for _, w := range c.want {
				if !strings.Contains(strings.ReplaceAll(got, "\u00a0", " "), w) {
					t.Errorf("the page does not say %q", w)
				}
			}
		})
	}
}

func TestLeakStaysOutOfAPass(t *testing.T) {
	_, page := mustWrite(t, passRun(t).write())
	for _, bad := range []string{"Leaked goroutines", "outlived the window<", `class="excess"`, "✗", "The finding"} {
		if strings.Contains(page, bad) {
			t.Errorf("a page of a pass has %q", bad)
		}
	}
	if strings.Contains(page, `<details class="spec good" open`) {
		t.Error("a passed spec is open")
	}
	_, page = mustWrite(t, leakRun(t).write())
	if !strings.Contains(page, `class="excess"`) || !strings.Contains(text(page), "The finding: Login churn") {
		t.Error("a leak has no red area, or is not told first")
	}
	if strings.Contains(text(page), "by no fault") {
		t.Error("the client that the fault killed is said to have exited by no fault")
	}
	if strings.Contains(text(page), "back shown") {
		t.Error("what is shown only is called back at its baseline")
	}
	if strings.Contains(page, `class="bounds"`) {
		t.Error("a run with a leak states a bound")
	}
}

func TestLongSoakStaysSmall(t *testing.T) {
	_, page := mustWrite(t, soakRun(t, 300, 217).write())
	check(t, page)
	if len(page) > 600_000 {
		t.Errorf("the page of 300 cycles has %d bytes", len(page))
	}
	if n := strings.Count(page, `<details class="spec`); n != 2 || !strings.Contains(text(page), "The finding: Soak: faults in cycles, cycle 217") {
		t.Errorf("%d cycles are drawn whole beside the worst, want the first and the last", n)
	}
	for _, c := range []int{1, 150, 300} {
		if !strings.Contains(page, fmt.Sprintf(`<tr><td class="n">%d</td>`, c)) && !strings.Contains(page, fmt.Sprintf(`">%d</a>`, c)) {
			t.Errorf("no row for cycle %d", c)
		}
	}
}

// Events of specs that run in parallel lie mixed in the record.
func TestParallelSpecs(t *testing.T) {
	a, b := passRun(t), soakRun(t, 4, 3)
	mixed := newRecord(t)
	for i := range max(len(a.events), len(b.events)) {
		for _, from := range []*recordBuilder{a, b} {
			if i < len(from.events) && (from == a || from.events[i].Run == nil) {
				mixed.events = append(mixed.events, from.events[i])
			}
		}
	}
	s, page := mustWrite(t, mixed.write())
	check(t, page)
	if s.Verdict != "LEAK" || s.Cycles != 4 || !strings.Contains(page, `<pre class="command"><span>make</span> <span>test</span></pre>`) {
		t.Errorf("summary %+v, or the command is missing", s)
	}
}

// A run whose every spec passed, but whose detector missed a known leak, says so: its
// reason is not the sentence of a spec that passed.
func TestBlindDetectorIsTheReason(t *testing.T) {
	b := passRun(t)
	b.add("", 0, record.Event{Kind: record.KindCheck, Check: &record.Check{What: "a known leak", Error: "round 1 was missed"}})
	s, page := mustWrite(t, b.write())
	if s.Verdict != record.Inconclusive || !strings.Contains(s.Reason, "round 1 was missed") {
		t.Errorf("summary is %s: %s", s.Verdict, s.Reason)
	}
	if !strings.Contains(text(page), "failed its self-check: round 1 was missed") {
		t.Error("the page does not say what was missed")
	}
}

// How the sockets of the window's rows are set is said once a group, and where that is not as
// the target's file says, the page names it.
func TestSocketsAndFindings(t *testing.T) {
	b := leakRun(t)
	for _, e := range b.events {
		if e.Window != nil {
			for i := range e.Window.Rows[:3] {
				e.Window.Rows[i].Count, e.Window.Rows[i].Set = 4, "keepalive 2/1/3, user timeout 50 s"
			}
		}
		if e.Verdict != nil && e.Verdict.Verdict == record.Leak {
			e.Verdict.Differences = []record.Difference{{Role: "server", Reason: "server: 4 of 4 sockets have TCP_USER_TIMEOUT 50 s, the target file says 5 s"}}
		}
	}
	_, page := mustWrite(t, b.write())
	check(t, page)
	got := strings.ReplaceAll(text(page), "\u00a0", " ")
	for _, w := range []string{"4 sessions", "keepalive 2/1/3, user timeout 50 s", "Finding: server: 4 of 4 sockets have TCP_USER_TIMEOUT 50 s, the target file says 5 s"} {
		if !strings.Contains(got, w) {
			t.Errorf("the page does not say %q", w)
		}
	}
	// Three rows a table, and a table a round that has one.
	if set, rows := strings.Count(got, "user timeout 50 s"), strings.Count(page, "<td>4 sessions<"); set == 0 || set*3 != rows {
		t.Errorf("%d rows say how their sockets are set, of %d rows: want a third", set, rows)
	}
}

// The table has a row for each gauge that ever moved; the others are named below it.
func TestQuietGaugesHaveNoRow(t *testing.T) {
	_, page := mustWrite(t, leakRun(t).write())
	for name, row := range map[string]bool{"gauge tunnel_pre_auth_connections": true, "gauge tunnel_queued_in_bytes": false, "sockets CLOSE_WAIT": true} {
		if strings.Contains(page, `<th scope="row">`+name) != row {
			t.Errorf("%s has a row: %v", name, !row)
		}
	}
	if !strings.Contains(page, "Gauges that were 0 at every snapshot: server tunnel_queued_in_bytes.</p>") {
		t.Error("the gauge that never moved is not named")
	}
	still := record.Row{Resource: "gauge streams", OK: true}
	for name, change := range map[string]func(*record.Row){
		"moved": func(r *record.Row) { r.Peak = 1 }, "fell": func(r *record.Row) { r.End = -1 }, "left over": func(r *record.Row) { r.Settled = 2 },
		"not OK": func(r *record.Row) { r.OK = false }, "with a note": func(r *record.Row) { r.Note = "not observed" }, "no gauge": func(r *record.Row) { r.Resource = "fds" },
	} {
		row := still
		if change(&row); quiet(row) || !quiet(still) {
			t.Errorf("a row that %s is left out", name)
		}
	}
}

// What went through a fault and proves nothing is no exposure; the page says why it is not counted.
func TestInconclusiveDoesNotCount(t *testing.T) {
	const says = "what is inconclusive does not count"
	if _, page := mustWrite(t, leakRun(t).write()); !strings.Contains(page, says) {
		t.Error("a fault without effect, and nothing is said of its connections")
	}
	if _, page := mustWrite(t, passRun(t).write()); strings.Contains(page, says) {
		t.Error("all was counted, and the page says otherwise")
	}
}

// After a fault that connections may survive, none has to go: the page says so, a soak that
// has such cycles among others tells the slowest of the others, and so does the summary.
func TestWhatNeedNotGo(t *testing.T) {
	s, page := mustWrite(t, survivedRun(t).write())
	check(t, page)
	if s.Verdict != record.Pass {
		t.Errorf("the run is %s: %s", s.Verdict, s.Reason)
	}
	want := map[string]float64{"A short outage is survived": -1, "A schedule of faults": -1, "Soak: faults in cycles": 1.6}
	for _, r := range s.Results {
		if math.Abs(r.Returned-want[r.Spec]) > 1e-9 {
			t.Errorf("%s: returned after %v, want %v", r.Spec, r.Returned, want[r.Spec])
		}
	}
	for text, n := range map[string]int{">none may go<": 4, ">some may live<": 2, ">1.6 s<": 3} { // in specs, cycles and the matrix
		if got := strings.Count(page, text); got != n {
			t.Errorf("%q is %d times on the page, want %d", text, got, n)
		}
	}
}

// What a page has comes in one order: what decides first, what it rests on behind it.
func TestOrderOfThePage(t *testing.T) {
	b := leakRun(t)
	for _, more := range []*recordBuilder{soakRun(t, 4), sweepRun(t), shrunkRun(t)} {
		b.events = append(b.events, more.events[1:]...)
	}
	_, page := mustWrite(t, b.write())
	check(t, page)
	from := 0
	for _, part := range []string{"<h1>", "See it again", "<dl class=\"tiles\">", "The finding", "Back to baseline?", "Timeline", "Leaked goroutines, by stack", "Sockets and descriptors that outlived the window",
		"The same, seen from the peer", "Faults, and the proof that they bit", "Service after the heal", "What the run says over all its cycles", "Over the cycles", "What was tried: fault, place, traffic",
		"The packet sweep", "A shrunk schedule", "Skipped, and why", "<h2>Evidence", "<h2>Specs", "Environment and window", "What this report does not show"} {
		at := strings.Index(page[from:], part)
		if at < 0 {
			t.Errorf("%q is missing, or too early", part)
			continue
		}
		from += at
	}
}
