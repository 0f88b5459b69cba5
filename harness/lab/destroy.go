package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Established lists the host's established TCP connections to ip, as "local to remote".
func (h *Host) Established(ip netip.Addr) ([]string, error) {
	var found []string
	err := h.established(ip, func(local, remote netip.AddrPort) error {
		found = append(found, local.String()+" to "+remote.String())
		return nil
	})
	return found, err
}

// DestroySockets destroys the host's established TCP connections to ip, and returns
// them as "local to remote". The kernel sends RST to the peers, and gives ECONNABORTED to
// the owners. It needs CONFIG_INET_DIAG_DESTROY.
// https://man7.org/linux/man-pages/man8/ss.8.html (-K)
func (h *Host) DestroySockets(ip netip.Addr) ([]string, error) {
	var gone []string
	err := h.established(ip, func(local, remote netip.AddrPort) error {
		err := h.destroy(local, remote)
		switch {
		case errors.Is(err, unix.ENOENT):
			return nil // it has just ended by itself
		case errors.Is(err, unix.EOPNOTSUPP):
			return &Refusal{What: "SOCK_DESTROY", Err: err, Help: "this kernel is built without CONFIG_INET_DIAG_DESTROY"}
		case err != nil:
			return fmt.Errorf("destroy %v to %v: %w", local, remote, err)
		}
		gone = append(gone, local.String()+" to "+remote.String())
		return nil
	})
	return gone, err
}

// established calls each with the host's established TCP connections to ip.
func (h *Host) established(ip netip.Addr, each func(local, remote netip.AddrPort) error) error {
	handle, err := h.netlink(unix.NETLINK_INET_DIAG)
	if err != nil {
		return err
	}
	defer handle.Close()
	// A listener that takes IPv6 too has sockets of that family for IPv4 peers.
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		sockets, err := handle.SocketDiagTCP(family)
		if err != nil {
			return fmt.Errorf("list sockets of host %s: %w", h.Name, err)
		}
		for _, s := range sockets {
			local, remote := endpoint(s.ID.Source, s.ID.SourcePort), endpoint(s.ID.Destination, s.ID.DestinationPort)
			if s.State != netlink.TCP_ESTABLISHED || remote.Addr() != ip {
				continue
			}
			if err := each(local, remote); err != nil {
				return fmt.Errorf("sockets of host %s: %w", h.Name, err)
			}
		}
	}
	return nil
}

func endpoint(ip []byte, port uint16) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(ip) // the kernel's addresses have 4 or 16 bytes
	return netip.AddrPortFrom(addr.Unmap(), port)
}

// destroy has the kernel destroy one socket of the host. The request is that of
// linux/inet_diag.h, struct inet_diag_req_v2:
//
//	 0  family, protocol, extensions, padding; 4  states
//	 8  source port, destination port, big-endian
//	12  source, 28  destination: 16 bytes each, of IPv4 the first four
//	44  interface; 48  cookie, all ones for any
func (h *Host) destroy(local, remote netip.AddrPort) error {
	body := make([]byte, 56)
	body[0], body[1] = unix.AF_INET6, unix.IPPROTO_TCP
	if local.Addr().Is4() {
		body[0] = unix.AF_INET
	}
	binary.BigEndian.PutUint16(body[8:], local.Port())
	binary.BigEndian.PutUint16(body[10:], remote.Port())
	copy(body[12:28], local.Addr().AsSlice())
	copy(body[28:44], remote.Addr().AsSlice())
	binary.NativeEndian.PutUint64(body[48:], math.MaxUint64)
	return h.Do(func() error { // the socket that asks is made on the calling thread
		request := nl.NewNetlinkRequest(nl.SOCK_DESTROY, unix.NLM_F_ACK)
		request.AddRawData(body)
		_, err := request.Execute(unix.NETLINK_INET_DIAG, 0)
		return err
	})
}
