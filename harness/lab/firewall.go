package lab

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/coreos/go-iptables/iptables"
)

// findIptables looks for the program of each family once; its version decides its options.
var findIptables = map[iptables.Protocol]func() (*iptables.IPTables, error){
	iptables.ProtocolIPv4: sync.OnceValues(func() (*iptables.IPTables, error) { return lookIptables(&overIPv4) }),
	iptables.ProtocolIPv6: sync.OnceValues(func() (*iptables.IPTables, error) { return lookIptables(&overIPv6) }),
}

func lookIptables(f *family) (*iptables.IPTables, error) {
	ipt, err := iptables.NewWithProtocol(f.iptables)
	if err != nil {
		return nil, &Refusal{What: "find " + f.programs, Err: err, Help: "install it: sudo apt-get install iptables"}
	}
	return ipt, nil
}

// iptables is the program of the host's family.
func (h *Host) iptables() (*iptables.IPTables, error) { return findIptables[h.family.iptables]() }

// Rule appends ("-A"), inserts first ("-I") or deletes ("-D") one iptables rule on
// the host.
func (h *Host) Rule(op, table, chain string, rule ...string) error {
	ipt, err := h.iptables()
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
		return refused(fmt.Sprintf("%s %s %s on host %s", h.family.programs, op, chain, h.Name), err)
	}
	return nil
}

// Hits is the sum of the packet counters of those rules in the filter table's
// chain whose target is target.
func (h *Host) Hits(chain, target string) (uint64, error) {
	rows, err := h.counters("filter", chain)
	if err != nil {
		return 0, err
	}
	var sum uint64
	for _, r := range rows {
		if r.target == target {
			sum += r.packets
		}
	}
	return sum, nil
}

// counter is what the kernel counted for one rule.
type counter struct {
	packets uint64
	target  string // "" if the rule has none
}

// counters are those of a chain's rules, in their order.
func (h *Host) counters(table, chain string) ([]counter, error) {
	ipt, err := h.iptables()
	if err != nil {
		return nil, err
	}
	var lines []string
	err = h.Do(func() (err error) {
		lines, err = ipt.ListWithCounters(table, chain)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read counters of %s on host %s: %w", chain, h.Name, err)
	}
	var counters []counter
	for _, line := range lines {
		// -A INPUT -p tcp ... -c PACKETS BYTES -j DROP; policies and chains have no -A.
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "-A" {
			continue
		}
		var c counter
		if at := slices.Index(f, "-j"); at >= 0 && at+1 < len(f) {
			c.target = f[at+1]
		}
		at := slices.Index(f, "-c")
		if at < 0 || at+1 >= len(f) {
			return nil, fmt.Errorf("read counters of %s on host %s: none in %q", chain, h.Name, line)
		}
		if c.packets, err = strconv.ParseUint(f[at+1], 10, 64); err != nil {
			return nil, fmt.Errorf("read counters of %s on host %s: %w", chain, h.Name, err)
		}
		counters = append(counters, c)
	}
	return counters, nil
}

// HasRule says whether the host has that iptables rule.
func (h *Host) HasRule(table, chain string, rule ...string) (bool, error) {
	ipt, err := h.iptables()
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

// Marked finds the rules in a table's chain whose comment is mark: how many there
// are, and the sum of their packet counters.
func (h *Host) Marked(table, chain, mark string) (rules int, hits uint64, err error) {
	ipt, err := h.iptables()
	if err != nil {
		return 0, 0, err
	}
	fail := func(err error) (int, uint64, error) {
		return 0, 0, fmt.Errorf("read counters of %s on host %s: %w", chain, h.Name, err)
	}
	var rows [][]string
	err = h.Do(func() (err error) {
		rows, err = ipt.Stats(table, chain)
		return err
	})
	if err != nil {
		return fail(err)
	}
	for _, r := range rows {
		if len(r) == 0 || !strings.Contains(r[len(r)-1], "/* "+mark+" */") {
			continue
		}
		n, err := strconv.ParseUint(r[0], 10, 64)
		if err != nil {
			return fail(err)
		}
		rules, hits = rules+1, hits+n
	}
	return rules, hits, nil
}

// Recent lists the addresses on a list of iptables' recent match, which some rule of the
// host must name. It starts no program.
func (h *Host) Recent(list string) ([]string, error) {
	var text []byte
	err := h.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/xt_recent/" + list)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read list %s of host %s: %w", list, h.Name, err)
	}
	var found []string
	for line := range strings.Lines(string(text)) { // src=10.4.0.2 ttl: 63 last_seen: ...
		address, _, _ := strings.Cut(line, " ")
		found = append(found, strings.TrimPrefix(address, "src="))
	}
	return found, nil
}
