package lab

import (
	"net/netip"

	"github.com/coreos/go-iptables/iptables"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// family is the kind of addresses that a lab has. Its hosts speak no other: what is
// dropped, counted, forgotten and destroyed there is of that family.
type family struct {
	netlink  int // AF_INET or AF_INET6
	iptables iptables.Protocol
	programs string   // "iptables" or "ip6tables": what the names of its programs begin with
	sysctls  []string // of each host, key and value in turn, from before its first cable
	cables   []string // the same of each cable's end, where the kernel has them: %s is the interface
	forward  string   // the sysctl that makes a host a router
	smallest int      // MTU that every path must have
	ping     echo
}

// echo is how hosts of a family are asked for an echo.
type echo struct {
	network        string // of golang.org/x/net/icmp
	request, reply icmp.Type
	protocol       int
}

var (
	overIPv4 = family{
		netlink: netlink.FAMILY_V4, iptables: iptables.ProtocolIPv4, programs: "iptables",
		// What IPv6 says when a cable comes up would be in every packet counter.
		sysctls: []string{"net.ipv6.conf.all.disable_ipv6", "1"},
		forward: "net.ipv4.ip_forward", smallest: 576, // RFC 791 asks every host to take it
		ping: echo{"udp4", ipv4.ICMPTypeEcho, ipv4.ICMPTypeEchoReply, unix.IPPROTO_ICMP},
	}
	// An address is of use at once: nobody asks whether it is anybody else's (DAD), and no
	// router is looked for. It outlives its cable, as with IPv4. Link-local addresses stay: a
	// router asks for its neighbours by them (RFC 4861, section 7.2.2).
	overIPv6 = family{
		netlink: netlink.FAMILY_V6, iptables: iptables.ProtocolIPv6, programs: "ip6tables",
		sysctls: []string{
			"net.ipv6.conf.default.accept_dad", "0",
			"net.ipv6.conf.default.accept_ra", "0",
			"net.ipv6.conf.all.keep_addr_on_down", "1",
		},
		// A host whose cable has just come up misses the first questions. They are asked more
		// often, for as long as Linux asks by itself: 3 s.
		cables:  []string{"net.ipv6.neigh.%s.retrans_time_ms", "50", "net.ipv6.neigh.%s.mcast_solicit", "60", "net.ipv6.neigh.%s.ucast_solicit", "60"},
		forward: "net.ipv6.conf.all.forwarding", smallest: 1280, // RFC 8200, section 5
		ping: echo{"udp6", ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply, unix.IPPROTO_ICMPV6},
	}
)

// network is the one of a lab's n-th cable: 10.n.0.0/24, or fd00:n::/64.
func (f *family) network(n byte) netip.Prefix {
	if f == &overIPv6 {
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 3: n}), 64)
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, n}), 24)
}

// address is one of a host of the family, as netlink takes it.
func (f *family) address(p netip.Prefix) *netlink.Addr {
	a := &netlink.Addr{IPNet: ipNet(p)}
	if f == &overIPv6 {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

// any is the address of a socket that is bound to none.
func (f *family) any() netip.Addr {
	if f == &overIPv6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}
