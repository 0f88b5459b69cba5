package lab

import (
	"fmt"
	"net/netip"
	"strconv"
	"sync"

	"github.com/coreos/go-iptables/iptables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// NAT is a router host that masquerades what leaves by its outer end.
type NAT struct {
	*Host
	Outer, Inner *End
}

// findIptables looks for the program once; its version decides its options.
var findIptables = sync.OnceValues(func() (*iptables.IPTables, error) {
	ipt, err := iptables.New()
	if err != nil {
		return nil, &Refusal{What: "find iptables", Err: err, Help: "install it: sudo apt-get install iptables"}
	}
	return ipt, nil
})

// masquerade turns h into a NAT router. Every host has rules of its own: the
// machine's firewall is never touched.
func masquerade(h *Host, outer, inner *End) (*NAT, error) {
	n := &NAT{Host: h, Outer: outer, Inner: inner}
	if err := h.Sysctl("net.ipv4.ip_forward", "1"); err != nil {
		return nil, err
	}
	if err := n.Rule("-A", "nat", "POSTROUTING", "-o", outer.Name, "-j", "MASQUERADE"); err != nil {
		return nil, err
	}
	return n, nil
}

// Rule appends ("-A"), inserts first ("-I") or deletes ("-D") one iptables rule on
// the router.
func (n *NAT) Rule(op, table, chain string, rule ...string) error {
	ipt, err := findIptables()
	if err != nil {
		return err
	}
	err = n.Do(func() error {
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
		return refused(fmt.Sprintf("iptables %s %s on host %s", op, chain, n.Name), err)
	}
	return nil
}

// Hits is the sum of the packet counters of those rules in the filter table's
// chain whose target is target.
func (n *NAT) Hits(chain, target string) (uint64, error) {
	ipt, err := findIptables()
	if err != nil {
		return 0, err
	}
	var rows [][]string
	err = n.Do(func() (err error) {
		rows, err = ipt.Stats("filter", chain)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("read counters of %s on host %s: %w", chain, n.Name, err)
	}
	var sum uint64
	for _, r := range rows {
		if len(r) < 3 || r[2] != target {
			continue
		}
		hits, err := strconv.ParseUint(r[0], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read counters of %s on host %s: %w", chain, n.Name, err)
		}
		sum += hits
	}
	return sum, nil
}

// Mapping is one TCP connection that the router translates.
type Mapping struct {
	Inside, Outside netip.AddrPort // the inner host's socket; what the outer one sees
	Remote          netip.AddrPort
}

func (m Mapping) String() string {
	return fmt.Sprintf("%s as %s to %s", m.Inside, m.Outside, m.Remote)
}

// conntrack runs fn with a netlink handle for the router's connection table.
func (n *NAT) conntrack(fn func(h *netlink.Handle) error) error {
	h, err := n.netlink(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer h.Close()
	return fn(h)
}

// Mappings lists the TCP mappings that the router holds now.
func (n *NAT) Mappings() ([]Mapping, error) {
	var found []Mapping
	err := n.conntrack(func(h *netlink.Handle) error {
		flows, err := h.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
		if err != nil {
			return fmt.Errorf("list conntrack on host %s: %w", n.Name, err)
		}
		for _, f := range flows {
			if m, ok := mapping(f); ok {
				found = append(found, m)
			}
		}
		return nil
	})
	return found, err
}

// Forget deletes every TCP mapping, as a NAT does when it runs out of memory or
// time, and returns how many there were.
func (n *NAT) Forget() (int, error) {
	var count uint
	err := n.conntrack(func(h *netlink.Handle) (err error) {
		count, err = h.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, tcpFlows{})
		if err != nil {
			return fmt.Errorf("delete conntrack entries on host %s: %w", n.Name, err)
		}
		return nil
	})
	return int(count), err
}

// tcpFlows matches every TCP flow.
type tcpFlows struct{}

// MatchConntrackFlow makes tcpFlows a filter of the netlink library.
func (tcpFlows) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	return f.Forward.Protocol == unix.IPPROTO_TCP
}

func mapping(f *netlink.ConntrackFlow) (Mapping, bool) {
	if f.Forward.Protocol != unix.IPPROTO_TCP {
		return Mapping{}, false
	}
	at := func(ip []byte, port uint16) netip.AddrPort {
		addr, _ := netip.AddrFromSlice(ip) // the kernel's addresses have 4 or 16 bytes
		return netip.AddrPortFrom(addr.Unmap(), port)
	}
	return Mapping{
		Inside:  at(f.Forward.SrcIP, f.Forward.SrcPort),
		Outside: at(f.Reverse.DstIP, f.Reverse.DstPort),
		Remote:  at(f.Forward.DstIP, f.Forward.DstPort),
	}, true
}
