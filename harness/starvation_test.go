package harness

import (
	"errors"
	"testing"
)

// What fails on a machine that stood still says so and for how long; what fails on a calm
// one says what failed and no more.
func TestExcuse(t *testing.T) {
	failed := errors.New("http visitor: 502 Bad Gateway\ntcp visitor: connection reset by peer")
	for _, c := range []struct {
		name   string
		err    error
		waited float64
		want   string
	}{
		{"starved", failed, 3.21, "the machine itself stood still for up to 3.21 s: " + failed.Error()},
		{"calm", failed, 0.5, failed.Error()},
		{"starved, and nothing failed", nil, 3.21, ""},
	} {
		got := excuse(c.err, c.waited)
		if c.err == nil && got != nil || c.err != nil && (got.Error() != c.want || !errors.Is(got, failed)) {
			t.Errorf("%s: says %q, want %q", c.name, got, c.want)
		}
	}
}
