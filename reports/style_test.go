package reports

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestTextContrast holds every colour of text against the grounds that it stands
// on, in both schemes: WCAG 2.2 level AA wants 4.5 to 1.
func TestTextContrast(t *testing.T) {
	light, dark, ok := strings.Cut(styleText, "@media screen and (prefers-color-scheme: dark)")
	if !ok {
		t.Fatal("no dark scheme in the style")
	}
	for name, css := range map[string]string{"light": light, "dark": dark} {
		colour := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6})`).FindAllStringSubmatch(css, -1) {
			colour[m[1]] = luminance(t, m[2])
		}
		grounds := map[string][]string{
			"bg":      {"fg", "dim", "link", "good", "bad", "late", "open", "idle", "blue", "teal", "orange", "violet", "pink", "brown", "green", "slate", "red"},
			"soft":    {"fg", "dim"},
			"good-bg": {"fg", "dim", "good", "link"}, "bad-bg": {"fg", "dim", "bad", "link"}, "open-bg": {"fg", "dim", "open", "late", "link"}, "idle-bg": {"fg", "dim", "link"},
		}
		for ground, texts := range grounds {
			for _, text := range texts {
				a, b := colour[ground], colour[text]
				if a == 0 || b == 0 {
					t.Fatalf("%s: no colour %s or %s", name, ground, text)
				}
				if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < 4.5 {
					t.Errorf("%s: %s on %s has contrast %.2f", name, text, ground, ratio)
				}
			}
		}
	}
}

// luminance is the relative luminance of WCAG 2.2.
func luminance(t *testing.T, hex string) float64 {
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	part := func(shift uint) float64 {
		c := float64(n>>shift&0xff) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*part(16) + 0.7152*part(8) + 0.0722*part(0)
}
