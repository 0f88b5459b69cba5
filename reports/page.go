package reports

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed" // the page, its style and its script
	"encoding/base64"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/halfopen/halfopen/harness/record"
)

var (
	//go:embed page.html.tmpl
	pageText string
	//go:embed section.html.tmpl
	sectionText string
	//go:embed index.html.tmpl
	indexText string
	//go:embed page.css
	styleText string
	//go:embed page.js
	scriptText string
)

// pageTemplate is parsed once; html/template escapes each value for its place.
var pageTemplate = template.Must(template.Must(template.Must(template.New("page").Funcs(template.FuncMap{
	"h":     heading,
	"add":   func(a, b int) int { return a + b },
	"words": func(command string) []string { return strings.Split(command, " ") },
}).Parse(sectionText)).Parse(pageText)).Parse(indexText))

// heading is a heading of a level, for sections that lie at different depths.
func heading(level int, text string) template.HTML {
	return template.HTML(fmt.Sprintf("<h%d>%s</h%[1]d>", level, template.HTMLEscapeString(text))) //nolint:gosec // escaped
}

// chrome is what every page of ours has around its content: its own style and
// script, and the policy that allows just these two, by hash. The script adds
// comfort only.
type chrome struct {
	Style  template.CSS
	Script template.JS
	Policy string
	Title  string
	// Generator marks a page that may be replaced, "" for none.
	Generator template.HTML
}

func newChrome(title string) chrome {
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return chrome{
		Style: template.CSS(styleText), Script: template.JS(scriptText), //nolint:gosec // our own files
		Policy: "default-src 'none'; style-src " + hash(styleText) + "; script-src " + hash(scriptText) + "; base-uri 'none'; form-action 'none'",
		Title:  title,
	}
}

// page is everything that the template shows, from top to bottom.
type page struct {
	chrome

	Word    word
	Kicker  string // target, planted leak, when
	Reason  string
	Rows    []fact   // where, fault, why, freed of the worst
	Notes   []string // cut off, interrupted
	Replays []fact
	Tiles   []tile
	Bounds  []string
	Over    string // what the statements are over: cycles, or specs

	FocusTitle, FocusNote string
	Focus                 *section        // the round that decides, or the closest call
	Statements            []statementView // of the run over all its cycles
	Shrunk                []shrunkView
	Sweep                 *sweepView
	Soaks                 []section
	Matrix                *matrixView
	Skipped               []fact
	Evidence              []evidenceView
	Specs                 []specRow
	Sections              []section
	Windows               []windowView
	WindowsOf             string
	Setup, Settings       []fact
	Hidden                []string // what the report does not show
}

// fact is a name with its value; Link is an anchor on the page.
type fact struct{ Name, Value, Link string }

// statementView is what the run says of one resource over all its cycles.
type statementView struct {
	Word        word
	Text, Where string
}

// tile is a figure that the verdict rests on, with what it means.
type tile struct{ Name, Value, Sub string }

type specRow struct {
	Word                                              word
	Name, Fault, Exposures, Returned, Window, ID, Out string
}

// pageHTML draws the story as one file that loads nothing.
func pageHTML(s *story) ([]byte, error) {
	p := page{
		chrome: newChrome(fmt.Sprintf("%s: %s", s.summary.Verdict, cutText(cmp.Or(s.summary.Target, s.summary.Reason), 80))),
		Word:   verdictWord(s.summary.Verdict), Reason: s.summary.Reason,
	}
	focus := s.focus()
	for _, sp := range s.specs {
		sp.anchor = fmt.Sprintf("s%d", sp.number)
		if sp == focus.spec && len(sp.cycles()) == 0 {
			sp.anchor = "focus"
		}
	}
	p.banner(s, focus)
	p.replays(s, focus)
	p.tiles(s)
	p.drawFocus(focus)
	for _, sp := range s.byHarm() {
		p.Specs = append(p.Specs, sp.row())
		p.Evidence = append(p.Evidence, sp.evidence()...)
		if sp.verdict == record.Skipped {
			p.Skipped = append(p.Skipped, fact{sp.head.Name, sp.reason(), ""})
		}
		switch {
		case len(sp.cycles()) > 0:
			p.Soaks = append(p.Soaks, sp.section(focus.round))
		case sp != focus.spec:
			p.Sections = append(p.Sections, sp.section(nil))
		}
	}
	for _, x := range s.summary.Statements {
		v := statementView{Word: verdictWord(known(x.Verdict)), Text: x.Text, Where: x.Where}
		if x.Verdict == "" {
			v.Word = word{"–", "not stated", "idle"}
		}
		p.Statements = append(p.Statements, v)
	}
	p.Shrunk = s.shrunkViews()
	p.Sweep = s.sweep()
	p.Matrix = s.matrix()
	p.environment(s)
	p.hidden(s)
	var out bytes.Buffer
	if err := pageTemplate.ExecuteTemplate(&out, "page", p); err != nil {
		return nil, fmt.Errorf("draw page: %w", err)
	}
	return out.Bytes(), nil
}

// banner is the verdict, the story of the round that decides it, and what is odd
// about the record.
func (p *page) banner(s *story, focus focus) {
	var kicker []string
	for _, part := range []string{prefixed("target ", s.summary.Target), prefixed("planted leak: ", s.summary.Mutant)} {
		if part != "" {
			kicker = append(kicker, part)
		}
	}
	if !s.start.IsZero() {
		kicker = append(kicker, s.start.UTC().Format("2006-01-02 15:04")+" UTC")
	}
	p.Kicker = strings.Join(kicker, " · ")
	if focus.round != nil {
		j := focus.round.judgement()
		rows := []fact{{"where", j.Where, ""}, {"fault", cmp.Or(j.Fault, focus.round.faultText()), ""}, {"why", j.Why, ""}, {"freed", focus.round.freed(), ""}}
		if s.summary.Verdict == record.Pass {
			rows = []fact{{"closest", focus.closest(), ""}, {"freed", focus.round.freed(), ""}}
		}
		for _, f := range append(rows, fact{"in", focus.name(), "focus"}) {
			if f.Value != "" {
				p.Rows = append(p.Rows, f)
			}
		}
	}
	if s.cut != nil {
		p.Notes = append(p.Notes, s.cut.String())
	}
	ended := len(s.finish) > 0
	for _, f := range s.finish {
		if f.Reason != "done" {
			p.Notes = append(p.Notes, fmt.Sprintf("The run ended early, after %s: %s", seconds(f.Duration), strings.TrimSuffix(f.Reason+", "+f.Detail, ", ")))
		}
	}
	if !ended && s.cut == nil {
		p.Notes = append(p.Notes, "The record has no end: the run was killed, or still goes on.")
	}
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// replays are the commands that show it again, the shortest first.
func (p *page) replays(s *story, focus focus) {
	seen := map[string]bool{}
	add := func(name, command string) {
		if command != "" && !seen[command] {
			seen[command] = true
			p.Replays = append(p.Replays, fact{name, command, ""})
		}
	}
	if focus.spec != nil && s.summary.Verdict != record.Pass {
		add("This spec alone", focus.spec.head.Replay)
	}
	for _, r := range s.runs {
		add("The whole run", r.Command)
	}
	if focus.spec != nil {
		add("The closest call alone", focus.spec.head.Replay)
	}
}

// tiles say what the verdict rests on.
func (p *page) tiles(s *story) {
	add := func(name, value, sub string) { p.Tiles = append(p.Tiles, tile{name, value, sub}) }
	within := "in " + count(s.summary.FaultEvents, "fault")
	if slices.ContainsFunc(s.specs, (*spec).uncounted) {
		within += "; what is inconclusive does not count"
	}
	add("Went through a fault", count(s.summary.Exposures, "connection"), within)
	p.Over = "specs"
	if s.summary.Cycles > 0 {
		p.Over = "cycles"
	}
	for _, x := range s.summary.Statements {
		// Without cycles few resources have anything to state; those that have not are below.
		if x.Verdict != "" || s.summary.Cycles > 0 {
			p.Bounds = append(p.Bounds, x.Text)
		}
	}
	switch bounds := s.summary.Bounds; {
	case len(bounds) > 0 && bounds[0].Per == "exposure":
		add("Excluded", "a leak in "+shareWords(bounds[0]), fmt.Sprintf("or in more, at %.0f %%", bounds[0].Confidence*100))
	case s.summary.Verdict == record.Inconclusive:
		add("Excluded", "nothing", "no bound is stated: nothing was shown to be clean")
	default:
		add("Excluded", "nothing", "no bound is stated: only a clean run has one")
	}
	caught := 0
	for _, c := range s.checks { // one a suite
		if !c.OK {
			add("Self-check", "✗ MISSED", c.What+": "+cutText(c.Error, 300))
		} else if caught++; caught == 1 {
			add("Self-check", "✓ caught", c.What)
		}
	}
	if len(s.checks) == 0 {
		add("Self-check", "–", "not in the record")
	}
	specs := map[record.Verdict]int{}
	for _, sp := range s.specs {
		specs[sp.verdict]++
	}
	sub := "in " + seconds(s.summary.Duration)
	if s.summary.Cycles > 0 {
		sub = count(s.summary.Cycles, "soak cycle") + ", " + sub
	}
	add("Specs", tally(specs), sub)
}

// uncounted tells whether connections of the spec went through a fault that proves nothing.
func (sp *spec) uncounted() bool {
	return slices.ContainsFunc(sp.rounds, func(r *round) bool { return r.verdict == record.Inconclusive && len(r.faults) > 0 })
}

func (sp *spec) row() specRow {
	exposures, _ := totals(sp.rounds)
	row := specRow{Word: verdictWord(sp.verdict), Name: sp.head.Name, ID: sp.anchor,
		Exposures: "–", Returned: cleanAfter(sp.rounds), Window: "–"}
	if exposures > 0 {
		row.Exposures = thousands(exposures)
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
		row.Window = limitSeconds(upper)
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
