package probe

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

// The answer of a program of Go 1.26 that was built with the experiment, shortened.
const wakeAnswer = `goroutine 18 [running]:
runtime/pprof.writeGoroutineStacks({0x7d7200, 0x3cb83ae261e0})
	/usr/local/go/src/runtime/pprof/pprof.go:819 +0x6b
created by net/http.(*Server).Serve in goroutine 8
	/usr/local/go/src/net/http/server.go:3464 +0x485

goroutine 8 [IO wait]:
internal/poll.runtime_pollWait(0x7f952f070e00, 0x72)
	/usr/local/go/src/runtime/netpoll.go:351 +0x85

goroutine 9 [chan receive (leaked), 3 minutes]:
main.park.func1()
	/src/main.go:12 +0x19
created by main.park in goroutine 1
	/src/main.go:12 +0x5f

`

func TestNeverWake(t *testing.T) {
	c := start(t)
	status, answer := http.StatusOK, wakeAnswer
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/debug/pprof/goroutineleak" || r.URL.Query().Get("debug") != "2" {
			t.Errorf("asked for %s", r.URL)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, answer)
	}))
	defer target.Close()
	p := c.process("server")
	p.Pprof = target.Listener.Addr().String()
	o := observe(t, p)
	asleep, offered, err := o.NeverWake(t.Context())
	if err != nil || !offered || len(asleep) != 1 || asleep[0].ID != 9 || asleep[0].Frames[0].Func != "main.park.func1" || asleep[0].Minutes != 3 {
		t.Errorf("%+v, offered %v (%v), want goroutine 9 alone", asleep, offered, err)
	}
	// A target without the experiment.
	status, answer = http.StatusNotFound, "Unknown profile\n"
	if asleep, offered, err = o.NeverWake(t.Context()); asleep != nil || offered || err != nil {
		t.Errorf("a target that offers none: %v, offered %v (%v)", asleep, offered, err)
	}
	status, answer = http.StatusOK, "something else\n"
	if _, _, err = o.NeverWake(t.Context()); err == nil {
		t.Error("an answer that is no dump is believed")
	}
	p.Pprof = ""
	if _, offered, err := observe(t, p).NeverWake(t.Context()); offered || err != nil {
		t.Errorf("a target without pprof: offered %v (%v)", offered, err)
	}
}
