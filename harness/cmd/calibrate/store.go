package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/halfopen/halfopen/harness/record"
)

// The files in the folder of a calibration.
const (
	trialsName = "trials.jsonl"
	latestName = "latest.json"
)

// store is the trials that were run, now and earlier: one JSON line each. A line that is
// cut off at the end (the program was killed, the disk was full) is taken out.
type store struct {
	file *os.File
	done []record.Trial
}

func openStore(dir string) (*store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open trials: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, trialsName), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open trials: %w", err)
	}
	s := &store{file: f}
	if err := s.read(); err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", f.Name(), err), f.Close())
	}
	return s, nil
}

// read reads what is there, and leaves the file at the end of the last whole line.
func (s *store) read() error {
	in, whole := bufio.NewReaderSize(s.file, 1<<16), int64(0)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break // without its end, a line is not whole
		}
		if err != nil {
			return err
		}
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		var t record.Trial
		if err := d.Decode(&t); err != nil {
			return fmt.Errorf("line %d is no trial of this version: %w; move the file away to start anew", n, err)
		}
		s.done, whole = append(s.done, t), whole+int64(len(line))
	}
	if err := s.file.Truncate(whole); err != nil {
		return err
	}
	_, err := s.file.Seek(whole, io.SeekStart)
	return err
}

// add stores a trial.
func (s *store) add(t record.Trial) error {
	line, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("store trial: %w", err)
	}
	if _, err := s.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("store trial: %w", err)
	}
	s.done = append(s.done, t)
	return nil
}
