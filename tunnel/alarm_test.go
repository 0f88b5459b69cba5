package tunnel

import (
	"runtime"
	"testing"
	"time"
	"weak"
)

// A stopped alarm, which the runtime may keep for an hour, keeps nothing itself.
func TestStoppedAlarmLetsGo(t *testing.T) {
	held := new([1 << 16]byte)
	seen := weak.Make(held)
	a := after(time.Hour, func() { held[0]++ })
	if runtime.GC(); seen.Value() == nil {
		t.Fatal("an alarm that runs has lost what it is to call")
	}
	a.stop()
	for range 3 {
		runtime.GC()
	}
	if seen.Value() != nil {
		t.Error("a stopped alarm still holds what it was to call")
	}
	a.stop()
	runtime.KeepAlive(a)
}

// An alarm calls once, and a stop after that does nothing.
func TestAlarm(t *testing.T) {
	called := make(chan struct{}, 2)
	a := after(time.Millisecond, func() { called <- struct{}{} })
	<-called
	a.stop()
	a.ring()
	if len(called) > 0 {
		t.Error("called again")
	}
}
