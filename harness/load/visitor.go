package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Visitor is one open visit. Somebody has to Close it.
type Visitor struct {
	visit    Visit
	wire     *wire
	received atomic.Int64  // payload bytes that came and were right
	sent     atomic.Int64  // payload bytes of an upload, after the first ones
	left     atomic.Bool   // closed from this side
	leave    chan struct{} // closed with it
	once     sync.Once     // closes leave
	stop     chan struct{}
	done     chan struct{}
	writer   sync.WaitGroup
	failed   error // of the writer; read after writer.Wait
	err      error // written before done is closed
}

// Open connects and returns when a first round of bytes has been there and back
// and was right. ctx bounds only that: afterwards nothing on the visitor's side
// limits how long the connection lives. Errors are ErrCorrupt, ErrEnded, those
// of the dialer, or an answer that is not the origin's.
func Open(ctx context.Context, dial Dial, v Visit) (*Visitor, error) {
	visitor, err := open(ctx, dial, v)
	if err != nil {
		return nil, fmt.Errorf("visit %s at %s: %w", v.Protocol, v.Address, err)
	}
	return visitor, nil
}

func open(ctx context.Context, dial Dial, v Visit) (*Visitor, error) {
	if err := v.valid(); err != nil {
		return nil, err
	}
	if v.Size != 0 || v.Step != nil {
		return nil, errors.New("a visitor who stays has neither a size nor steps")
	}
	ask := exchange{there: first, hold: true, flow: v.Flow}
	switch v.Flow {
	case Both, Download, Stalled, Flood:
		ask.more = endless
	case HalfUp:
		ask.there /= 2
	}
	w, err := connect(ctx, dial, v, ask)
	if err != nil {
		return nil, err
	}
	there, check := newStream(v.Seed), newChecker(v.Seed)
	switch {
	case v.Flow == Upgrading: // nothing is there yet, nor comes back
	case v.Protocol == HTTP:
		there.next(make([]byte, ask.there)) // the request has taken them
		err = w.receive(check, int64(ask.there))
	default:
		if err = w.classify(w.send(there, first), 0); err == nil {
			err = w.receive(check, first)
		}
	}
	switch {
	case err != nil:
	case v.Flow == HalfClosed, v.Flow == MuteOrigin:
		err = w.halfClose()
	case v.Flow == MuteVisitor:
		err = w.ended()
	}
	if err != nil {
		w.close()
		return nil, because(ctx, err)
	}
	if err := w.disarm(ctx); err != nil {
		w.close()
		return nil, err
	}
	visitor := &Visitor{visit: v, wire: w, stop: make(chan struct{}), done: make(chan struct{}), leave: make(chan struct{})}
	if v.Flow != Upgrading {
		visitor.received.Store(int64(ask.there))
	}
	if w.out != nil && (v.Flow == Both || v.Flow == Upload) {
		visitor.writer.Add(1)
		go visitor.write(there)
	}
	go visitor.read(check)
	return visitor, nil
}

// Local is the visitor's own end, "ip:port": its identity in the socket tables
// of others.
func (v *Visitor) Local() string { return v.wire.raw.LocalAddr().String() }

// Visit is what the visitor was told to do.
func (v *Visitor) Visit() Visit { return v.visit }

// Done is closed when the connection has ended, for whatever reason, and the
// visitor's goroutines with it.
func (v *Visitor) Done() <-chan struct{} { return v.done }

// Err says why the connection ended: ErrCorrupt (a *CorruptError has the
// offset), ErrEnded or ErrLeft, wrapped. Nil before Done is closed.
func (v *Visitor) Err() error {
	select {
	case <-v.done:
		return v.err
	default:
		return nil
	}
}

// Bytes is how many bytes were checked so far, both ways: a byte that was echoed
// counts twice, one that came from the origin's own stream once, and so does one that
// was sent in an upload: the origin checks it.
func (v *Visitor) Bytes() int64 {
	got := v.received.Load()
	switch v.visit.Flow {
	case Download, Stalled, Flood, HalfClosed:
		return got + first + v.sent.Load()
	case Both, Upload:
		if v.visit.Protocol == HTTP {
			return got + first + v.sent.Load()
		}
	}
	return 2*got + v.sent.Load()
}

// Close ends the connection from the visitor's side, at once and without a word
// of its protocol, as a browser that is killed does, and waits for the visitor's
// goroutines. It returns the corruption that the visitor had seen, if any.
func (v *Visitor) Close() error {
	v.left.Store(true)
	v.once.Do(func() { close(v.leave) })
	v.wire.close()
	<-v.done
	if errors.Is(v.err, ErrCorrupt) {
		return v.err
	}
	return nil
}

// read is the visitor's owner: it has a read posted all the time, and its end is
// the visitor's.
func (v *Visitor) read(check *checker) {
	size := chunk
	if v.visit.Flow == Flood {
		size = 16 * chunk
	}
	buf, pass := make([]byte, size), &meter{rate: v.visit.Rate}
	var err error
	if v.visit.Flow == Stalled || v.visit.Flow == MuteVisitor { // reads no more, and so does not see its end either
		<-v.leave
		err = net.ErrClosed
	}
	for err == nil {
		var n int
		n, err = v.wire.in.Read(buf)
		if n > 0 && v.visit.Flow == Upgrading { // who answers is not the origin
			err = fmt.Errorf("%w: the upgrade was answered", ErrEnded)
			break
		}
		switch bad := check.check(buf[:n]); {
		case bad != nil:
			err = bad
		case n > 0 && v.visit.Flow.silent():
			err = &CorruptError{Offset: first, Cause: fmt.Errorf("%d bytes that nobody sent", n)}
		default:
			v.received.Add(int64(n))
		}
		if wait := pass.take(n, time.Now()); wait > time.Millisecond {
			select {
			case <-time.After(wait):
			case <-v.leave:
			}
		}
	}
	err = v.wire.classify(err, v.received.Load())
	close(v.stop)
	v.wire.close()
	v.writer.Wait()
	switch {
	case v.left.Load() && errors.Is(err, net.ErrClosed):
		err = ErrLeft
	case v.failed != nil && errors.Is(err, ErrEnded):
		// The kernel tells the cause to whoever asks first, and EOF to the other.
		err = fmt.Errorf("%w (write: %w)", err, v.failed)
	}
	v.err = err
	close(v.done)
}

// write keeps bytes on their way. It stops at its first error: the reader sees
// the end of the connection too, and says so.
func (v *Visitor) write(there *stream) {
	defer v.writer.Done()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		if v.visit.Flow == Upload {
			if err := v.wire.send(there, chunk); err != nil {
				v.failed = err
				return
			}
			v.sent.Add(chunk)
			select {
			case <-v.stop:
				return
			case <-tick.C:
			}
			continue
		}
		flight := there.offset - v.received.Load()
		for n := 0; flight < floor || n == 0 && flight < ceiling; n++ {
			if err := v.wire.send(there, chunk); err != nil {
				v.failed = err
				return
			}
			flight += chunk
		}
		select {
		case <-v.stop:
			return
		case <-tick.C:
		}
	}
}
