package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness/record"
)

// diag is a sock_diag socket. A netlink socket belongs to the namespace of the
// thread that made it, for good: it is made inside, and used from anywhere.
type diag struct {
	fd   int
	buf  []byte
	seq  uint32
	last int // how many sockets there were the last time
}

// patience is how long one answer of the kernel may take, in seconds. It is
// there so that nothing can hang.
const patience = 5

func openDiag(host Namespace) (*diag, error) {
	d := &diag{fd: -1, buf: make([]byte, 256<<10)}
	err := host.Do(func() (err error) {
		d.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open sock_diag: %w", err)
	}
	if err := unix.SetsockoptTimeval(d.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: patience}); err != nil {
		return nil, errors.Join(fmt.Errorf("open sock_diag: set timeout: %w", err), unix.Close(d.fd))
	}
	return d, nil
}

func (d *diag) close() error { return unix.Close(d.fd) }

// sockets are the TCP sockets of the namespace whose inode is wanted, of IPv4 and
// of IPv6, in every state; FD is -1. Without silence they lack theirs: the kernel need
// not gather each one's tcp_info, which is most of its work.
func (d *diag) sockets(silence bool, wanted func(inode uint64) bool) ([]record.Socket, error) {
	all := make([]record.Socket, 0, d.last)
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		for try := 0; ; try++ {
			got, err := d.dump(family, silence, all, wanted)
			if errors.Is(err, unix.EINTR) && try < 3 {
				continue // the tables changed under the dump: it may have missed some
			}
			if errors.Is(err, unix.ENOENT) && family == unix.AF_INET6 {
				break // a kernel without IPv6
			}
			if err != nil {
				return nil, fmt.Errorf("dump sockets: %w", err)
			}
			all = got
			break
		}
	}
	d.last = len(all)
	return all, nil
}

// Sizes and offsets of linux/inet_diag.h and linux/netlink.h.
const (
	sizeofRequest = unix.SizeofNlMsghdr + 56 // struct inet_diag_req_v2
	sizeofAnswer  = 72                       // struct inet_diag_msg
	infoAttribute = 2                        // INET_DIAG_INFO: struct tcp_info
	wantInfo      = 1 << (infoAttribute - 1)
	allStates     = 1<<13 - 2 // ESTABLISHED (1) to NEW_SYN_RECV (12)
)

// dump asks once, and appends to all. EINTR says that the answer is inconsistent.
func (d *diag) dump(family uint8, silence bool, all []record.Socket, wanted func(uint64) bool) ([]record.Socket, error) {
	d.seq++
	req := make([]byte, sizeofRequest)
	native := binary.NativeEndian
	native.PutUint32(req, sizeofRequest)
	native.PutUint16(req[4:], unix.SOCK_DIAG_BY_FAMILY)
	native.PutUint16(req[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	native.PutUint32(req[8:], d.seq)
	req[16], req[17] = family, unix.IPPROTO_TCP
	if silence {
		req[18] = wantInfo
	}
	native.PutUint32(req[20:], allStates)
	if err := unix.Sendto(d.fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	interrupted := false
	for {
		n, _, err := unix.Recvfrom(d.fd, d.buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue // a signal
		}
		if err != nil {
			return nil, fmt.Errorf("receive: %w", err)
		}
		for rest := d.buf[:n]; len(rest) >= unix.SizeofNlMsghdr; {
			size := int(native.Uint32(rest))
			if size < unix.SizeofNlMsghdr || size > len(rest) {
				return nil, fmt.Errorf("receive: message of %d bytes in %d", size, len(rest))
			}
			kind, flags, seq := native.Uint16(rest[4:]), native.Uint16(rest[6:]), native.Uint32(rest[8:])
			body := rest[unix.SizeofNlMsghdr:size]
			rest = rest[min(align(size), len(rest)):]
			if seq != d.seq {
				continue // left over from a dump that timed out
			}
			interrupted = interrupted || flags&unix.NLM_F_DUMP_INTR != 0
			switch kind {
			case unix.NLMSG_DONE:
				if interrupted {
					return nil, unix.EINTR
				}
				return all, nil
			case unix.NLMSG_ERROR:
				if len(body) < 4 {
					return nil, errors.New("receive: error without a number")
				}
				return nil, unix.Errno(-int32(native.Uint32(body)))
			case unix.SOCK_DIAG_BY_FAMILY:
				s, err := decode(body, wanted)
				if err != nil {
					return nil, err
				}
				if s != nil {
					all = append(all, *s)
				}
			}
		}
	}
}

func align(n int) int { return (n + 3) &^ 3 }

// states are the names of RFC 9293, by the kernel's numbers (tcp_states.h).
var states = [...]string{
	1: "ESTABLISHED", 2: "SYN_SENT", 3: "SYN_RECEIVED", 4: "FIN_WAIT_1", 5: "FIN_WAIT_2", 6: "TIME_WAIT",
	7: "CLOSED", 8: "CLOSE_WAIT", 9: "LAST_ACK", 10: "LISTEN", 11: "CLOSING", 12: "SYN_RECEIVED",
}

var timers = [...]string{"none", "retransmit", "keepalive", "timewait", "persist"}

// decode reads one struct inet_diag_msg with its attributes; nil if its inode is
// not wanted. For a listener, RecvQ counts the connections that wait to be
// accepted.
func decode(b []byte, wanted func(uint64) bool) (*record.Socket, error) {
	if len(b) < sizeofAnswer {
		return nil, fmt.Errorf("decode socket: %d bytes", len(b))
	}
	native, network := binary.NativeEndian, binary.BigEndian
	inode := uint64(native.Uint32(b[68:]))
	if !wanted(inode) {
		return nil, nil
	}
	family, state, timer := b[0], int(b[1]), int(b[2])
	s := &record.Socket{
		FD:      -1,
		Inode:   inode,
		Local:   endpoint(family, b[8:24], network.Uint16(b[4:])),
		Remote:  endpoint(family, b[24:40], network.Uint16(b[6:])),
		Expires: float64(native.Uint32(b[52:])) / 1000,
		Retries: int(b[3]),
		RecvQ:   int(native.Uint32(b[56:])),
		SendQ:   int(native.Uint32(b[60:])),
	}
	if state > 0 && state < len(states) {
		s.State = states[state]
	} else {
		s.State = fmt.Sprintf("STATE_%d", state)
	}
	if timer < len(timers) {
		s.Timer = timers[timer]
	} else {
		s.Timer = fmt.Sprintf("timer %d", timer)
	}
	switch s.State {
	case "LISTEN":
		s.SendQ = 0 // the backlog's limit is no queue
		return s, nil
	case "SYN_SENT", "SYN_RECEIVED", "TIME_WAIT":
		return s, nil // nothing was heard yet, or nobody keeps count
	}
	for rest := b[sizeofAnswer:]; len(rest) >= unix.SizeofRtAttr; {
		size, kind := int(native.Uint16(rest)), native.Uint16(rest[2:])
		if size < unix.SizeofRtAttr || size > len(rest) {
			return nil, fmt.Errorf("decode socket: attribute of %d bytes in %d", size, len(rest))
		}
		// tcpi_last_data_recv and tcpi_last_ack_recv, milliseconds: an acknowledgement
		// is a packet too, whether of data or of a probe.
		if info := rest[unix.SizeofRtAttr:size]; kind == infoAttribute && len(info) >= 60 {
			s.Silence = float64(min(native.Uint32(info[52:]), native.Uint32(info[56:]))) / 1000
		}
		rest = rest[min(align(size), len(rest)):]
	}
	return s, nil
}

// endpoint is "10.0.1.1:4443" or "[fd00::1]:4443". An IPv4 peer of a dual-stack
// listener looks like any IPv4 address.
func endpoint(family uint8, address []byte, port uint16) string {
	ip := netip.AddrFrom16([16]byte(address)).Unmap()
	if family == unix.AF_INET {
		ip = netip.AddrFrom4([4]byte(address[:4]))
	}
	return netip.AddrPortFrom(ip, port).String()
}
