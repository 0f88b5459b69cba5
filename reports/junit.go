package reports

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"strings"

	"github.com/halfopen/halfopen/harness/record"
)

// The form of JUnit XML that Jenkins, GitLab and GitHub read: the counts on each
// suite, one case a spec.
type (
	junitRun struct {
		XMLName xml.Name     `xml:"testsuites"`
		Name    string       `xml:"name,attr"`
		Time    string       `xml:"time,attr"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name      string      `xml:"name,attr"`
		Tests     int         `xml:"tests,attr"`
		Failures  int         `xml:"failures,attr"`
		Errors    int         `xml:"errors,attr"`
		Skipped   int         `xml:"skipped,attr"`
		Time      string      `xml:"time,attr"`
		Timestamp string      `xml:"timestamp,attr,omitempty"`
		Cases     []junitCase `xml:"testcase"`
		seconds   float64
	}
	junitCase struct {
		Class   string     `xml:"classname,attr"`
		Name    string     `xml:"name,attr"`
		Time    string     `xml:"time,attr"`
		Failure *junitWord `xml:"failure"`
		Error   *junitWord `xml:"error"`
		Skipped *junitWord `xml:"skipped"`
	}
	junitWord struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// junitXML is the story as JUnit XML. A run that is worse than all of its specs has a case
// of its own: its heap grew, its self-check failed, it was killed, or it has no spec at all.
// Without one it would be shown as a success.
func junitXML(s *story) ([]byte, error) {
	run := junitRun{Name: "halfopen", Time: fmt.Sprintf("%.3f", s.summary.Duration)}
	if len(s.runs) > 0 {
		run.Name = s.runs[0].Name
	}
	index := map[string]int{}
	suite := func(name string) *junitSuite {
		at, ok := index[name]
		if !ok {
			at = len(run.Suites)
			index[name] = at
			run.Suites = append(run.Suites, junitSuite{Name: name})
			if !s.start.IsZero() {
				run.Suites[at].Timestamp = s.start.UTC().Format("2006-01-02T15:04:05")
			}
		}
		return &run.Suites[at]
	}
	for _, sp := range s.specs {
		suite(cmp.Or(sp.head.Suite, run.Name)).add(sp.junit(), sp.seconds)
	}
	if worst := s.byHarm(); len(worst) == 0 || worse(s.summary.Verdict, worst[0].verdict) {
		suite(run.Name).add(newCase(run.Name, "the run", s.summary.Verdict, s.summary.Reason, s.summary.Reason), 0)
	}
	for i := range run.Suites {
		run.Suites[i].Time = fmt.Sprintf("%.3f", run.Suites[i].seconds)
	}
	var out bytes.Buffer
	out.WriteString(xml.Header)
	enc := xml.NewEncoder(&out)
	enc.Indent("", "  ")
	if err := enc.Encode(run); err != nil {
		return nil, fmt.Errorf("encode junit: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

func (su *junitSuite) add(c junitCase, seconds float64) {
	c.Time = fmt.Sprintf("%.3f", seconds)
	su.Tests++
	su.seconds += seconds
	switch {
	case c.Failure != nil:
		su.Failures++
	case c.Error != nil:
		su.Errors++
	case c.Skipped != nil:
		su.Skipped++
	}
	su.Cases = append(su.Cases, c)
}

func (sp *spec) junit() junitCase {
	return newCase(cmp.Or(sp.head.File, sp.head.Suite, "halfopen"), sp.head.Name, sp.verdict, sp.reason(), sp.junitText())
}

// newCase files a verdict as JUnit does: a failure is the target's, an error is of a test
// that could not tell.
func newCase(class, name string, v record.Verdict, reason, text string) junitCase {
	c := junitCase{Class: class, Name: name}
	word := &junitWord{Message: reason, Type: string(v), Text: text}
	switch v {
	case record.Pass:
	case record.Leak, record.Late, record.Dead:
		c.Failure = word
	case record.Skipped, "":
		c.Skipped = &junitWord{Message: word.Message}
	default:
		c.Error = word
	}
	return c
}

// junitText is what a reader of the build log wants to see under the message.
func (sp *spec) junitText() string {
	if sp.worst == nil {
		return ""
	}
	j := sp.worst.judgement()
	lines := []string{string(sp.verdict) + ": " + sp.reason()}
	for _, l := range [][2]string{{"where", j.Where}, {"fault", j.Fault}, {"why", j.Why}, {"replay", sp.head.Replay}} {
		if l[1] != "" {
			lines = append(lines, l[0]+": "+l[1])
		}
	}
	if sp.end != nil && sp.end.Failure != "" {
		lines = append(lines, "", sp.end.Failure)
	}
	return strings.Join(lines, "\n")
}
