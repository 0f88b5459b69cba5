package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// table is reports/claims/latest.json.
type table struct {
	Kernel       string         `json:"kernel"`
	Go           string         `json:"go"`
	CPUs         int            `json:"cpus"`
	At           time.Time      `json:"at"`
	Took         float64        `json:"took_s"`
	Slow         bool           `json:"slow"`
	Answers      map[Answer]int `json:"answers"`
	Inconclusive int            `json:"inconclusive"`
	Claims       []Result       `json:"claims"`
}

func newTable(results []Result, slow bool, took time.Duration) table {
	t := table{Go: runtime.Version(), CPUs: runtime.NumCPU(), At: time.Now(), Took: took.Seconds(), Slow: slow, Answers: map[Answer]int{}, Claims: results}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		t.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	for _, r := range results {
		t.Answers[r.Answer]++
	}
	t.Inconclusive = t.Answers[Inconclusive]
	return t
}

// summary is the table in one line.
func (t table) summary() string {
	var parts []string
	for _, a := range []Answer{True, TrueIf, False, Inconclusive} {
		parts = append(parts, fmt.Sprintf("%d %s", t.Answers[a], a))
	}
	return fmt.Sprintf("%d claims: %s", len(t.Claims), strings.Join(parts, ", "))
}

// print prints the table for people at a terminal.
func (t table) print(out io.Writer) {
	for _, r := range t.Claims {
		fmt.Fprintf(out, "%-4s %s\n     %s\n", r.ID, words(r.Answer, r.When), r.Claim)
		for _, c := range r.Cases {
			fmt.Fprintf(out, "       %-3s %s\n", c.mark(), c.measured())
		}
		for _, w := range r.With {
			fmt.Fprintf(out, "       true with %s\n", w)
		}
	}
	fmt.Fprintf(out, "%s; took %.0f s\n", t.summary(), t.Took)
}

const docHead = `# The claims, measured

<!-- Made by make claims. Do not edit: the next run writes it anew. -->

halfopen started from a document that promised that a tunnel server cannot leak connections: TCP keepalive, and five
"safety layers". ` + "`make claims`" + ` tries each of its claims, every number and every "guaranteed", on small programs in the
shapes that it shows (` + "`scenarios/claims`" + `), as real processes on hosts of a lab, and writes this page and
` + "`reports/claims/latest.json`" + `. The document is about a tunnel whose connections come from clients behind NATs; the claims
stand below in its own words.

How to read it: each *case* is a circumstance in which the words should hold, measured, beside the range in which they
do. If all cases with the document's own settings hold, the claim is TRUE; if none does, FALSE; if it depends, TRUE IF, and when.
A case whose fault did not bite, or that was watched for too short a time, makes it INCONCLUSIVE. *True with* are other
settings that were measured to make it hold. Times are a fifteenth of the document's where a line says "unscaled";
` + "`SLOW=1 make claims`" + ` measures at full length, too.

Beside it: [physics.md](physics.md) has each time of TCP with its formula, and ` + "`make layers`" + ` (see [verdict.md](verdict.md))
the layers of halfopen's own tunnel, each alone against each fault.
`

// doc is the table for people, as Markdown.
func (t table) doc() string {
	var b strings.Builder
	b.WriteString(docHead)
	fmt.Fprintf(&b, "\nLinux %s, %s, %d CPUs; %s.\n", t.Kernel, t.Go, t.CPUs, t.summary())
	b.WriteString("\n| | the claim | answer | true with |\n| --- | --- | --- | --- |\n")
	for _, r := range t.Claims {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s | %s |\n", r.ID, strings.ToLower(r.ID), cell(r.Claim), cell(words(r.Answer, r.When)), cell(strings.Join(r.With, "; ")))
	}
	for _, r := range t.Claims {
		fmt.Fprintf(&b, "\n## %s\n\n> %s\n\n(%s.) Tried: %s.\n\n", r.ID, r.Claim, r.Where, r.Tried)
		b.WriteString("| case | setting | measured | holds from .. to | holds | witness |\n| --- | --- | --- | --- | --- | --- |\n")
		for _, c := range r.Cases {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", cell(c.Circumstance), cell(cmp.Or(c.Setting, "the document's")),
				cell(c.result()), cell(c.span()), c.mark(), cell(c.Witness))
		}
	}
	return b.String()
}

// cell is text that may stand in a table.
func cell(text string) string { return strings.ReplaceAll(text, "|", "\\|") }

func (t table) writeDoc(file string) error { return write(file, []byte(t.doc())) }

func (t table) writeJSON(file string) error {
	text, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return fmt.Errorf("write claims: %w", err)
	}
	return write(file, append(text, '\n'))
}

// write replaces a file, whole or not at all.
func write(file string, text []byte) error {
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = errors.Join(os.WriteFile(file+".new", text, 0o644), os.Rename(file+".new", file))
	}
	if err != nil {
		return fmt.Errorf("write claims: %w", err)
	}
	return nil
}
