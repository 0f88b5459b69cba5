package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

// barrier is iptables rules that a fault puts before all others of one host, and
// takes back. They carry a comment that no other barrier has, so that their packets
// are counted apart from those of other faults.
type barrier struct {
	host   *lab.Host
	number int64 // that no other has
	mark   string
	set    []placed // those in force
	want   int      // how many there were in the end
}

// placed is one rule, and where it is.
type placed struct {
	table, chain string
	rule         []string
	notes        bool // it only notes what others meet: its packets are not counted
}

var barriers atomic.Int64 // so far, for their marks

func newBarrier(h *lab.Host) *barrier {
	n := barriers.Add(1)
	return &barrier{host: h, number: n, mark: fmt.Sprintf("halfopen fault %d", n)}
}

// add puts a rule first in a chain.
func (b *barrier) add(table, chain string, rule ...string) error {
	rule = slices.Concat([]string{"-m", "comment", "--comment", b.mark}, rule)
	if err := b.host.Rule("-I", table, chain, rule...); err != nil {
		return err
	}
	b.set, b.want = append(b.set, placed{table: table, chain: chain, rule: rule}), b.want+1
	return nil
}

// note puts a rule first in a chain in which the barrier has no other: what it meets is not
// counted as hit.
func (b *barrier) note(table, chain string, rule ...string) error {
	if err := b.add(table, chain, rule...); err != nil {
		return err
	}
	b.set[len(b.set)-1].notes = true
	return nil
}

// remove takes the rules back, the last first; again, it does nothing.
func (b *barrier) remove(context.Context) error {
	for len(b.set) > 0 {
		last := len(b.set) - 1
		r := b.set[last]
		if err := b.host.Rule("-D", r.table, r.chain, r.rule...); err != nil {
			return fmt.Errorf("take back a rule: %w", err)
		}
		b.set = b.set[:last]
	}
	return nil
}

// hits are the packets that the rules have met; whole says whether all of them are in
// force.
func (b *barrier) hits() (hits uint64, whole bool, err error) {
	rules, seen := 0, map[string]bool{}
	for _, r := range b.set {
		chain := r.table + " " + r.chain
		if seen[chain] {
			continue
		}
		seen[chain] = true
		n, packets, err := b.host.Marked(r.table, r.chain, b.mark)
		if err != nil {
			return 0, false, err
		}
		if rules += n; !r.notes {
			hits += packets
		}
	}
	return hits, b.want > 0 && rules == b.want, nil
}

// witness says whether the rules are in force and have met a packet. done is what
// they do: "dropped".
func (b *barrier) witness(done string) Witness {
	return func(context.Context) (string, bool, error) {
		hits, whole, err := b.hits()
		if err != nil {
			return "", false, err
		}
		if !whole {
			return fmt.Sprintf("not all of the %d rules are in force", b.want), false, nil
		}
		return fmt.Sprintf("%d rules in force; %d packets %s", b.want, hits, done), hits > 0, nil
	}
}

// met waits until the rules have met a packet.
func (b *barrier) met(ctx context.Context, within time.Duration, none string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, errors.New(none))
	defer cancel()
	for {
		hits, _, err := b.hits()
		if err != nil || hits > 0 {
			return err
		}
		if err := wait(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}
