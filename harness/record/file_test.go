package record

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestEventsComeBackAsTheyWere(t *testing.T) {
	dir := t.TempDir()
	var writers sync.WaitGroup
	for n := range 4 { // as many processes do
		writers.Go(func() {
			w, err := Append(dir)
			if err != nil {
				t.Error(err)
				return
			}
			defer w.Close()
			for i := range 50 {
				e := Event{At: time.Unix(int64(i), 0).UTC(), Kind: KindEnd, Spec: fmt.Sprint(n), End: &End{State: strings.Repeat("x", 5000)}}
				if err := w.Write(e); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	events, err := Read(dir)
	if err != nil || len(events) != 200 {
		t.Fatalf("read %d events (%v), want 200", len(events), err)
	}
	next := map[string]int64{}
	for _, e := range events {
		if e.At.Unix() != next[e.Spec] || len(e.End.State) != 5000 {
			t.Fatalf("event %v of writer %s is out of order or torn", e.At, e.Spec)
		}
		next[e.Spec]++
	}
}

func TestReadRefuses(t *testing.T) {
	head := `{"at":"2026-11-23T00:00:00Z","kind":"run","run":{"version":1}}` + "\n"
	whole := `{"at":"2026-11-23T00:00:00Z","kind":"end","end":{"state":"passed","duration":1}}` + "\n"
	for _, c := range []struct {
		name, text string
		events     int
		cut        bool
		says       string
	}{
		{"empty", "", 0, false, ""},
		{"whole", whole + whole, 2, false, ""},
		{"without the last newline", whole + strings.TrimSpace(whole), 2, false, ""},
		{"cut off", whole + whole[:30], 1, true, ""},
		{"damaged in the middle", whole + "{\n" + whole, 1, false, "line 2"},
		{"cut off, and appended to", whole + whole[:30] + "\x18\n" + whole, 2, true, ""},
		{"cut off twice", whole + whole[:30] + "\x18\n" + whole + whole[:9], 2, true, ""},
		{"cut off, and damaged later", whole + whole[:30] + "\x18\n{\n" + whole, 1, false, "line 3"},
		{"marked, and whole", whole + strings.TrimSpace(whole) + "\x18\n" + whole, 3, false, ""},
		{"marked, and empty", whole + "\x18\n" + whole, 2, false, ""},
		{"two runs in one folder", head + whole + head + whole, 2, false, "a second run begins in line 3"},
		{"another version", `{"kind":"run","run":{"version":99}}` + "\n", 0, false, "version 99"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, FileName), []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			events, err := Read(dir)
			if len(events) != c.events || errors.Is(err, ErrCut) != c.cut {
				t.Errorf("got %d events and %v, want %d, cut %v", len(events), err, c.events, c.cut)
			}
			if c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("error is %v, want it to say %q", err, c.says)
			}
			if c.says == "" && !c.cut && err != nil {
				t.Errorf("error is %v", err)
			}
		})
	}
	if _, err := Read(t.TempDir()); err == nil {
		t.Error("a folder without a record was read")
	}
}

// A run that was killed in the middle of a line is ended by who started it: all whole lines
// are read, and that one is missing is said.
func TestAppendToARecordThatWasCut(t *testing.T) {
	dir := t.TempDir()
	note := func(e Event) {
		w, err := Append(dir)
		if err == nil {
			err = errors.Join(w.Write(e), w.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	note(Event{Kind: KindRun, Run: &Run{Version: Version}})
	note(Event{Kind: KindEnd, End: &End{State: "passed"}})
	path := filepath.Join(dir, FileName)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-20); err != nil {
		t.Fatal(err)
	}
	note(Event{Kind: KindFinish, Finish: &Finish{Reason: "interrupted"}})
	events, err := Read(dir)
	if !errors.Is(err, ErrCut) || len(events) != 2 || events[1].Finish == nil {
		t.Errorf("read %d events and %v, want the head, the end and that a line was cut", len(events), err)
	}
}

// A disk that is full is said at the first event that has no room.
func TestWriteSaysThatTheDiskIsFull(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/dev/full", filepath.Join(dir, FileName)); err != nil {
		t.Fatal(err)
	}
	w, err := Append(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Write(Event{Kind: KindEnd}); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "write record") {
		t.Errorf("the error is %v", err)
	}
}
