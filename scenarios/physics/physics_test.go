package physics

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness"
)

func TestMain(m *testing.M) {
	if address := os.Getenv(peerEnv); address != "" {
		if err := peer(address, os.Getenv(deafEnv) != ""); err != nil {
			fmt.Fprintln(os.Stderr, "peer:", err)
			os.Exit(1)
		}
		return
	}
	harness.Main(m)
}

func TestPhysics(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes: make physics")
	}
	ginkgo.RunSpecs(t, "physics", ginkgo.Label("physics"))
}

// measurement is one line of the table. Seconds; Upper -1: never.
type measurement struct {
	Row      string  `json:"row"`
	Case     string  `json:"case"`
	Formula  string  `json:"formula"`
	Lower    float64 `json:"lower"`
	Upper    float64 `json:"upper"`
	Measured float64 `json:"measured"` // of those that live: for how long they were watched
	Ratio    float64 `json:"ratio"`    // measured / upper; 0 where there is no upper
	Lives    bool    `json:"lives,omitempty"`
	OK       bool    `json:"ok"`
	Starved  float64 `json:"starved"` // the longest wait of a ready thread
	// Inconclusive: it was late by no more than this machine stood still.
	Inconclusive bool `json:"inconclusive,omitempty"`
	Order        int  `json:"order"`
}

// results is reports/physics/latest.json.
type results struct {
	Kernel string        `json:"kernel"`
	CPUs   int           `json:"cpus"`
	OK     bool          `json:"ok"`
	Rows   []measurement `json:"rows"`
}

// entry is the report entry by which a spec hands on what it measured.
const entry = "measurement"

var _ = ginkgo.ReportAfterSuite("physics table", func(report types.Report) {
	all := results{CPUs: runtime.NumCPU(), OK: report.SuiteSucceeded}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		all.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	for _, spec := range report.SpecReports {
		found := false
		for _, e := range spec.ReportEntries {
			m, ok := e.GetRawValue().(measurement)
			if !ok { // another process's
				ok = json.Unmarshal([]byte(e.Value.AsJSON), &m) == nil
			}
			if e.Name != entry || !ok {
				continue
			}
			found = true
			all.OK = all.OK && m.OK
			all.Rows = append(all.Rows, m)
		}
		if !found && spec.State == types.SpecStatePassed && spec.LeafNodeType == types.NodeTypeIt {
			ginkgo.Fail("no measurement came of " + spec.FullText())
		}
	}
	if len(all.Rows) == 0 {
		return
	}
	slices.SortStableFunc(all.Rows, func(a, b measurement) int { return place(a) - place(b) })
	if err := write(all); err != nil {
		ginkgo.Fail(err.Error())
	}
})

// rows is the order of the table.
var rows = []string{"A", "B", "C", "C'", "D", "E", "F", "G", "H", "I", "J", "K", "read", "residue"}

func place(m measurement) int { return 1000*slices.Index(rows, m.Row) + m.Order }

func table(r results) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "row\tcase\tlower\tupper\tmeasured\tratio\t\tformula")
	for _, m := range r.Rows {
		upper, measured, ratio, mark := "never", fmt.Sprintf("%.3f", m.Measured), "-", ""
		if m.Upper >= 0 {
			upper = fmt.Sprintf("%.3f", m.Upper)
		}
		if m.Lives {
			measured = fmt.Sprintf("lives at %.1f", m.Measured)
		} else if m.Upper > 0 {
			ratio = fmt.Sprintf("%.2f", m.Ratio)
		}
		switch {
		case m.Inconclusive:
			mark = "STARVED"
		case !m.OK:
			mark = "OUTSIDE"
		}
		fmt.Fprintf(w, "%s\t%s\t%.3f\t%s\t%s\t%s\t%s\t%s\n", m.Row, m.Case, m.Lower, upper, measured, ratio, mark, m.Formula)
	}
	_ = w.Flush() // a strings.Builder takes everything
	return fmt.Sprintf("Linux %s, %d CPUs; seconds from the fault; upper without S\n\n%s", r.Kernel, r.CPUs, b.String())
}

// write stores the table, for programs and for people.
func write(r results) error {
	root, err := harness.ModuleRoot()
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write physics table: %w", err)
	}
	dir := filepath.Join(root, "reports", "physics")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write physics table: %w", err)
	}
	for name, text := range map[string][]byte{"latest.json": append(text, '\n'), "latest.txt": []byte(table(r))} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(file+".new", text, 0o644), os.Rename(file+".new", file)); err != nil {
			return fmt.Errorf("write physics table: %w", err)
		}
	}
	return nil
}
