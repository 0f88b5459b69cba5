package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/spf13/cobra"
)

// logging is the flags of the log, and what they make.
type logging struct {
	format, level, path string
	file                *logFile // nil: the log goes to stderr
}

// logFlags adds the flags of the log.
func logFlags(c *cobra.Command) *logging {
	l := &logging{}
	f := c.Flags()
	f.StringVar(&l.format, "log-format", "text", "text or json")
	f.StringVar(&l.level, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&l.path, "log-file", "", "append the log to this file; SIGHUP opens it anew (default stderr)")
	return l
}

// options checks the flags.
func (l *logging) options() (*slog.HandlerOptions, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.level)); err != nil {
		return nil, usageError{fmt.Errorf("--log-level is %q; it must be debug, info, warn or error", l.level)}
	}
	if l.format != "text" && l.format != "json" {
		return nil, usageError{fmt.Errorf("--log-format is %q; it must be text or json", l.format)}
	}
	return &slog.HandlerOptions{Level: level}, nil
}

// open returns the logger; close must follow a nil error.
func (l *logging) open(stderr io.Writer) (*slog.Logger, error) {
	options, err := l.options()
	if err != nil {
		return nil, err
	}
	out := stderr
	if l.path != "" {
		l.file = &logFile{path: l.path, stderr: stderr}
		if err := l.file.reopen(); err != nil {
			return nil, usageError{err}
		}
		out = l.file
	}
	if l.format == "json" {
		return slog.New(slog.NewJSONHandler(out, options)), nil
	}
	return slog.New(slog.NewTextHandler(out, options)), nil
}

// reopen opens the log file anew, for those who move it away and send SIGHUP.
func (l *logging) reopen(log *slog.Logger) {
	if l.file == nil {
		return
	}
	if err := l.file.reopen(); err != nil {
		log.Error("the old log file stays in use", "err", err)
	}
}

func (l *logging) close() {
	if l.file != nil {
		l.file.close()
	}
}

// logFile is a log that loses lines rather than stop the service: when the disk
// is full it says so once on stderr, and counts until lines can be written again.
type logFile struct {
	path   string
	stderr io.Writer

	mu   sync.Mutex
	file *os.File
	lost int // lines since the last that was written
}

// reopen opens the path anew. After an error the old file stays in use.
func (f *logFile) reopen() error {
	file, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("open log file: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file != nil {
		_ = f.file.Close() // what it could not keep was told when it was written
	}
	f.file = file
	return nil
}

func (f *logFile) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		fmt.Fprintf(f.stderr, "tunnel: close log file: %v\n", err)
	}
}

// Write never fails: a log that cannot be kept is no reason to end.
func (f *logFile) Write(line []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.file.Write(line); err != nil {
		if f.lost == 0 {
			fmt.Fprintf(f.stderr, "tunnel: log file: %v; the service goes on, lines are lost\n", err)
		}
		f.lost++
	} else if f.lost > 0 {
		fmt.Fprintf(f.stderr, "tunnel: log file %s is written again; %d lines were lost\n", f.path, f.lost)
		f.lost = 0
	}
	return len(line), nil
}
