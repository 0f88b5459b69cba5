package sweep

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/halfopen/halfopen/harness/fault"
)

// Cut is one of a sweep, and what it has hit.
type Cut struct {
	After int       `json:"after"` // packets that pass
	Way   fault.Way `json:"way"`   // that is cut; "" is both
	Event string    `json:"event"` // the first packet that was dropped
}

// Name is that of the cut's story, behind "Packet sweep".
func (c Cut) Name() string {
	return fmt.Sprintf("cut after packet %d, %s", c.After, cmp.Or(c.Way, "both ways"))
}

// Cuts are all of a life: after each of its packets, both ways and each alone, but for the
// last, behind which nothing was recorded, and the first: where no SYN is answered neither
// end has a connection yet, and there is nothing to judge.
func (l Life) Cuts() []Cut {
	var all []Cut
	for n := 2; n < len(l); n++ {
		for _, way := range []fault.Way{fault.BothWays, fault.ToServer, fault.FromServer} {
			all = append(all, Cut{After: n, Way: way})
		}
	}
	return all
}

// LifeName is the recorded life, in a sweep's folder.
const LifeName = "life.json"

func (c Cut) file() string {
	return fmt.Sprintf("cut-%03d-%s.json", c.After, strings.ReplaceAll(string(cmp.Or(c.Way, "both ways")), " ", "-"))
}

// Store writes what the cut has hit.
func (c Cut) Store(dir string) error { return store(filepath.Join(dir, c.file()), c) }

// Load reads what the cut has hit; false if it has hit nothing.
func (c *Cut) Load(dir string) (bool, error) {
	err := load(filepath.Join(dir, c.file()), c)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Store writes the life that the cuts are chosen from.
func (l Life) Store(dir string) error { return store(filepath.Join(dir, LifeName), l) }

// LoadLife reads it.
func LoadLife(dir string) (l Life, err error) {
	err = load(filepath.Join(dir, LifeName), &l)
	return l, err
}

func store(path string, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("store sweep: %w", err)
	}
	whole := path + ".new"
	if err := errors.Join(os.WriteFile(whole, append(text, '\n'), 0o644), os.Rename(whole, path)); err != nil {
		return fmt.Errorf("store sweep: %w", err)
	}
	return nil
}

func load(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read sweep: %w", err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("read sweep: %s: %w", path, err)
	}
	return nil
}
