package harness

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// blackout stands for a secret.
const blackout = "[redacted]"

// secretName tells the names of flags and fields that hold a secret. A file that holds
// one is named by its path: that is none.
var secretName = regexp.MustCompile(`(?i)^-{0,2}[a-z0-9_.-]*(token|secret|password|passwd|api-?key|credential)s?$`)

// secretText finds secrets in free text by the name before them: "token=abc",
// "password: abc", "Authorization: Bearer abc".
var secretText = regexp.MustCompile(`(?i)\b((?:[a-z0-9_.-]*(?:token|secret|password|passwd|api-?key))["']?\s*[=:]\s*["']?|(?:proxy-)?authorization["']?\s*[:=]\s*["']?(?:basic |bearer )?)([^\s"',;&]+)`)

// redactor blacks secrets out. It learns them from command lines, so that they are
// found in any text after that. The zero value knows none.
type redactor struct {
	known []string
	count int // of what was blacked out
}

// argv is a command line without its secrets: the values of flags that are named for
// one. What lies in such a value, as far as the first "=" or ",", is a secret too:
// "--token=abc=example.org,7001".
func (r *redactor) argv(argv []string) []string {
	out := slices.Clone(argv)
	for i, word := range argv {
		name, value, ok := strings.Cut(word, "=")
		switch {
		case strings.HasPrefix(word, "-") && ok && secretName.MatchString(name):
			r.learn(value)
			out[i] = name + "=" + blackout
		case i > 0 && strings.HasPrefix(argv[i-1], "-") && secretName.MatchString(argv[i-1]) && !strings.HasPrefix(word, "-"):
			r.learn(word)
			out[i] = blackout
		default:
			continue
		}
		r.count++
	}
	return out
}

// learn remembers a secret. One of less than six characters would be found in words
// that are none.
func (r *redactor) learn(value string) {
	for _, s := range []string{value, value[:strings.IndexAny(value+"=", "=,")]} {
		if len(s) >= 6 && !slices.Contains(r.known, s) {
			r.known = append(r.known, s)
		}
	}
	slices.SortFunc(r.known, func(a, b string) int { return len(b) - len(a) }) // the whole before its part
}

// text is a text without secrets.
func (r *redactor) text(s string) string {
	for _, secret := range r.known {
		if n := strings.Count(s, secret); n > 0 {
			s = strings.ReplaceAll(s, secret, blackout)
			r.count += n
		}
	}
	return secretText.ReplaceAllStringFunc(s, func(found string) string {
		m := secretText.FindStringSubmatch(found)
		if m[2] == blackout {
			return found
		}
		r.count++
		return m[1] + blackout
	})
}

func (r *redactor) lines(all []string) []string {
	out := make([]string, len(all))
	for i, line := range all {
		out[i] = r.text(line)
	}
	return out
}

// files blacks out, in place, what the files of a folder have. A folder that is not
// there has none.
func (r *redactor) files(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || dir == "" {
		return nil
	}
	errs := []error{err}
	for _, entry := range entries {
		name := filepath.Join(dir, entry.Name())
		text, err := os.ReadFile(name)
		if err == nil {
			if clean := r.text(string(text)); clean != string(text) {
				err = os.WriteFile(name, []byte(clean), 0o644)
			}
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
