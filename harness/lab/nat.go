package lab

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// NAT is a router host that masquerades what leaves by its outer end.
type NAT struct {
	*Host
	Outer, Inner *End
}

// masquerade turns h into a NAT router; flags are those of iptables' MASQUERADE. Every
// host has rules of its own: the machine's firewall is never touched.
func masquerade(h *Host, outer, inner *End, flags ...string) (*NAT, error) {
	n := &NAT{Host: h, Outer: outer, Inner: inner}
	if err := h.Sysctl(h.family.forward, "1"); err != nil {
		return nil, err
	}
	rule := append([]string{"-o", outer.Name, "-j", "MASQUERADE"}, flags...)
	if err := n.Rule("-A", "nat", "POSTROUTING", rule...); err != nil {
		return nil, err
	}
	return n, nil
}

// Mapping is one TCP connection that the router translates.
type Mapping struct {
	Inside, Outside netip.AddrPort // the inner host's socket; what the outer one sees
	Remote          netip.AddrPort
	Mark            uint32 // what a rule with CONNMARK has noted of the connection
}

func (m Mapping) String() string {
	return fmt.Sprintf("%s as %s to %s", m.Inside, m.Outside, m.Remote)
}

// conntrack runs fn with a netlink handle for the host's connection table.
func (h *Host) conntrack(fn func(*netlink.Handle) error) error {
	handle, err := h.netlink(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer handle.Close()
	return fn(handle)
}

// Mappings lists the TCP mappings that the router holds now, also those of connections
// that have been closed: it keeps them a while.
func (n *NAT) Mappings() ([]Mapping, error) {
	return n.mappings(func(*netlink.ConntrackFlow) bool { return true })
}

// Established lists the mappings of connections that neither end has closed.
func (n *NAT) Established() ([]Mapping, error) {
	return n.mappings(func(f *netlink.ConntrackFlow) bool {
		tcp, ok := f.ProtoInfo.(*netlink.ProtoInfoTCP)
		return ok && tcp.State == nl.TCP_CONNTRACK_ESTABLISHED
	})
}

func (n *NAT) mappings(take func(*netlink.ConntrackFlow) bool) ([]Mapping, error) {
	var found []Mapping
	err := n.conntrack(func(h *netlink.Handle) error {
		flows, err := h.ConntrackTableList(netlink.ConntrackTable, netlink.InetFamily(n.family.netlink))
		if err != nil {
			return fmt.Errorf("list conntrack on host %s: %w", n.Name, err)
		}
		for _, f := range flows {
			if m, ok := mapping(f); ok && take(f) {
				found = append(found, m)
			}
		}
		return nil
	})
	return found, err
}

// Forget deletes every TCP connection from the host's table, as a NAT does with
// its mappings when it runs out of memory or time, and returns how many there
// were. The kernel's listing may pass over an entry while others come and go, so it asks
// until a listing has none, a few times at most: new connections may come all the time.
func (h *Host) Forget() (int, error) {
	var count uint
	err := h.conntrack(func(handle *netlink.Handle) error {
		for range 5 {
			n, err := handle.ConntrackDeleteFilters(netlink.ConntrackTable, netlink.InetFamily(h.family.netlink), tcpFlows{})
			if err != nil {
				return fmt.Errorf("delete conntrack entries on host %s: %w", h.Name, err)
			}
			if count += n; n == 0 {
				break
			}
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
		Mark:    f.Mark,
	}, true
}
