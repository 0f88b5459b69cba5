package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/vishvananda/netlink"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/probe"
	"github.com/halfopen/halfopen/harness/record"
)

// What is tried inside.
var (
	sandbox = capability{
		Name: "namespaces", Need: byCatalogue, Lost: "everything: hosts are network namespaces, cables are veth pairs",
	}
	masquerade = capability{
		Name: "iptables", Need: byCatalogue, Lost: "every story with a router, and faults that drop packets",
		Get: "sudo apt-get install iptables; in a container, load the modules on its host: sudo modprobe -a iptable_nat xt_MASQUERADE nft_compat",
	}
	conntrack = capability{
		Name: "conntrack", Need: byCatalogue, Lost: "NAT expiry, and the witness that mappings are gone",
		Get: "a kernel with CONFIG_NF_CT_NETLINK: sudo modprobe nf_conntrack_netlink",
	}
	sockDiag = capability{
		Name: "sock_diag", Need: byCatalogue, Lost: "sockets with their kernel timers: nothing can be judged",
		Get: "a kernel with CONFIG_INET_DIAG: sudo modprobe -a inet_diag tcp_diag",
	}
	liveOptions = capability{
		Name: "pidfd_getfd", Need: byFaults, Lost: "socket options of live processes: the target's file is believed",
		Get: "Linux 5.6, and a seccomp profile and kernel.yama.ptrace_scope that let it pass",
	}
	destroy = capability{
		Name: "SOCK_DESTROY", Need: byFaults, Lost: "faults that destroy one socket",
		Get: "a kernel with CONFIG_INET_DIAG_DESTROY",
	}
	netem = capability{
		Name: "netem", Need: byFaults, Lost: "link quality by the kernel; NFQUEUE, statistic and tbf stand in",
		Get: "sudo modprobe sch_netem (Debian has it in linux-image, cloud kernels may not)",
	}
	nfqueue = capability{
		Name: "NFQUEUE", Need: byFaults, Lost: "delay, jitter and reordering where there is no netem",
		Get: "sudo modprobe -a xt_NFQUEUE nfnetlink_queue",
	}
	tbf = capability{
		Name: "tbf", Need: byFaults, Lost: "cables with a rate",
		Get: "sudo modprobe sch_tbf",
	}
	connbytes = capability{
		Name: "connbytes", Need: byFaults, Lost: "the cut after packet N of a connection",
		Get: "sudo modprobe xt_connbytes",
	}
	statistic = capability{
		Name: "statistic", Need: byFaults, Lost: "loss where there is no netem",
		Get: "sudo modprobe xt_statistic",
	}
	ipv6 = capability{
		Name: "IPv6", Need: byFaults, Lost: "stories over IPv6",
		Get: "a kernel with CONFIG_IPV6 that was not booted with ipv6.disable=1",
	}

	triedInside = []capability{masquerade, conntrack, sockDiag, liveOptions, destroy, netem, nfqueue, tbf, connbytes, statistic, ipv6}
)

// probeCommand is what runs in the sandbox.
func probeCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "probe",
		Short:  "try each capability in a sandbox, and print what was found as JSON",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			user, err := os.Readlink("/proc/self/ns/user")
			if err != nil {
				return err
			}
			const before = "HALFOPEN_DOCTOR_USER"
			if os.Getenv(before) == "" { // outside as yet
				if err := os.Setenv(before, user); err != nil {
					return err
				}
			}
			if err := lab.Sandbox(); err != nil {
				return err
			}
			found, err := try(cmd.Context(), user == os.Getenv(before))
			if err != nil {
				return err
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(found)
		},
	}
}

// try tries everything, each thing apart, on hosts of a lab of its own. The error is
// the lab's: then there is nothing to try anything on.
func try(ctx context.Context, sameUser bool) (found []capability, err error) {
	l, err := lab.Direct()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	with := "in a user namespace"
	if sameUser {
		with = "as root without a user namespace, which was refused"
	}
	found = append(found, sandbox.present("/proc mounted, network namespaces, veth pairs, "+with))
	h := l.Server
	rule := func(table, chain string, words ...string) error { return h.Rule("-A", table, chain, words...) }

	version, err := ask(ctx, "", "iptables", "--version")
	if err == nil {
		err = rule("nat", "POSTROUTING", "-o", "client", "-j", "MASQUERADE")
	}
	found = append(found, masquerade.tried(err, version))
	_, err = (&lab.NAT{Host: h}).Mappings()
	found = append(found, conntrack.tried(err, "its table is read by netlink"))
	found = append(found, sockets(ctx, l)...)
	found = append(found,
		netem.tried(qdisc(h, func(a netlink.QdiscAttrs) netlink.Qdisc {
			return netlink.NewNetem(a, netlink.NetemQdiscAttrs{Latency: 1000})
		}), "a queueing discipline was added"),
		nfqueue.tried(errors.Join(rule("filter", "FORWARD", "-j", "NFQUEUE", "--queue-num", "1", "--queue-bypass"), queues(h)), "a rule was added"),
		tbf.tried(qdisc(h, func(a netlink.QdiscAttrs) netlink.Qdisc {
			return &netlink.Tbf{QdiscAttrs: a, Rate: 1 << 20, Limit: 1 << 16, Buffer: 1 << 16}
		}), "a queueing discipline was added"),
		connbytes.tried(rule("filter", "FORWARD", "-m", "connbytes", "--connbytes", "9:", "--connbytes-dir", "both", "--connbytes-mode", "packets", "-j", "DROP"), "a rule was added"),
		statistic.tried(rule("filter", "FORWARD", "-m", "statistic", "--mode", "random", "--probability", "0.01", "-j", "DROP"), "a rule was added"),
		ipv6.tried(overIPv6(), "a lab behind NAT66 was built"),
	)
	return found, nil
}

// qdisc puts a queueing discipline on the server's cable to the client, and takes it
// off again.
func qdisc(h *lab.Host, of func(netlink.QdiscAttrs) netlink.Qdisc) error {
	return h.Do(func() error {
		link, err := netlink.LinkByName("client")
		if err != nil {
			return err
		}
		q := of(netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT})
		if err := netlink.QdiscAdd(q); err != nil {
			return fmt.Errorf("add %s: %w", q.Type(), err)
		}
		return netlink.QdiscDel(q)
	})
}

// queues says whether the kernel hands queued packets to a program.
func queues(h *lab.Host) error {
	return h.Do(func() error {
		_, err := os.Stat("/proc/thread-self/net/netfilter/nfnetlink_queue")
		return err
	})
}

// overIPv6 says whether there can be a lab over IPv6, with a router that translates.
func overIPv6() error {
	l, err := lab.BehindNAT6()
	if err != nil {
		return err
	}
	return l.Close()
}

// sockets looks at a process that holds one connection: with sock_diag, through
// pidfd_getfd, and at last by destroying it.
func sockets(ctx context.Context, l *lab.Lab) []capability {
	fail := func(err error) []capability {
		return []capability{sockDiag.tried(err, ""), liveOptions.tried(err, ""), destroy.tried(err, "")}
	}
	self, err := os.Executable()
	if err != nil {
		return fail(err)
	}
	p, err := l.Start(l.Server, lab.Command{Role: "server", Argv: []string{self, "hold"}, Log: filepath.Join(os.TempDir(), "hold.log")})
	if err != nil {
		return fail(err)
	}
	o, err := probe.Open(ctx, probe.Process{Role: "server", PID: p.PID(), Host: l.Server})
	if err != nil {
		return fail(err)
	}
	defer o.Close() // the process ends with the lab
	mine, refused, err := connection(ctx, p, o)
	if err != nil {
		return fail(err)
	}
	found := []capability{sockDiag.present(fmt.Sprintf("%s, timer: %s", mine.State, mine.Timer))}
	switch {
	case refused != "":
		found = append(found, liveOptions.absent(refused, ""))
	case mine.Options == nil || mine.Options.KeepaliveIdle != holdIdle.Seconds():
		found = append(found, liveOptions.absent(fmt.Sprintf("the options that were read are not those that were set: %+v", mine.Options), ""))
	default:
		found = append(found, liveOptions.present(fmt.Sprintf("keepalive of %v read from another process's socket", holdIdle)))
	}
	return append(found, destroy.tried(destroyed(ctx, l.Server, o, mine), "a socket was destroyed"))
}

// connection waits for the process's one connection.
func connection(ctx context.Context, p *lab.Process, o *probe.Observer) (record.Socket, string, error) {
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		s, err := o.Sample(ctx)
		if err != nil {
			return record.Socket{}, "", fmt.Errorf("%w: %s", err, strings.Join(p.Tail(1), ""))
		}
		for _, k := range s.Sockets {
			if k.State == "ESTABLISHED" && strings.HasSuffix(k.Remote, holdPort) {
				return k, s.OptionsRefused, nil
			}
		}
		if time.Now().After(end) {
			return record.Socket{}, "", errors.New("a connection is not seen within 5 s")
		}
	}
}

// destroyed destroys a socket, and looks whether it has gone.
func destroyed(ctx context.Context, h *lab.Host, o *probe.Observer, k record.Socket) error {
	local, err := netip.ParseAddrPort(k.Local)
	if err != nil {
		return err
	}
	remote, err := netip.ParseAddrPort(k.Remote)
	if err != nil {
		return err
	}
	if err := h.Do(func() error {
		return netlink.SocketDestroy(net.TCPAddrFromAddrPort(local), net.TCPAddrFromAddrPort(remote))
	}); err != nil {
		return err
	}
	s, err := o.Sample(ctx)
	if err != nil {
		return err
	}
	for _, now := range s.Sockets {
		if now.Inode == k.Inode && now.State == k.State {
			return errors.New("the socket outlives it")
		}
	}
	return nil
}

const (
	holdPort = ":7000"
	holdIdle = 77 * time.Second
)

// holdCommand holds one connection to itself until it is killed.
func holdCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "hold",
		Short:  "hold one connection, to be looked at",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ln, err := net.Listen("tcp4", "127.0.0.1"+holdPort)
			if err != nil {
				return err
			}
			dialer := net.Dialer{KeepAlive: -1, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: holdIdle}}
			conn, err := dialer.DialContext(cmd.Context(), "tcp4", ln.Addr().String())
			if err != nil {
				return errors.Join(err, ln.Close())
			}
			<-cmd.Context().Done()
			return errors.Join(conn.Close(), ln.Close())
		},
	}
}
