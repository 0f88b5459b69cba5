package fault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ReadSchedule reads a schedule from a YAML file (JSON is YAML too), as it was written
// by hand or by Write, and checks it:
//
//	seed: 7
//	steps:
//	  - {fault: unplug, at: visitor, start: 1.2s, for: 800ms}
//	  - {fault: expire-nat, with: {silent: true}, start: 2s, for: 1s}
//
// What is wrong with it is one line.
func ReadSchedule(file string) (Schedule, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Schedule{}, fmt.Errorf("read schedule: %w", err)
	}
	s, err := ParseSchedule(text)
	if err != nil {
		return Schedule{}, fmt.Errorf("read schedule %s: %w", file, err)
	}
	return s, nil
}

// ParseSchedule is ReadSchedule of the file's text.
func ParseSchedule(text []byte) (Schedule, error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	var s Schedule
	if err := d.Decode(&s); err != nil && !errors.Is(err, io.EOF) {
		return Schedule{}, errors.New(oneLine(err))
	}
	return s, s.Check()
}

// oneLine is the decoder's error without its line breaks and the names of our types.
func oneLine(err error) string {
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "yaml: "), "unmarshal errors:")
	text = strings.Join(strings.Fields(text), " ")
	for old, plain := range map[string]string{
		" in type fault.Schedule": "; want seed, steps", " in type fault.Step": "; want fault, at, with, start, for",
		"field ": "unknown key ", " not found": "", "into time.Duration": "as a time like 1.2s",
		"into fault.Schedule": "as a schedule: want seed: and steps:", "into []fault.Step": "as steps",
	} {
		text = strings.ReplaceAll(text, old, plain)
	}
	return text
}

// Write stores the schedule as YAML.
func (s Schedule) Write(file string) error {
	text, err := yaml.Marshal(s)
	if err == nil {
		err = os.WriteFile(file, text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("store schedule: %w", err)
	}
	return nil
}
