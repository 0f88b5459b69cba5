package lab

import (
	"fmt"
	"strconv"
	"sync"

	"github.com/coreos/go-iptables/iptables"
)

// findIptables looks for the program once; its version decides its options.
var findIptables = sync.OnceValues(func() (*iptables.IPTables, error) {
	ipt, err := iptables.New()
	if err != nil {
		return nil, &Refusal{What: "find iptables", Err: err, Help: "install it: sudo apt-get install iptables"}
	}
	return ipt, nil
})

// Rule appends ("-A"), inserts first ("-I") or deletes ("-D") one iptables rule on
// the host.
func (h *Host) Rule(op, table, chain string, rule ...string) error {
	ipt, err := findIptables()
	if err != nil {
		return err
	}
	err = h.Do(func() error {
		switch op {
		case "-A":
			return ipt.Append(table, chain, rule...)
		case "-I":
			return ipt.Insert(table, chain, 1, rule...)
		case "-D":
			return ipt.Delete(table, chain, rule...)
		}
		return fmt.Errorf("no such operation: %s", op)
	})
	if err != nil {
		return refused(fmt.Sprintf("iptables %s %s on host %s", op, chain, h.Name), err)
	}
	return nil
}

// Hits is the sum of the packet counters of those rules in the filter table's
// chain whose target is target.
func (h *Host) Hits(chain, target string) (uint64, error) {
	ipt, err := findIptables()
	if err != nil {
		return 0, err
	}
	var rows [][]string
	err = h.Do(func() (err error) {
		rows, err = ipt.Stats("filter", chain)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("read counters of %s on host %s: %w", chain, h.Name, err)
	}
	var sum uint64
	for _, r := range rows {
		if len(r) < 3 || r[2] != target {
			continue
		}
		hits, err := strconv.ParseUint(r[0], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read counters of %s on host %s: %w", chain, h.Name, err)
		}
		sum += hits
	}
	return sum, nil
}

// HasRule says whether the host has that iptables rule.
func (h *Host) HasRule(table, chain string, rule ...string) (bool, error) {
	ipt, err := findIptables()
	if err != nil {
		return false, err
	}
	var has bool
	err = h.Do(func() (err error) {
		has, err = ipt.Exists(table, chain, rule...)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("look for a rule of %s on host %s: %w", chain, h.Name, err)
	}
	return has, nil
}
