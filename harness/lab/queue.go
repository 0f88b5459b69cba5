package lab

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// queue is an NFQUEUE: packets that a rule hands to us, and that the kernel holds
// until we say go. Only their numbers come here, never their bytes.
//
//	nlmsghdr | nfgenmsg (family, version, queue number) | attributes
//
// as in linux/netfilter/nfnetlink_queue.h. A netlink socket belongs to the
// namespace of the thread that made it: it is made on the host, and used anywhere.
type queue struct {
	fd     int
	number uint16
	buf    []byte // of one receive
	out    []byte // verdicts that have not been sent
}

// Numbers of linux/netfilter/nfnetlink_queue.h.
const (
	queueVerdict = unix.NFNL_SUBSYS_QUEUE<<8 | 1
	queueConfig  = unix.NFNL_SUBSYS_QUEUE<<8 | 2
	queuePacket  = unix.NFNL_SUBSYS_QUEUE << 8

	configCommand, configParams, configMaxLen, configMask, configFlags = 1, 2, 3, 4, 5

	commandBind   = 1
	copyMeta      = 1
	flagGSO       = 4 // large pieces come whole
	packetHeader  = 1
	verdictHeader = 2
	accept        = 1 // NF_ACCEPT

	sizeofGen = 4 // struct nfgenmsg

	// queueLength is how many packets may be on their way: at 1500 bytes each, 1 Gbit/s
	// for 0.8 s.
	queueLength = 65536
)

// openQueue binds a queue of the host.
func openQueue(h *Host, number uint16) (*queue, error) {
	q := &queue{fd: -1, number: number, buf: make([]byte, 64<<10)}
	err := h.Do(func() (err error) {
		q.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open NFQUEUE: %w", err)
	}
	if err := q.bind(); err != nil {
		return nil, errors.Join(fmt.Errorf("bind NFQUEUE %d: %w", number, err), unix.Close(q.fd))
	}
	return q, nil
}

func (q *queue) bind() error {
	// A burst of packets must find room, and a full buffer must not stop the socket. More
	// than net.core.rmem_max is not given, and is not an error.
	if err := unix.SetsockoptInt(q.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 16<<20); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(q.fd, unix.SOL_NETLINK, unix.NETLINK_NO_ENOBUFS, 1); err != nil {
		return err
	}
	be32 := binary.BigEndian.AppendUint32
	for _, attributes := range [][]byte{
		attribute(nil, configCommand, []byte{commandBind, 0, 0, 0}),
		attribute(nil, configParams, append(be32(nil, 0), copyMeta)),
		attribute(nil, configMaxLen, be32(nil, queueLength)),
		attribute(attribute(nil, configFlags, be32(nil, flagGSO)), configMask, be32(nil, flagGSO)),
	} {
		if err := q.send(q.message(nil, queueConfig, unix.NLM_F_REQUEST|unix.NLM_F_ACK, attributes)); err != nil {
			return err
		}
		if err := q.acknowledged(); err != nil {
			return err
		}
	}
	return nil
}

// close lets go of the queue; the kernel drops what it holds.
func (q *queue) close() error { return unix.Close(q.fd) }

func attribute(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, -len(value)&3)...)
}

func (q *queue) message(b []byte, kind, flags uint16, attributes []byte) []byte {
	native := binary.NativeEndian
	b = native.AppendUint32(b, uint32(unix.SizeofNlMsghdr+sizeofGen+len(attributes)))
	b = native.AppendUint16(b, kind)
	b = native.AppendUint16(b, flags)
	b = append(b, make([]byte, 8)...) // sequence number, sender: not used
	b = append(b, unix.AF_UNSPEC, 0)
	b = binary.BigEndian.AppendUint16(b, q.number)
	return append(b, attributes...)
}

func (q *queue) send(b []byte) error {
	return unix.Sendto(q.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// acknowledged reads the answer to a configuration message. Packets may come before
// it: none does, for no rule names the queue yet.
func (q *queue) acknowledged() error {
	n, _, err := unix.Recvfrom(q.fd, q.buf, 0)
	if err != nil {
		return err
	}
	if n < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(q.buf[4:]) != unix.NLMSG_ERROR {
		return errors.New("the kernel's answer is no acknowledgement")
	}
	if errno := -int32(binary.NativeEndian.Uint32(q.buf[unix.SizeofNlMsghdr:])); errno != 0 {
		return unix.Errno(errno)
	}
	return nil
}

// receive hands on the numbers of packets that wait: of most of them, not of all, for
// others are to be let go meanwhile.
func (q *queue) receive(arrived func(id uint32)) error {
	native := binary.NativeEndian
	for range 256 {
		n, _, err := unix.Recvfrom(q.fd, q.buf, unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOBUFS):
			continue
		case err != nil:
			return err
		}
		for rest := q.buf[:n]; len(rest) >= unix.SizeofNlMsghdr; {
			size := int(native.Uint32(rest))
			if size < unix.SizeofNlMsghdr || size > len(rest) {
				return fmt.Errorf("message of %d bytes in %d", size, len(rest))
			}
			// Anything else is the answer to a verdict on a packet that is gone: its interface
			// went down.
			if native.Uint16(rest[4:]) == queuePacket && size >= unix.SizeofNlMsghdr+sizeofGen {
				if id, ok := packetID(rest[unix.SizeofNlMsghdr+sizeofGen : size]); ok {
					arrived(id)
				}
			}
			rest = rest[min((size+3)&^3, len(rest)):]
		}
	}
	return nil
}

func packetID(b []byte) (uint32, bool) {
	native := binary.NativeEndian
	for len(b) >= unix.SizeofRtAttr {
		size := int(native.Uint16(b))
		if size < unix.SizeofRtAttr || size > len(b) {
			return 0, false
		}
		if native.Uint16(b[2:]) == packetHeader && size >= unix.SizeofRtAttr+4 {
			return binary.BigEndian.Uint32(b[unix.SizeofRtAttr:]), true
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return 0, false
}

// maxVerdicts is how many bytes of verdicts go to the kernel at once.
const maxVerdicts = 16 << 10

// accept lets a packet go on; flush sends what accept has gathered.
func (q *queue) accept(id uint32) error {
	var verdict [8]byte
	binary.BigEndian.PutUint32(verdict[:], accept)
	binary.BigEndian.PutUint32(verdict[4:], id)
	q.out = q.message(q.out, queueVerdict, unix.NLM_F_REQUEST, attribute(nil, verdictHeader, verdict[:]))
	if len(q.out) >= maxVerdicts {
		return q.flush()
	}
	return nil
}

func (q *queue) flush() error {
	if len(q.out) == 0 {
		return nil
	}
	err := q.send(q.out)
	q.out = q.out[:0]
	return err
}
