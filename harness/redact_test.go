package harness

import (
	"slices"
	"strings"
	"testing"
)

func TestRedactedCommandLine(t *testing.T) {
	var r redactor
	got := r.argv([]string{"tunnel", "server", "--token=secret-of-alpha=alpha.example,7001", "--password", "hunter22", "--token-file=/etc/tokens", "--key=/tmp/key.pem", "-v"})
	want := []string{"tunnel", "server", "--token=[redacted]", "--password", "[redacted]", "--token-file=/etc/tokens", "--key=/tmp/key.pem", "-v"}
	if !slices.Equal(got, want) || r.count != 2 {
		t.Errorf("got %q, %d blacked out", got, r.count)
	}
	if got := r.text(`msg="login refused" given=secret-of-alpha port=7001 user hunter22`); strings.Contains(got, "secret-of-alpha") || strings.Contains(got, "hunter22") || !strings.Contains(got, "port=7001") {
		t.Errorf("a secret of the command line is in %q", got)
	}
}

func TestRedactedText(t *testing.T) {
	for in, want := range map[string]string{
		`level=INFO token=abc123 peer=10.0.0.1:4`:   `level=INFO token=[redacted] peer=10.0.0.1:4`,
		`{"password":"abc","user":"x"}`:             `{"password":"[redacted]","user":"x"}`,
		"Authorization: Bearer eyJh.bGci":           "Authorization: Bearer [redacted]",
		`listening on 0.0.0.0:4443, 3 tokens known`: `listening on 0.0.0.0:4443, 3 tokens known`,
		"apikey=1 API-KEY: zz":                      "apikey=[redacted] API-KEY: [redacted]",
	} {
		var r redactor
		if got := r.text(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}
