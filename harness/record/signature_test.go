package record

import "testing"

func TestSignature(t *testing.T) {
	frames := func(names ...string) (all []Frame) {
		for _, n := range names {
			all = append(all, Frame{Func: n, File: "f.go", Line: 3})
		}
		return all
	}
	for _, c := range []struct {
		frames  []Frame
		creator string
		want    string
	}{
		{frames("runtime.gopark", "internal/poll.runtime_pollWait", "main.f", "runtime.main"), "", "internal/poll.runtime_pollWait < main.f"},
		{frames("internal/poll.runtime_pollWait", "main.f"), "main.g", "internal/poll.runtime_pollWait < main.f < main.g"},
		{frames("main.deferred", "panic", "main.f"), "", "main.deferred < main.f"},
		{frames("main.deferred", "runtime.gopanic", "main.f"), "", "main.deferred < main.f"},
		{frames("runtime.gopark", "runtime.bgsweep"), "", "runtime.gopark < runtime.bgsweep"},
		{frames("runtime/pprof.f"), "", "runtime/pprof.f"},
		{nil, "main.g", "main.g"},
		{nil, "", ""},
	} {
		if got := Signature(c.frames, c.creator); got != c.want {
			t.Errorf("Signature(%v, %q) = %q, want %q", c.frames, c.creator, got, c.want)
		}
	}
}
