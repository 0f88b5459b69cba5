package harness

import (
	"fmt"
	"io"
	"os"
)

// teller prints the lines of a soak as they come.
type teller struct {
	io.WriteCloser
	prefix string // "lab 2: ", if it is one of several
}

// progress opens the way that the lines of a soak take: the pipe that the environment
// names, for soaks that run side by side, else stdout.
func progress(lab int) (*teller, error) {
	path := os.Getenv(EnvProgress)
	if path == "" {
		return &teller{stdout{}, ""}, nil
	}
	pipe, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, fmt.Errorf("open the pipe for progress: %w", err)
	}
	return &teller{pipe, fmt.Sprintf("lab %d: ", lab)}, nil
}

// line prints a line, in one write.
func (t *teller) line(format string, args ...any) {
	// Who does not want to hear of the progress does not end the soak.
	_, _ = fmt.Fprintf(t, t.prefix+format+"\n", args...)
}

// stdout is os.Stdout, which nobody is to close. Ginkgo exchanges it between specs.
type stdout struct{}

func (stdout) Write(p []byte) (int, error) { return os.Stdout.Write(p) }
func (stdout) Close() error                { return nil }
