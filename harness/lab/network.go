package lab

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Hosts are all hosts of the lab, routers too.
func (l *Lab) Hosts() []*Host { return l.hosts }

// Ruleset is the host's packet filter as iptables-save prints it, with counters, IPv4
// and IPv6.
func (h *Host) Ruleset(ctx context.Context) (string, error) {
	var text strings.Builder
	for _, program := range []string{"iptables-save", "ip6tables-save"} {
		cmd := exec.CommandContext(ctx, program, "--counters")
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		err := h.Do(cmd.Start)
		if err == nil {
			err = cmd.Wait()
		}
		if err != nil {
			return text.String(), fmt.Errorf("list rules of host %s: %s: %w: %s", h.Name, program, err, strings.TrimSpace(out.String()))
		}
		fmt.Fprintf(&text, "# %s\n%s", program, out.String())
	}
	return text.String(), nil
}

// Flows are the connections that the host's kernel tracks, a line each; "" if it
// tracks none.
func (h *Host) Flows() (string, error) {
	var text strings.Builder
	err := h.conntrack(func(handle *netlink.Handle) error {
		for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
			flows, err := handle.ConntrackTableList(netlink.ConntrackTable, family)
			if err != nil {
				return fmt.Errorf("list conntrack on host %s: %w", h.Name, err)
			}
			for _, f := range flows {
				fmt.Fprintln(&text, f)
			}
		}
		return nil
	})
	return text.String(), err
}

// Cabling is the host's interfaces with their states, addresses and counters, and its
// routes, a line each.
func (h *Host) Cabling() (string, error) {
	var text strings.Builder
	links, err := h.links.LinkList()
	if err != nil {
		return "", fmt.Errorf("list links of host %s: %w", h.Name, err)
	}
	for _, l := range links {
		a := l.Attrs()
		fmt.Fprintf(&text, "%s: %s, flags %s, mtu %d", a.Name, a.OperState, a.Flags, a.MTU)
		if s := a.Statistics; s != nil {
			fmt.Fprintf(&text, ", received %d packets %d bytes %d dropped, sent %d packets %d bytes %d dropped",
				s.RxPackets, s.RxBytes, s.RxDropped, s.TxPackets, s.TxBytes, s.TxDropped)
		}
		fmt.Fprintln(&text)
		addresses, err := h.links.AddrList(l, unix.AF_UNSPEC)
		if err != nil {
			return text.String(), fmt.Errorf("list addresses of host %s: %w", h.Name, err)
		}
		for _, address := range addresses {
			fmt.Fprintf(&text, "    %s\n", address.IPNet)
		}
	}
	routes, err := h.links.RouteList(nil, unix.AF_UNSPEC)
	if err != nil {
		return text.String(), fmt.Errorf("list routes of host %s: %w", h.Name, err)
	}
	for _, r := range routes {
		fmt.Fprintf(&text, "route %s\n", r)
	}
	return text.String(), nil
}
