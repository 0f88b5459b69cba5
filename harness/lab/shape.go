package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// shaping is what an end does to what leaves it, and to what comes to it.
type shaping struct {
	mu      sync.Mutex
	quality Quality // of what leaves
	queued  bool    // there is a queueing discipline
	line    *delayLine
	ruled   bool // the chain of rules for what comes is there
}

// noNetem is set once the kernel has said that it has no netem.
var noNetem atomic.Bool

// errDuplicate is the one thing for which there is no other means.
var errDuplicate = fmt.Errorf("this kernel cannot duplicate packets without netem: %w", errors.ErrUnsupported)

// maxSegments is GSO_MAX_SEGS, what a veth is born with.
const maxSegments = 65535

// shape is Shape without its promises.
func (e *End) shape(q Quality) error {
	link, err := e.link()
	if err != nil {
		return err
	}
	segments := maxSegments
	if !q.whole() {
		segments = 1
	}
	if err := e.Host.links.LinkSetGSOMaxSegs(link, segments); err != nil {
		return fmt.Errorf("set the size of pieces: %w", err)
	}
	if q != (Quality{}) && !noNetem.Load() {
		err := e.discipline(e.netem(q))
		if !errors.Is(err, unix.ENOENT) {
			return err
		}
		noNetem.Store(true)
	}
	if q.Duplicate > 0 {
		return errDuplicate
	}
	if q.Rate > 0 {
		err = e.discipline(e.tbf(q.Rate))
	} else {
		err = e.discipline(nil)
	}
	return errors.Join(err, e.Peer.delayAndLose(q))
}

// discipline gives the end a queueing discipline, or takes away what it has.
func (e *End) discipline(d netlink.Qdisc) error {
	switch {
	case d != nil:
		if err := e.Host.links.QdiscReplace(d); err != nil {
			return fmt.Errorf("set queueing discipline %s: %w", d.Type(), err)
		}
		e.queued = true
	case e.queued:
		if err := e.Host.links.QdiscDel(&netlink.GenericQdisc{QdiscAttrs: e.root()}); err != nil {
			return fmt.Errorf("take the queueing discipline away: %w", err)
		}
		e.queued = false
	}
	return nil
}

func (e *End) root() netlink.QdiscAttrs {
	return netlink.QdiscAttrs{LinkIndex: e.index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}
}

// netem is the kernel's own emulator of a network.
func (e *End) netem(q Quality) netlink.Qdisc {
	return netlink.NewNetem(e.root(), netlink.NetemQdiscAttrs{
		Latency:     uint32(q.Delay.Microseconds()),
		Jitter:      uint32(q.Jitter.Microseconds()),
		Loss:        float32(100 * q.Loss),
		Duplicate:   float32(100 * q.Duplicate),
		ReorderProb: float32(100 * q.Reorder),
		Rate64:      uint64(q.Rate) / 8,
		Limit:       queueLength,
	})
}

// tbf lets so many bits a second pass. What waits is at most 50 ms' worth, or 20
// packets: more than that, a router would not keep either.
func (e *End) tbf(rate int64) netlink.Qdisc {
	const frame = 1514
	bytes := uint64(rate) / 8
	burst := max(2*frame, uint32(bytes/200)) // 5 ms' worth
	return &netlink.Tbf{
		QdiscAttrs: e.root(),
		Rate:       bytes,
		Buffer:     netlink.Xmittime(bytes, burst),
		Limit:      max(20*frame, uint32(bytes/20)),
	}
}

// delayAndLose does what is done to packets as they come to this end.
func (e *End) delayAndLose(q Quality) error {
	number := uint16(e.index)
	var err error
	switch {
	case q.Delay > 0 && e.line == nil:
		if e.line, err = startDelay(e.Host, number, q); err != nil {
			return err
		}
	case q.Delay > 0:
		e.line.set(q)
	}
	if err := e.rules(q, number); err != nil {
		return err
	}
	if q.Delay == 0 && e.line != nil {
		err, e.line = e.line.end(), nil
	}
	return err
}

// rules puts the chain of rules for what comes to this end in place of the one that
// is there, in one step.
func (e *End) rules(q Quality, number uint16) error {
	if q.Delay == 0 && q.Loss == 0 {
		if !e.ruled {
			return nil
		}
		e.ruled = false
		return e.Host.restore("*raw", "-D PREROUTING -i "+e.Name+" -j "+e.chain(), "-F "+e.chain(), "-X "+e.chain(), "COMMIT")
	}
	lines := []string{"*raw", ":" + e.chain() + " -"}
	if !e.ruled {
		lines = append(lines, "-A PREROUTING -i "+e.Name+" -j "+e.chain())
	}
	lines = append(lines, "-A "+e.chain()) // counts
	if q.Loss > 0 {
		lines = append(lines, fmt.Sprintf("-A %s -m statistic --mode random --probability %.9f -j DROP", e.chain(), q.Loss))
	}
	if q.Delay > 0 {
		// Bypass: should the harness die, packets pass.
		lines = append(lines, fmt.Sprintf("-A %s -j NFQUEUE --queue-num %d --queue-bypass", e.chain(), number))
	}
	e.ruled = true
	return e.Host.restore(append(lines, "COMMIT")...)
}

// chain is the name of the chain of rules for what comes to this end.
func (e *End) chain() string { return "shape-" + e.Name }

// close ends what of the shaping does not end with the namespace.
func (e *End) close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.line == nil {
		return nil
	}
	err := e.line.end()
	e.line = nil
	return err
}

// Tally is what a cable has done to the packets that left an end, since it was
// shaped.
type Tally struct {
	Packets  uint64 // that came by
	Lost     uint64 // of these, because they were to be
	Overflow uint64 // of these, because too many were on their way: a flaw of the lab
}

// Tally counts the packets that left this end since it was shaped.
func (e *End) Tally() (Tally, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t, err := e.tally()
	if err != nil {
		return t, fmt.Errorf("count packets from %s: %w", e, err)
	}
	return t, nil
}

func (e *End) tally() (Tally, error) {
	switch {
	case e.queued && !noNetem.Load():
		return e.netemTally()
	case !e.Peer.ruled:
		return Tally{}, nil
	}
	var t Tally
	rows, err := e.Peer.Host.counters("raw", e.Peer.chain())
	if err != nil {
		return t, err
	}
	for i, r := range rows {
		switch {
		case i == 0:
			t.Packets = r.packets
		case r.target == "DROP":
			t.Lost = r.packets
		}
	}
	if e.Peer.line != nil {
		t.Overflow, err = e.Peer.line.dropped(e.Peer.Host)
	}
	return t, err
}

// netemTally is the account of the kernel's emulator, which does not tell the packets
// for which it had no room from the others that it lost.
func (e *End) netemTally() (Tally, error) {
	link, err := e.link()
	if err != nil {
		return Tally{}, err
	}
	all, err := e.Host.links.QdiscList(link)
	if err != nil {
		return Tally{}, fmt.Errorf("read queueing disciplines: %w", err)
	}
	for _, d := range all {
		s := d.Attrs().Statistics
		if d.Type() == "netem" && s != nil {
			lost := uint64(s.Queue.Drops)
			return Tally{Packets: uint64(s.Basic.Packets) + uint64(s.Queue.Qlen) + lost, Lost: lost}, nil
		}
	}
	return Tally{}, errors.New("netem is gone")
}

// dropped is how many packets the kernel could not hand to the line, or keep for it.
func (d *delayLine) dropped(h *Host) (uint64, error) {
	select {
	case <-d.ended:
		return 0, fmt.Errorf("the delay line ended: %w", d.err)
	default:
	}
	var text []byte
	err := h.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/netfilter/nfnetlink_queue")
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("read the account of NFQUEUE: %w", err)
	}
	// queue portid waiting mode range dropped dropped-for-the-socket last-id 1
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 7 || f[0] != strconv.Itoa(int(d.queue.number)) {
			continue
		}
		full, err1 := strconv.ParseUint(f[5], 10, 64)
		socket, err2 := strconv.ParseUint(f[6], 10, 64)
		return full + socket, errors.Join(err1, err2)
	}
	return 0, fmt.Errorf("read the account of NFQUEUE: no queue %d", d.queue.number)
}

// restore changes the rules of a table all at once.
func (h *Host) restore(lines ...string) error {
	if _, err := h.iptables(); err != nil {
		return err
	}
	cmd := exec.Command(h.family.programs+"-restore", "--noflush", "--wait")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	var out strings.Builder
	cmd.Stderr = &out
	if err := h.Do(cmd.Run); err != nil {
		return refused(h.family.programs+"-restore on host "+h.Name, fmt.Errorf("%w: %s", err, strings.TrimSpace(out.String())))
	}
	return nil
}
