package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Established lists the host's established TCP connections to ip, as "local to remote".
func (h *Host) Established(ip netip.Addr) ([]string, error) {
	var found []string
	err := h.established(ip, func(_ *netlink.Handle, local, remote *net.TCPAddr) error {
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
	err := h.established(ip, func(handle *netlink.Handle, local, remote *net.TCPAddr) error {
		err := handle.SocketDestroy(local, remote)
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
func (h *Host) established(ip netip.Addr, each func(handle *netlink.Handle, local, remote *net.TCPAddr) error) error {
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
			remote, _ := netip.AddrFromSlice(s.ID.Destination)
			if s.State != netlink.TCP_ESTABLISHED || remote.Unmap() != ip {
				continue
			}
			err := each(handle,
				&net.TCPAddr{IP: s.ID.Source.To4(), Port: int(s.ID.SourcePort)},
				&net.TCPAddr{IP: s.ID.Destination.To4(), Port: int(s.ID.DestinationPort)})
			if err != nil {
				return fmt.Errorf("sockets of host %s: %w", h.Name, err)
			}
		}
	}
	return nil
}
