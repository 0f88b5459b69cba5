package tunnel

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every test that docs/soundness.md names exists, and no defect has lost its row, or
// the row its test.
func TestSoundnessPage(t *testing.T) {
	page, err := os.ReadFile("../docs/soundness.md")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, pattern := range []string{"*_test.go", "*/*_test.go", "*/*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(text)
		}
	}
	named := regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(string(page), -1)
	for _, name := range named {
		if !strings.Contains(code.String(), "\nfunc "+name[1]+"(t *testing.T)") {
			t.Errorf("docs/soundness.md names %s, which does not exist", name[1])
		}
	}
	for i := 1; i <= 35; i++ {
		_, row, found := strings.Cut(string(page), fmt.Sprintf("\n| D%d |", i))
		row, _, _ = strings.Cut(row, "\n")
		if !found || !strings.Contains(row, "`Test") {
			t.Errorf("docs/soundness.md has no row D%d that names a test", i)
		}
	}
}
