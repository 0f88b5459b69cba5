package tunnel

import (
	"sync/atomic"
	"time"
)

// alarm is a time.AfterFunc that lets go of what it would call once it is stopped. The
// runtime may keep a stopped timer until its hour has come, as long as no more than a
// quarter of a processor's timers are such ones (runtime/time.go, timers.check): with it a
// session that ended long ago would stay in memory, buffers and all.
type alarm struct {
	timer *time.Timer
	call  atomic.Pointer[func()]
}

// after calls f in a goroutine of its own when d has passed, unless it is stopped.
func after(d time.Duration, f func()) *alarm {
	a := &alarm{}
	a.call.Store(&f)
	a.timer = time.AfterFunc(d, a.ring)
	return a
}

func (a *alarm) ring() {
	if f := a.call.Swap(nil); f != nil {
		(*f)()
	}
}

// stop may come after the call, and again.
func (a *alarm) stop() {
	a.timer.Stop()
	a.call.Store(nil)
}
