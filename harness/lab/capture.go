package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
	"unsafe"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"golang.org/x/sys/unix"
)

// Capture keeps the last packets of all cables of one host. It is one AF_PACKET
// socket and one goroutine; Close ends both.
type Capture struct {
	host    *Host
	socket  *os.File
	snaplen int
	done    chan struct{}

	mu     sync.Mutex
	ring   []captured // reused: a slot is overwritten when the ring is full
	next   int        // slot of the next packet
	seen   int        // packets so far, those too that were overwritten
	cables []string   // names of the interfaces, in the order in which they were met
	index  map[int]int
}

// captured is one slot of the ring.
type captured struct {
	at     time.Time
	cable  int // index into Capture.cables
	length int // on the wire
	data   []byte
}

// CaptureSize says how much a Capture keeps: the zero value is 4096 packets of 128
// bytes each, which holds every header and little of what is carried.
type CaptureSize struct {
	Packets int // 0: 4096
	Snaplen int // bytes of each, 0: 128
}

// Capture begins to keep what goes through the host's cables, both ways. The
// loopback is left out: the observer is there.
func (h *Host) Capture(size CaptureSize) (*Capture, error) {
	if size.Packets == 0 {
		size.Packets = 4096
	}
	if size.Snaplen == 0 {
		size.Snaplen = 128
	}
	c := &Capture{host: h, snaplen: size.Snaplen, done: make(chan struct{}), ring: make([]captured, size.Packets), index: map[int]int{}}
	names := map[int]string{}
	err := h.Do(func() error {
		links, err := h.links.LinkList()
		if err != nil {
			return err
		}
		for _, l := range links {
			if l.Attrs().Name != "lo" {
				names[l.Attrs().Index] = l.Attrs().Name
			}
		}
		// ETH_P_ALL in network order, as packet(7) wants it.
		const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL<<8&0xff00
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, all)
		if err != nil {
			return err
		}
		c.socket = os.NewFile(uintptr(fd), "capture of "+h.Name)
		// When it came, not when a busy machine let us read it.
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	})
	if err != nil {
		if c.socket != nil {
			err = errors.Join(err, c.socket.Close())
		}
		return nil, fmt.Errorf("capture on host %s: %w", h.Name, err)
	}
	go c.run(names)
	return c, nil
}

// run reads until the socket is closed.
func (c *Capture) run(names map[int]string) {
	defer close(c.done)
	raw, err := c.socket.SyscallConn()
	if err != nil {
		return
	}
	buffer, control := make([]byte, c.snaplen), make([]byte, unix.CmsgSpace(int(unsafe.Sizeof(unix.Timespec{}))))
	for {
		var n, controls int
		var from unix.Sockaddr
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			// MSG_TRUNC: the length on the wire, whatever the buffer takes.
			n, controls, _, from, failed = unix.Recvmsg(int(fd), buffer, control, unix.MSG_TRUNC)
			return !errors.Is(failed, unix.EAGAIN)
		})
		if err != nil { // closed
			return
		}
		if errors.Is(failed, unix.ENETDOWN) || errors.Is(failed, unix.EINTR) {
			continue // a cable was pulled: that is what labs do
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if failed != nil || !ok {
			return
		}
		if name := names[link.Ifindex]; name != "" {
			c.keep(name, link.Ifindex, n, buffer[:min(n, len(buffer))], came(control[:controls]))
		}
	}
}

// came is the time that the kernel has noted for a packet (SO_TIMESTAMPNS, socket(7)).
func came(control []byte) time.Time {
	var at unix.Timespec
	head, data, _, err := unix.ParseOneSocketControlMessage(control)
	if err != nil || head.Level != unix.SOL_SOCKET || head.Type != unix.SCM_TIMESTAMPNS {
		return time.Now()
	}
	if _, err := binary.Decode(data, binary.NativeEndian, &at); err != nil {
		return time.Now()
	}
	return time.Unix(at.Unix())
}

func (c *Capture) keep(name string, ifindex, length int, data []byte, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cable, ok := c.index[ifindex]
	if !ok {
		cable = len(c.cables)
		c.index[ifindex] = cable
		c.cables = append(c.cables, name)
	}
	p := &c.ring[c.next]
	p.at, p.cable, p.length = at, cable, length
	p.data = append(p.data[:0], data...)
	c.next = (c.next + 1) % len(c.ring)
	c.seen++
}

// Host is the host whose cables these are.
func (c *Capture) Host() *Host { return c.host }

// Write writes what is kept as a pcapng file, an interface a cable, and says how many
// packets it has and how many more had gone by before them.
func (c *Capture) Write(w io.Writer) (kept, before int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.cables) == 0 {
		return 0, 0, nil
	}
	options := pcapgo.DefaultNgWriterOptions
	options.SectionInfo.Application = "halfopen"
	describe := func(name string) pcapgo.NgInterface {
		return pcapgo.NgInterface{Name: c.host.Name + ":" + name, LinkType: layers.LinkTypeEthernet, SnapLength: uint32(c.snaplen), TimestampResolution: 9}
	}
	out, err := pcapgo.NewNgWriterInterface(w, describe(c.cables[0]), options)
	if err != nil {
		return 0, 0, fmt.Errorf("write capture of host %s: %w", c.host.Name, err)
	}
	for _, name := range c.cables[1:] {
		if _, err := out.AddInterface(describe(name)); err != nil {
			return 0, 0, fmt.Errorf("write capture of host %s: %w", c.host.Name, err)
		}
	}
	for i := range c.ring {
		p := &c.ring[(c.next+i)%len(c.ring)]
		if p.length == 0 {
			continue
		}
		info := gopacket.CaptureInfo{Timestamp: p.at, CaptureLength: len(p.data), Length: p.length, InterfaceIndex: p.cable}
		if err := out.WritePacket(info, p.data); err != nil {
			return kept, 0, fmt.Errorf("write capture of host %s: %w", c.host.Name, err)
		}
		kept++
	}
	if err := out.Flush(); err != nil {
		return kept, 0, fmt.Errorf("write capture of host %s: %w", c.host.Name, err)
	}
	return kept, c.seen - kept, nil
}

// Close ends the capture.
func (c *Capture) Close() error {
	err := c.socket.Close()
	<-c.done
	return err
}
