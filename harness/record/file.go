package record

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// FileName is the record's name in a run folder.
const FileName = "run.jsonl"

// Writer appends events to the record of a run. Several processes may write to
// one record: each event is one write(2) to a file opened with O_APPEND.
type Writer struct {
	mu   sync.Mutex
	file *os.File
}

// Append opens the record in the run folder dir, and makes it if it is missing.
// Close it when the process writes no more.
//
// A process that was killed may have written half a line: Append marks it as cut and ends
// it, so that what follows has lines of its own.
func Append(dir string) (*Writer, error) {
	f, err := os.OpenFile(filepath.Join(dir, FileName), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open record: %w", err)
	}
	if err := endLine(f); err != nil {
		return nil, errors.Join(fmt.Errorf("open record: %w", err), f.Close())
	}
	return &Writer{file: f}, nil
}

// cutMark stands behind a line that is not whole: ASCII's CANCEL, "disregard what came
// before". No JSON text has it.
const cutMark = "\x18"

// endLine ends the last line of f, if it has no end. That of another process that is about
// to be written is no such line, but may look like one: the mark comes behind it then, for
// the kernel writes one append after the other, and is alone in its line.
func endLine(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, info.Size()-1); err != nil {
		return err
	}
	if last[0] == '\n' {
		return nil
	}
	_, err = f.WriteString(cutMark + "\n")
	return err
}

// Write appends one event.
func (w *Writer) Write(e Event) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write record: encode %s: %w", e.Kind, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	return nil
}

// Close closes the record's file.
func (w *Writer) Close() error { return w.file.Close() }

// ErrCut says that the record's last line, or the last that a part of the run wrote, is not
// whole: it was killed, or the disk was full.
var ErrCut = errors.New("record is cut off in its last line")

// Read reads the record in the run folder dir. A record that is cut off in its
// last line gives the events before it together with ErrCut, and one that was appended to
// after that all whole ones; a damaged line before the last that Append has not marked
// is an error that names it, and so is the beginning of another run.
func Read(dir string) ([]Event, error) {
	f, err := os.Open(filepath.Join(dir, FileName))
	if err != nil {
		return nil, fmt.Errorf("read record: %w", err)
	}
	defer f.Close()
	return Decode(f)
}

// Decode reads events, one JSON value a line, as Read does.
func Decode(r io.Reader) ([]Event, error) {
	var events []Event
	begun := false // the run's head was read
	var cut error
	in := bufio.NewReaderSize(r, 1<<16)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		last := errors.Is(err, io.EOF)
		if err != nil && !last {
			return events, fmt.Errorf("read record: line %d: %w", n, err)
		}
		if last && len(bytes.TrimSpace(line)) == 0 {
			return events, cut
		}
		line, marked := bytes.CutSuffix(line, []byte(cutMark+"\n"))
		if marked && len(line) == 0 {
			continue
		}
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			if last {
				return events, ErrCut
			}
			if marked {
				cut = ErrCut
				continue
			}
			return events, fmt.Errorf("read record: line %d: %w", n, err)
		}
		if e.Run != nil && e.Run.Version != Version {
			age := "newer than this program: draw it with the halfopen that wrote it"
			if e.Run.Version < Version {
				age = "older than this program reads: draw it with a halfopen of its time"
			}
			return events, fmt.Errorf("read record: it has version %d, this program reads version %d; it is %s", e.Run.Version, Version, age)
		}
		if e.Run != nil && begun {
			return events, fmt.Errorf("read record: a second run begins in line %d: keep each in a folder of its own, and add them up by leakreport merge", n)
		}
		begun = begun || e.Run != nil
		events = append(events, e)
		if last {
			return events, cut
		}
	}
}
