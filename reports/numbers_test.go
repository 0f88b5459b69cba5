package reports

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/record"
)

// shown is a number as a page shows it, with its unit.
var shown = regexp.MustCompile(`(\d+) h (\d+) min|(\d+) min (\d+) s|(\d+(?:\x{202f}\d{3})*(?:\.\d+)?)(?:[ \x{a0}](ms|min|MiB|KiB|%|s\b))?`)

// readNumber gives the value of a shown number, and how far rounding may have moved it.
func readNumber(m []string) (value, half float64) {
	atoi := func(s string) float64 { v, _ := strconv.ParseFloat(s, 64); return v }
	switch {
	case m[1] != "":
		return atoi(m[1])*3600 + atoi(m[2])*60, 60 // cut, not rounded
	case m[3] != "":
		return atoi(m[3])*60 + atoi(m[4]), 1
	}
	digits := strings.ReplaceAll(m[5], "\u202f", "")
	value, half = atoi(digits), 0.5
	if _, decimals, ok := strings.Cut(digits, "."); ok {
		half = 0.5 * math.Pow10(-len(decimals))
	} else if m[6] == "" {
		half = 0 // a count is exact
	}
	unit := map[string]float64{"ms": 1e-3, "min": 60, "MiB": 1 << 20, "KiB": 1 << 10, "%": 0.01, "s": 1, "": 1}[m[6]]
	return value * unit, half * unit
}

// truth is every number that a page may show of a record: what is in the record, and
// what is derived from it in the few ways that derive lists.
type truth struct {
	values            []float64
	exposures, faults float64 // of all of the record
}

func (r *truth) add(v ...float64) { r.values = append(r.values, v...) }

// has tells whether a number that was shown is one of the record's, rounded.
func (r *truth) has(value, half float64) bool {
	i, _ := slices.BinarySearch(r.values, value-half-1e-9)
	return i < len(r.values) && r.values[i] <= value+half+1e-9
}

// take adds each number of a JSON value, those within its strings too.
func (r *truth) take(v any) {
	switch v := v.(type) {
	case float64:
		r.add(math.Abs(v))
	case string:
		for _, m := range shown.FindAllStringSubmatch(v, -1) {
			value, _ := readNumber(m)
			r.add(value)
		}
		for _, digits := range regexp.MustCompile(`\d+`).FindAllString(v, -1) {
			n, _ := strconv.ParseFloat(digits, 64)
			r.add(n)
		}
	case []any:
		for _, x := range v {
			r.take(x)
		}
	case map[string]any:
		for key, x := range v {
			if key == "at" || key == "sample" || key == "point" {
				continue // derive says what is read of them: their every number would allow all small ones
			}
			r.take(key)
			r.take(x)
		}
	}
}

// truthOf reads a record on its own, without the code that draws it. Of one that is cut
// off it has the lines before the cut, and the number of the line that is not whole.
func truthOf(t *testing.T, dir string) *truth {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, record.FileName))
	if err != nil {
		t.Fatal(err)
	}
	r := &truth{}
	whole, broken := strings.Split(string(data), "\n"), ""
	if last := len(whole) - 1; whole[last] != "" {
		broken = whole[last]
		r.add(float64(len(whole)))
		whole = whole[:last]
	}
	for _, line := range whole {
		if line == "" {
			continue // behind the last end of a line
		}
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		r.take(v)
	}
	events, err := record.Read(dir)
	if errors.Is(err, record.ErrCut) != (broken != "") || err != nil && broken == "" {
		t.Fatalf("read the record, which ends in %.40q: %v", broken, err)
	}
	r.derive(events)
	slices.Sort(r.values)
	return r
}

// derive adds what a page may compute: the time of the start, times after the fault, what
// a snapshot holds of each thing, the greatest and the last of a curve, differences to the
// first baseline, sums, the time from the first event to the last, verdicts counted, and the bound of n exposures.
func (r *truth) derive(events []record.Event) {
	type round struct {
		spec  string
		cycle int
	}
	faultAt, specs, cycles := map[round]time.Time{}, map[record.Verdict]float64{}, map[record.Verdict]float64{}
	sums := map[string]map[string]float64{"exposures": {}, "faults": {}}
	begun, worst, fault := 0.0, map[string]record.Verdict{}, map[round]string{}
	cuts, meant := map[string]string{}, map[string]bool{} // what each spec has hit; all events
	base := map[string]float64{}
	curves := map[string]float64{} // the last value of each, by round, process and what it counts
	highest := map[string]float64{}
	curve := func(of round, role, what string, v float64) {
		key := fmt.Sprint(of, role, what)
		curves[key], highest[key] = v, max(highest[key], v)
	}
	if len(events) > 0 {
		r.take(events[0].At.UTC().Format("2006-01-02 15:04"))
	}
	for _, e := range events {
		of := round{e.Spec, e.Cycle}
		switch {
		case e.Begin != nil:
			begun++
		case e.Fault != nil && e.Fault.Phase == "injected":
			if faultAt[of].IsZero() {
				faultAt[of] = e.At
			}
			fault[of] = e.Fault.Name + e.Fault.Place
			sums["faults"][""]++
			sums["faults"][fault[of]]++
		case e.Point != nil:
			p := e.Point
			curve(of, p.Role, "fds", float64(p.FDs))
			curve(of, p.Role, "left", float64(p.Survivors))
			curve(of, p.Role, "RssAnon", float64(p.RssAnon))
			for state, n := range p.Sockets {
				curve(of, p.Role, state, float64(n))
			}
			for state, n := range p.Kernel {
				curve(of, p.Role, "kernel "+state, float64(n))
			}
		case e.Snapshot != nil:
			s := e.Snapshot.Sample
			r.add(float64(s.Memory.RssAnon), float64(s.PID))
			curve(of, s.Role, "RssAnon", float64(s.Memory.RssAnon))
			counts := map[string]float64{"fds": float64(len(s.FDs)), "sockets": float64(len(s.Sockets)), "goroutines": float64(goroutines(s))}
			for _, x := range s.Sockets {
				counts[x.State]++
			}
			for _, x := range s.Kernel {
				counts["kernel "+x.State]++
			}
			for what, n := range counts {
				r.add(n)
				curve(of, s.Role, what, n)
				key := e.Spec + s.Role + what
				if first, ok := base[key]; ok && e.Snapshot.Label == record.Settled {
					r.add(math.Abs(n - first))
				} else if !ok && e.Snapshot.Label == record.Baseline {
					base[key] = n
				}
			}
		case e.Cut != nil:
			cuts[e.Spec], meant[e.Cut.Next] = e.Cut.Event, true
		case e.Verdict != nil:
			v := e.Verdict
			for _, key := range []string{"", e.Spec, fault[of]} {
				sums["exposures"][key] += float64(v.Exposures)
			}
			r.faults += float64(v.FaultEvents)
			if e.Cycle > 0 {
				cycles[v.Verdict]++
			}
			if old, ok := worst[e.Spec]; !ok || worse(v.Verdict, old) {
				worst[e.Spec] = v.Verdict
			}
		}
	}
	for _, e := range events {
		if e.Point != nil {
			continue
		}
		// What came before the fault is told with a minus.
		if start := faultAt[round{e.Spec, e.Cycle}]; !start.IsZero() {
			r.add(math.Abs(e.At.Sub(start).Seconds()))
		}
	}
	for key := range curves {
		r.add(curves[key], highest[key])
	}
	for _, v := range worst {
		specs[v]++
	}
	all := 0.0
	for _, n := range cycles {
		r.add(n)
		all += n
	}
	for _, n := range specs {
		r.add(n)
	}
	struck := map[string]bool{}
	for spec, event := range cuts {
		if worst[spec] != record.Inconclusive && meant[event] {
			struck[event] = true
		}
	}
	r.add(begun, all, float64(len(cuts)), float64(len(meant)), float64(len(struck)))
	for _, list := range sums {
		for _, n := range list {
			share := 1 - math.Pow(0.05, 1/n)
			r.add(n, math.Floor(1/share), share)
		}
	}
	r.exposures = sums["exposures"][""]
	if n := len(events); n > 0 {
		r.add(events[n-1].At.Sub(events[0].At).Seconds()) // of a run that does not say how long it took
	}
	r.add(0.95) // the confidence of every bound
	r.add(80)   // "needs 80 cycles", in what a report does not show
}

// invented are the numbers of a page's texts that the truth does not have, and how many
// were read.
func (r *truth) invented(texts []string) (list []string, read int) {
	for _, text := range texts {
		for _, m := range shown.FindAllStringSubmatch(text, -1) {
			read++
			if value, half := readNumber(m); !r.has(value, half) {
				list = append(list, fmt.Sprintf("%q in %.90q", m[0], text))
			}
		}
	}
	return list, read
}

// A number that a page shows and its record does not have is an invention.
func TestNumbersAreOfTheRecord(t *testing.T) {
	browser := chromium(t)
	files, known := map[string]string{}, map[string]*truth{}
	for name, b := range map[string]*recordBuilder{"pass": passRun(t), "leak": leakRun(t), "soak": soakRun(t, 30, 17), "interrupted": interruptedRun(t),
		"hostile": hostileRun(t), "sweep": sweepRun(t), "shrunk": shrunkRun(t), "survived": survivedRun(t)} {
		dir := b.write()
		mustWrite(t, dir)
		files[name], known[name] = filepath.Join(dir, PageName), truthOf(t, dir)
	}
	// The page of all runs has what their records have, and the folders' names.
	names := []string{"20261120-093000-scenarios", "20261121-093000-scenarios", "20261122-093000-soak"}
	dir := runsFolder(t, names...)
	mustIndex(t, dir, 0)
	all := &truth{}
	for _, name := range names {
		one := truthOf(t, filepath.Join(dir, name))
		all.add(one.values...)
		all.exposures, all.faults = all.exposures+one.exposures, all.faults+one.faults
		all.take(name)
		all.take(name[4:6] + " " + name[6:8] + " " + name[9:11] + " " + name[11:13]) // month, day, hour, minute
	}
	all.add(float64(len(names)), all.exposures, all.faults)
	slices.Sort(all.values)
	files["index"], known["index"] = filepath.Join(dir, PageName), all

	for name, file := range files {
		known[name].compare(t, browser, name, file)
	}
}

// compare looks at a page and holds its numbers against the truth, then plants one that
// the truth does not have.
func (r *truth) compare(t *testing.T, browser context.Context, name, file string) {
	t.Helper()
	list, seen := r.invented(look(t, browser, modes[0], file).Texts)
	for _, number := range list {
		t.Errorf("%s: the page shows %s, which is not in the record", name, number)
	}
	// The comparison must be able to fail: most numbers are not in the record, and one
	// that is planted on the page is found.
	free := 0
	for n := range 1000 {
		if !r.has(float64(n), 0) {
			free++
		}
	}
	page, planted := read(t, filepath.Dir(file), filepath.Base(file)), 0
	for _, tile := range []string{"<dd><b>", "</h2>", "<td class=\"prose\">"} {
		before, after, ok := strings.Cut(page, tile)
		if !ok {
			continue
		}
		text := tile + "917253 of "
		if tile == "</h2>" {
			text = " 917253" + tile
		}
		other := filepath.Join(filepath.Dir(file), "planted.html")
		if err := os.WriteFile(other, []byte(before+text+after), 0o644); err != nil {
			t.Fatal(err)
		}
		list, _ := r.invented(look(t, browser, modes[0], other).Texts)
		if planted++; len(list) != 1 || !strings.Contains(list[0], "917253") {
			t.Errorf("%s: a number planted at %q: found are %q", name, tile, list)
		}
	}
	if t.Logf("%s: %d numbers compared; of the counts below 1000, %d would be refused; %d planted", name, seen, free, planted); seen < 30 || free < 850 || planted < 2 {
		t.Errorf("%s: %d numbers read, %d of 1000 refused, %d planted: this comparison says nothing", name, seen, free, planted)
	}
}

// Of a record that ends in the middle of a line, a page shows what the lines before have,
// and nothing else; it says that it is cut off, and where.
func TestNumbersOfACutRecord(t *testing.T) {
	browser := chromium(t)
	for _, c := range []struct {
		name string
		run  *recordBuilder
		at   string // the last line of this kind is cut in its middle
		line int    // or a line of this number
	}{
		{"a leak, cut in its verdict", leakRun(t), `"verdict":{"verdict":"LEAK"`, 0},
		{"a leak, cut in a snapshot", leakRun(t), `"label":"F"`, 0},
		{"a soak, cut in a point", soakRun(t, 30, 17), `"point":{`, 0},
		{"a pass, cut in its last line", passRun(t), `"finish":{`, 0},
		{"a leak, cut in its second line", leakRun(t), "", 2},
	} {
		dir := c.run.write()
		mustWrite(t, dir)
		all := look(t, browser, modes[0], filepath.Join(dir, PageName)).Texts
		line := cutRecord(t, dir, c.at, c.line)
		_, page := mustWrite(t, dir)
		known := truthOf(t, dir)
		if want := fmt.Sprintf("cut off in its last line, number %s", thousands(line)); !strings.Contains(page, want) {
			t.Errorf("%s: the page does not say %q", c.name, want)
		}
		// What the lines behind the cut have is no truth any more.
		if list, _ := known.invented(all); len(list) == 0 {
			t.Errorf("%s: the page of the whole record would pass for that of its beginning", c.name)
		}
		known.compare(t, browser, c.name, filepath.Join(dir, PageName))
	}
}

// cutRecord ends the record of a run in the middle of the last line that has the text at,
// or of the line with the number n, and gives that line's number.
func cutRecord(t *testing.T, dir, at string, n int) int {
	t.Helper()
	lines := strings.SplitAfter(read(t, dir, record.FileName), "\n")
	for i, line := range lines {
		if at != "" && strings.Contains(line, at) {
			n = i + 1
		}
	}
	if n == 0 {
		t.Fatalf("no line of the record has %q", at)
	}
	half := lines[n-1][:len(lines[n-1])/2]
	if err := os.WriteFile(filepath.Join(dir, record.FileName), []byte(strings.Join(lines[:n-1], "")+half), 0o644); err != nil {
		t.Fatal(err)
	}
	return n
}
