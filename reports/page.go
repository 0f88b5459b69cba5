package reports

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed" // the page and its style
	"encoding/base64"
	"fmt"
	"html/template"
	"strings"

	"github.com/halfopen/halfopen/harness/record"
)

//go:embed page.html.tmpl
var pageText string

//go:embed page.css
var styleText string

// pageTemplate is parsed once; html/template escapes each value for its place.
var pageTemplate = template.Must(template.New("page").Parse(pageText))

// page is everything that the template shows.
type page struct {
	Style  template.CSS
	Policy string

	Title    string
	Word     word
	Reason   string
	Rows     []fact // where, fault, why of the worst
	Bounds   []string
	Notes    []string // cut off, interrupted
	Facts    []fact
	Replays  []fact
	Specs    []specRow
	Sections []section
	Setup    []fact
	Settings []fact
	Hidden   []string // what the report does not show
	Skipped  []fact
}

// fact is a name with its value; Link is an anchor on the page.
type fact struct{ Name, Value, Link string }

type specRow struct {
	Word                                              word
	Name, Fault, Exposures, Returned, Window, ID, Out string
}

// pageHTML draws the story: one file without scripts, that loads nothing. Its
// policy allows just the one style sheet in it, by hash.
func pageHTML(s *story) ([]byte, error) {
	sum := sha256.Sum256([]byte(styleText))
	p := page{
		Style:  template.CSS(styleText), //nolint:gosec // our own file
		Policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'",
		Word:   verdictWord(s.summary.Verdict), Reason: s.summary.Reason,
	}
	p.Title = fmt.Sprintf("%s: %s", s.summary.Verdict, cutText(cmp.Or(s.summary.Target, s.summary.Reason), 80))
	p.banner(s)
	p.run(s)
	for _, sp := range s.byHarm() {
		p.Specs = append(p.Specs, sp.row())
		p.Sections = append(p.Sections, sp.section())
		if sp.verdict == record.Skipped {
			p.Skipped = append(p.Skipped, fact{sp.head.Name, sp.reason(), ""})
		}
	}
	p.environment(s)
	p.hidden(s)
	var out bytes.Buffer
	if err := pageTemplate.Execute(&out, p); err != nil {
		return nil, fmt.Errorf("draw page: %w", err)
	}
	return out.Bytes(), nil
}

// banner is the worst judgement's story, and what is odd about the record.
func (p *page) banner(s *story) {
	if worst := s.byHarm(); len(worst) > 0 && s.summary.Verdict != record.Pass && worst[0].worst != nil && worst[0].verdict == s.summary.Verdict {
		sp := worst[0]
		j := sp.worst.judgement()
		where, link := sp.head.Name, fmt.Sprintf("s%d", sp.number)
		if sp.worst.cycle > 0 {
			link += fmt.Sprintf("-c%d", sp.worst.cycle)
			where += fmt.Sprintf(", cycle %d", sp.worst.cycle)
		}
		for _, f := range []fact{{"where", j.Where, ""}, {"fault", cmp.Or(j.Fault, sp.worst.faultText()), ""}, {"why", j.Why, ""}, {"in", where, link}} {
			if f.Value != "" {
				p.Rows = append(p.Rows, f)
			}
		}
	}
	for _, b := range s.summary.Bounds { // the judge states them for a clean run only
		p.Bounds = append(p.Bounds, BoundWords(b))
	}
	if s.cut {
		p.Notes = append(p.Notes, "The record is cut off in its last line: the run was killed, or the disk was full. What follows is all that was written.")
	}
	ended := len(s.finish) > 0
	for _, f := range s.finish {
		if f.Reason != "done" {
			p.Notes = append(p.Notes, fmt.Sprintf("The run ended early, after %s: %s", seconds(f.Duration), strings.TrimSuffix(f.Reason+", "+f.Detail, ", ")))
		}
	}
	if !ended && !s.cut {
		p.Notes = append(p.Notes, "The record has no end: the run was killed, or still goes on.")
	}
}

func (p *page) run(s *story) {
	add := func(name, value string) {
		if value != "" {
			p.Facts = append(p.Facts, fact{name, value, ""})
		}
	}
	add("Target", s.summary.Target)
	add("Planted leak", s.summary.Mutant)
	specs := map[record.Verdict]int{}
	for _, sp := range s.specs {
		specs[sp.verdict]++
	}
	add("Specs", tally(specs))
	add("Exposures", thousands(s.summary.Exposures)+" connections went through a fault")
	add("Fault events", thousands(s.summary.FaultEvents))
	if s.summary.Cycles > 0 {
		add("Soak cycles", thousands(s.summary.Cycles))
	}
	for _, c := range s.checks {
		if c.OK {
			add("Self-check", "✓ caught: "+c.What)
		} else {
			add("Self-check", "✗ MISSED: "+c.What+": "+cutText(c.Error, 300))
		}
	}
	add("Took", seconds(s.summary.Duration))
	if worst := s.byHarm(); len(worst) > 0 && worst[0].head.Replay != "" && s.summary.Verdict != record.Pass {
		p.Replays = append(p.Replays, fact{"The worst spec again", worst[0].head.Replay, ""})
	}
	seen := map[string]bool{}
	for _, r := range s.runs {
		if r.Command != "" && !seen[r.Command] {
			seen[r.Command] = true
			p.Replays = append(p.Replays, fact{"The whole run again", r.Command, ""})
		}
	}
}

func (sp *spec) row() specRow {
	exposures, _, returned, judged := totals(sp.rounds)
	row := specRow{Word: verdictWord(sp.verdict), Name: sp.head.Name, ID: fmt.Sprintf("s%d", sp.number),
		Exposures: "–", Returned: "–", Window: "–"}
	if exposures > 0 {
		row.Exposures = thousands(exposures)
	}
	if judged {
		row.Returned = limitSeconds(returned)
	}
	var upper float64
	windowed := false
	kinds := map[string]bool{}
	for _, r := range sp.rounds {
		w, known := r.upper()
		upper, windowed = max(upper, w), windowed || known
		for _, name := range r.faultNames() {
			kinds[name] = true
		}
	}
	if windowed {
		row.Window = seconds(upper)
	}
	switch n := len(sp.cycles()); {
	case n > 0:
		row.Fault = fmt.Sprintf("%s in %s", count(len(kinds), "kind"), count(n, "cycle"))
	case sp.worst != nil && len(kinds) == 0:
		row.Fault = sp.worst.faultText()
	default:
		for _, r := range sp.rounds {
			row.Fault = strings.Join(r.faultNames(), "; ")
		}
	}
	if sp.verdict != record.Pass {
		row.Out = cutText(sp.reason(), 300)
	}
	return row
}

// environment is taken from the first run of the record; a later one shows by
// its command.
func (p *page) environment(s *story) {
	if len(s.runs) == 0 {
		return
	}
	r := s.runs[0]
	hash := r.TargetHash
	if len(hash) > 12 {
		hash = hash[:12]
	}
	for _, f := range []fact{
		{"Run", r.Name, ""}, {"Started", s.start.UTC().Format("2006-01-02 15:04:05") + " UTC", ""}, {"Seed", fmt.Sprint(r.Seed), ""},
		{"Target file", strings.TrimSpace(r.TargetFile + " " + hash), ""}, {"Scaled", scaledWords(r.Scaled), ""}, {"Kernel", r.Environment.Kernel, ""}, {"System", r.Environment.OS, ""},
		{"Go", r.Environment.Go, ""}, {"CPUs, load at start", fmt.Sprintf("%d, %.2f", r.Environment.CPUs, r.Environment.Load1), ""},
		{"iptables", r.Environment.Iptables, ""}, {"User", r.Environment.User, ""}, {"Commit", r.Environment.Commit, ""},
	} {
		if f.Value != "" {
			p.Setup = append(p.Setup, f)
		}
	}
	t := r.Settings
	keepalive := "none"
	if t.KeepaliveIdle > 0 || t.KeepaliveCount > 0 {
		keepalive = fmt.Sprintf("after %s, each %s, %d times", seconds(t.KeepaliveIdle), seconds(t.KeepaliveInterval), t.KeepaliveCount)
	}
	heartbeat := "none"
	if t.HeartbeatInterval > 0 || t.HeartbeatDeadline > 0 {
		heartbeat = fmt.Sprintf("each %s, dead after %s", seconds(t.HeartbeatInterval), settingSeconds(t.HeartbeatDeadline))
	}
	p.Settings = []fact{
		{"TCP keepalive", keepalive, ""}, {"TCP_USER_TIMEOUT", settingSeconds(t.UserTimeout), ""}, {"Heartbeat", heartbeat, ""},
		{"Half-close bound", settingSeconds(t.HalfClose), ""}, {"Handshake deadline", settingSeconds(t.Handshake), ""},
		{"Flush deadline", settingSeconds(t.Flush), ""}, {"Dial timeout", settingSeconds(t.Dial), ""},
		{"Backoff cap, jitter", fmt.Sprintf("%s, %.0f %%", settingSeconds(t.BackoffCap), t.BackoffJitter*100), ""},
	}
}

// hidden says what a reader must not conclude from the page.
func (p *page) hidden(s *story) {
	p.Hidden = []string{
		"UDP: only TCP connections are judged.",
		"Kernel memory: sockets are counted, what the kernel holds for each is not.",
		"Stacks of programs that are not written in Go: their descriptors and sockets are judged, their threads only counted.",
		"Trends of memory: RssAnon is shown, and judged coarsely within one spec; a slow growth over many cycles is not judged in this version.",
		"Leaks on a path that no spec of this run went, and leaks that begin after it.",
	}
	slow := "Leaks rarer than this run could see"
	if len(p.Bounds) > 0 {
		slow += ": see the bounds at the top; a rarer one may be there."
	} else {
		slow += ": no bound is stated, for that needs a run with exposures and without a leak."
	}
	p.Hidden = append(p.Hidden, slow)
	stacks := false
	for _, sp := range s.specs {
		for _, r := range sp.rounds {
			for _, snap := range r.snapshots {
				stacks = stacks || goroutines(snap.it.Sample) > 0
			}
		}
	}
	if !stacks && len(s.specs) > 0 {
		p.Hidden = append(p.Hidden, "Goroutines: no snapshot of this run has any, so none were judged (the target offers no pprof, or no snapshot was taken).")
	}
}
