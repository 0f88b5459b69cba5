package lab

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// delayLine holds each packet that comes by a queue for a time, on an OS thread of
// its own: it sleeps in ppoll, whose clock is finer than that of Go's timers.
type delayLine struct {
	queue   *queue
	quality atomic.Pointer[Quality]
	wake    int // eventfd: the line is to end
	ending  atomic.Bool
	ended   chan struct{}
	err     error // why it ended by itself; set before ended is closed
}

// startDelay starts a line on the queue of that number on host h.
func startDelay(h *Host, number uint16, q Quality) (*delayLine, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("start delay line: %w", err)
	}
	queue, err := openQueue(h, number)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start delay line: %w", err), unix.Close(wake))
	}
	d := &delayLine{queue: queue, wake: wake, ended: make(chan struct{})}
	d.quality.Store(&q)
	go d.run()
	return d, nil
}

// set changes the quality for packets that are yet to come.
func (d *delayLine) set(q Quality) { d.quality.Store(&q) }

// end lets all packets go, and ends the line. Take the rule out first.
func (d *delayLine) end() error {
	d.ending.Store(true)
	if _, err := unix.Write(d.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		return fmt.Errorf("end delay line: %w", err)
	}
	<-d.ended
	err := errors.Join(d.err, unix.Close(d.wake))
	if err != nil {
		return fmt.Errorf("end delay line: %w", err)
	}
	return nil
}

func (d *delayLine) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(d.ended)
	d.err = errors.Join(d.carry(), d.queue.close())
}

func (d *delayLine) carry() error {
	var waiting packets
	var count uint64
	var last time.Time // when the last packet is due
	for {
		ending := d.ending.Load()
		if err := d.queue.receive(func(id uint32) {
			q, now := d.quality.Load(), time.Now()
			due := now.Add(q.Delay)
			switch {
			case q.Reorder > 0 && rand.Float64() < q.Reorder:
				due = now
			case q.Jitter > 0:
				due = due.Add(time.Duration((2*rand.Float64() - 1) * float64(q.Jitter)))
			case due.Before(last):
				due = last // a cable that gets shorter does not reorder
			}
			if q.Jitter == 0 && q.Reorder == 0 {
				last = due
			}
			count++
			heap.Push(&waiting, packet{id: id, number: count, due: due})
		}); err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		now := time.Now()
		for len(waiting) > 0 && (ending || !waiting[0].due.After(now)) {
			if err := d.queue.accept(heap.Pop(&waiting).(packet).id); err != nil {
				return fmt.Errorf("let a packet go: %w", err)
			}
		}
		if err := d.queue.flush(); err != nil {
			return fmt.Errorf("let packets go: %w", err)
		}
		if ending {
			return nil
		}
		if err := d.sleep(waiting); err != nil {
			return fmt.Errorf("wait for packets: %w", err)
		}
	}
}

// sleep returns when a packet has come or is due, or the line is to end.
func (d *delayLine) sleep(waiting packets) error {
	var timeout *unix.Timespec
	if len(waiting) > 0 {
		t := unix.NsecToTimespec(max(0, time.Until(waiting[0].due).Nanoseconds()))
		timeout = &t
	}
	fds := []unix.PollFd{{Fd: int32(d.queue.fd), Events: unix.POLLIN}, {Fd: int32(d.wake), Events: unix.POLLIN}}
	if _, err := unix.Ppoll(fds, timeout, nil); err != nil && !errors.Is(err, unix.EINTR) {
		return err
	}
	return nil
}

// packet is one that is on its way.
type packet struct {
	id     uint32 // the kernel's, which may wrap
	number uint64 // ours: those that are due at once go in the order in which they came
	due    time.Time
}

// packets is a heap, the one that is due next first.
type packets []packet

func (p packets) Len() int      { return len(p) }
func (p packets) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p packets) Less(i, j int) bool {
	if p[i].due.Equal(p[j].due) {
		return p[i].number < p[j].number
	}
	return p[i].due.Before(p[j].due)
}

// Push implements heap.Interface.
func (p *packets) Push(x any) { *p = append(*p, x.(packet)) }

// Pop implements heap.Interface.
func (p *packets) Pop() any {
	last := len(*p) - 1
	x := (*p)[last]
	*p = (*p)[:last]
	return x
}
