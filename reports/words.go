package reports

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/halfopen/halfopen/harness/record"
)

// word is a verdict as a reader sees it: a sign and a word, and a class for the
// colour, which never says more than the two.
type word struct{ Sign, Text, Class string }

func verdictWord(v record.Verdict) word {
	switch v {
	case record.Pass:
		return word{"✓", string(v), "good"}
	case record.Leak, record.Dead:
		return word{"✗", string(v), "bad"}
	case record.Late:
		return word{"✗", string(v), "late"}
	case record.Skipped:
		return word{"–", string(v), "idle"}
	case "":
		return word{"–", "NOT JUDGED", "idle"}
	}
	return word{"?", string(record.Inconclusive), "open"}
}

// seconds gives a time as people say it: "0.31 s", "5.3 s", "12 min 30 s".
func seconds(s float64) string {
	switch {
	case math.IsNaN(s) || math.IsInf(s, 0):
		return "?"
	case s < 0:
		return "−" + seconds(-s)
	case s > 0 && s < 0.1:
		return fmt.Sprintf("%.0f ms", s*1000)
	case s > 0 && s < 1:
		return trimZeros(fmt.Sprintf("%.2f", s)) + " s"
	case s < 100:
		return trimZeros(fmt.Sprintf("%.1f", s)) + " s"
	case s < 600:
		return fmt.Sprintf("%.0f s", s)
	case s < 7200:
		return fmt.Sprintf("%d min %02d s", int(s)/60, int(s)%60)
	}
	return fmt.Sprintf("%d h %02d min", int(s)/3600, int(s)%3600/60)
}

// limitSeconds is a time of which a negative one means "never".
func limitSeconds(s float64) string {
	if s < 0 {
		return "never"
	}
	return seconds(s)
}

// settingSeconds is a time of which 0 means that there is no such detector.
func settingSeconds(s float64) string {
	if s == 0 {
		return "none"
	}
	return seconds(s)
}

// quantity is a count, or bytes in MiB.
func quantity(v float64, unit string) string {
	if unit == "bytes" && v == 0 {
		return "0"
	}
	if unit == "bytes" {
		return fmt.Sprintf("%.2f MiB", v/(1<<20))
	}
	text := trimZeros(strconv.FormatFloat(v, 'f', 2, 64))
	if unit != "" {
		text += " " + unit
	}
	return strings.Replace(text, "-", "−", 1)
}

// signed is a quantity with its sign, and a plain 0.
func signed(v float64, unit string) string {
	if v > 0 {
		return "+" + quantity(v, unit)
	}
	return quantity(v, unit)
}

// size is a length in bytes, rounded.
func size(bytes int64) string {
	switch {
	case bytes < 10<<10:
		return fmt.Sprintf("%d\u00a0B", bytes)
	case bytes < 1<<20:
		return fmt.Sprintf("%.0f\u00a0KiB", float64(bytes)/(1<<10))
	}
	return fmt.Sprintf("%.1f\u00a0MiB", float64(bytes)/(1<<20))
}

func trimZeros(s string) string {
	if strings.Contains(s, ".") {
		s = strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
	}
	if s == "-0" {
		return "0"
	}
	return s
}

// count is "1 fault", "3 faults".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return thousands(n) + " " + noun + "s"
}

// thousands groups the digits of a large number with a thin space: 12 000.
func thousands(n int) string {
	s := strconv.Itoa(n)
	if n < 10000 {
		return s
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// shareWords is the bound of counts alone: "1 of 200 exposures". From 1 in 5 on the plain
// share is said: "1 in 1" would sound like a result.
func shareWords(l record.Limit) string {
	if l.Value > 0.2 {
		return fmt.Sprintf("%.0f %% of the %ss", l.Value*100, l.Per)
	}
	return fmt.Sprintf("1 of %s %ss", thousands(int(1/l.Value)), l.Per)
}

// tally says how many had which verdict, the worst first.
func tally(n map[record.Verdict]int) string {
	var parts []string
	order := slices.SortedFunc(maps.Keys(n), func(a, b record.Verdict) int {
		if worse(a, b) {
			return -1
		}
		return 1
	})
	for _, v := range order {
		w := verdictWord(v)
		parts = append(parts, fmt.Sprintf("%s\u00a0%d\u00a0%s", w.Sign, n[v], w.Text))
	}
	return cmp.Or(strings.Join(parts, " · "), "none")
}

// pairs prints a map in the order of its keys: "role=session peer=10.0.1.2".
func pairs(m map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k+"="+m[k])
	}
	return strings.Join(parts, " ")
}

// cutText ends a text that is too long for a page; all of it is in the record.
func cutText(s string, limit int) string {
	r := []rune(s)
	if len(r) <= limit {
		return s
	}
	return string(r[:limit]) + " … (more in run.jsonl)"
}

// scaledWords lists the sysctls that the target was run with, "" for none.
func scaledWords(kernel map[string]string) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(kernel)) {
		parts = append(parts, key+"="+kernel[key])
	}
	return strings.Join(parts, ", ")
}
