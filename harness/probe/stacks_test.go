package probe

import (
	"maps"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/pprof/profile"

	"github.com/halfopen/halfopen/harness/record"
)

// dump has one of everything that the runtime can print.
const dump = `goroutine 7 [running]:
runtime/pprof.writeGoroutineStacks({0x7f5e, 0xc000})
	/usr/local/go/src/runtime/pprof/pprof.go:816 +0x6b
net/http.(*conn).serve(0xc0000b2000, {0x8d1e60, 0xc0000ae0f0})
	/usr/local/go/src/net/http/server.go:2102 +0x625
created by net/http.(*Server).Serve in goroutine 1
	/usr/local/go/src/net/http/server.go:3454 +0x485

goroutine 1 [IO wait, 12 minutes, locked to thread labels:{"role": "session", "peer": "a \"b\", {c}]: \\ \u00e9\n\x01"}]:
internal/poll.runtime_pollWait(0x7f5e, 0x72)
	/usr/local/go/src/runtime/netpoll.go:351 +0x85
main.generic[...](...)
	/src/with space/main.go:9
main.main()
	/src/with space/main.go:12 +0x1d fp=0xc000 sp=0xc000 pc=0x4f

goroutine 18 gp=0xc000004000 m=3 mp=0xc000100008 [select (durable), synctest bubble 4]:
main.deep(...)
	/src/main.go:5
...23 frames elided...
main.deep(0x1)
	/src/main.go:7 +0x20
created by main.old
	/src/main.go:1 +0x11
[originating from goroutine 5]:
main.ancestor(...)
	/src/main.go:2

goroutine 19 [syscall]:
runtime.cgocall(0x401000, 0xc00005)
	/usr/local/go/src/runtime/cgocall.go:167 +0x4b fp=0xc0 sp=0xc0 pc=0x40
non-Go function
	pc=0x7f0000001234
do_wait
		/src/wait.c:31 pc=0x7f0000001300
main._Cfunc_wait(0x5)
	_cgo_gotypes.go:50 +0x45

goroutine 20 [chan receive (nil chan)]:
	goroutine running on other thread; stack unavailable
created by main.main in goroutine 1
	/src/main.go:30 +0x12
`

func TestParseStacks(t *testing.T) {
	const lib = "/usr/local/go/src/"
	want := []record.Goroutine{
		{ID: 7, State: "running", Parent: 1, Creator: record.Frame{Func: "net/http.(*Server).Serve", File: lib + "net/http/server.go", Line: 3454}, Frames: []record.Frame{
			{Func: "runtime/pprof.writeGoroutineStacks", File: lib + "runtime/pprof/pprof.go", Line: 816},
			{Func: "net/http.(*conn).serve", File: lib + "net/http/server.go", Line: 2102},
		}},
		{ID: 1, State: "IO wait", Minutes: 12, Labels: map[string]string{"role": "session", "peer": "a \"b\", {c}]: \\ é\n\x01"}, Frames: []record.Frame{
			{Func: "internal/poll.runtime_pollWait", File: lib + "runtime/netpoll.go", Line: 351},
			{Func: "main.generic[...]", File: "/src/with space/main.go", Line: 9},
			{Func: "main.main", File: "/src/with space/main.go", Line: 12},
		}},
		{ID: 18, State: "select (durable)", Creator: record.Frame{Func: "main.old", File: "/src/main.go", Line: 1}, Frames: []record.Frame{
			{Func: "main.deep", File: "/src/main.go", Line: 5}, {Func: Elided}, {Func: "main.deep", File: "/src/main.go", Line: 7},
		}},
		{ID: 19, State: "syscall", Frames: []record.Frame{
			{Func: "runtime.cgocall", File: lib + "runtime/cgocall.go", Line: 167},
			{Func: "non-Go function", File: "pc=0x7f0000001234"},
			{Func: "do_wait", File: "/src/wait.c", Line: 31},
			{Func: "main._Cfunc_wait", File: "_cgo_gotypes.go", Line: 50},
		}},
		{ID: 20, State: "chan receive (nil chan)", Parent: 1, Creator: record.Frame{Func: "main.main", File: "/src/main.go", Line: 30}},
	}
	got, err := ParseStacks([]byte(dump))
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if i >= len(got) || !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("goroutine %d:\n got %+v\nwant %+v", i, got[min(i, len(got)-1)], want[i])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d goroutines, want %d", len(got), len(want))
	}
	// A dump that the runtime cut at its limit ends anywhere.
	for n := range len(dump) - 300 {
		if _, err := ParseStacks([]byte(dump[:len(dump)-n])); err != nil {
			t.Fatalf("cut off %d bytes: %v", n, err)
		}
	}
}

func TestParseStacksRefuses(t *testing.T) {
	for _, bad := range []string{
		"404 page not found\n",
		"goroutine x [running]:\n",
		"goroutine 1 running]:\n",
		"goroutine 1 [running labels:{\"a\": \"b}]:\n",
		"goroutine 1 [running labels:{\"a\" \"b\"}]:\n",
		"goroutine 1 [running labels:{\"a\": \"b\" \"c\": \"d\"}]:\n",
	} {
		if all, err := ParseStacks([]byte(bad)); err == nil {
			t.Errorf("ParseStacks(%q) = %+v", bad, all)
		}
	}
	if all, err := ParseStacks(nil); err != nil || len(all) != 0 {
		t.Errorf("nothing: %v, %v", all, err)
	}
}

func FuzzParseStacks(f *testing.F) {
	f.Add([]byte(dump))
	f.Add([]byte("goroutine 1 [running labels:{\"a\": \"b\"}]:\nmain.f(...)\n\t:9\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := ParseStacks(data)
		if err != nil && all != nil {
			t.Error("goroutines and an error")
		}
		if heads := strings.Count("\n"+string(data), "\ngoroutine "); len(all) > heads {
			t.Errorf("%d goroutines from %d headers", len(all), heads)
		}
		for _, g := range all {
			if g.ID < 0 || g.Minutes < 0 && !strings.Contains(string(data), "-") {
				t.Errorf("goroutine %+v", g)
			}
			for _, frame := range append(g.Frames, g.Creator) {
				if frame.Line < 0 || strings.ContainsAny(frame.Func+frame.File, "\n") {
					t.Errorf("frame %+v", frame)
				}
			}
			record.Signature(g.Frames, g.Creator.Func)
		}
	})
}

// stack is a sample of a goroutine profile.
func stack(n int64, names ...string) *profile.Sample {
	s := &profile.Sample{Value: []int64{n}}
	for _, name := range names {
		s.Location = append(s.Location, &profile.Location{Line: []profile.Line{{Function: &profile.Function{Name: name}}}})
	}
	return s
}

func TestTally(t *testing.T) {
	writer := stack(1, "runtime/pprof.writeRuntimeProfile", "net/http/pprof.handler.ServeHTTP", "net/http.(*conn).serve")
	wait := []string{"runtime.gopark", "internal/poll.runtime_pollWait", "net.(*conn).Read", reader}
	idle := "internal/poll.runtime_pollWait < net.(*conn).Read < " + reader
	for _, c := range []struct {
		name    string
		samples []*profile.Sample
		want    groups
	}{
		{"only ours", []*profile.Sample{writer, stack(1, wait...), stack(2, "main.f")}, groups{"main.f": 2}},
		{"others' readers stay", []*profile.Sample{writer, stack(3, wait...)}, groups{idle: 2}},
		{"ours has just started", []*profile.Sample{writer, stack(3, wait...), stack(1, starting+".gowrap2")}, groups{idle: 3}},
		{"a starter is no reader", []*profile.Sample{writer, stack(1, wait...), stack(1, starting, "net/http.(*conn).serve")}, groups{starting + " < net/http.(*conn).serve": 1}},
		{"records of nobody", []*profile.Sample{writer, stack(1), stack(1, "main.f")}, groups{"main.f": 1}},
		{"two labels, one stack", []*profile.Sample{writer, stack(1, "main.f"), stack(4, "runtime.gopark", "main.f")}, groups{"main.f": 5}},
		{"not asked over net/http", []*profile.Sample{stack(1, wait...)}, groups{idle: 1}},
	} {
		if got := tally(&profile.Profile{Sample: c.samples}); !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestDivide(t *testing.T) {
	for _, c := range []struct {
		n    int
		seen map[string]int
		want map[string]int
	}{
		{3, nil, map[string]int{"": 3}},
		{3, map[string]int{"a": 1}, map[string]int{"a": 3}},
		{5, map[string]int{"a": 3, "b": 2}, map[string]int{"a": 3, "b": 2}},
		{7, map[string]int{"a": 3, "b": 2}, map[string]int{"a": 5, "b": 2}},
		{4, map[string]int{"a": 3, "b": 2}, map[string]int{"a": 2, "b": 2}},
		{1, map[string]int{"a": 3, "b": 2}, map[string]int{"b": 1}},
	} {
		if got := divide(c.n, c.seen); !maps.Equal(got, c.want) {
			t.Errorf("divide(%d, %v) = %v, want %v", c.n, c.seen, got, c.want)
		}
	}
}

// A creator that one dump missed is known from the one before: a group must not
// change its name because the two forms are a moment apart.
func TestBlameRemembers(t *testing.T) {
	o := &Observer{creators: make(map[string]map[string]int)}
	all := []record.Goroutine{{ID: 1, Frames: []record.Frame{{Func: "main.f"}}, Creator: record.Frame{Func: "main.g"}}}
	for _, seen := range [][]record.Goroutine{all, nil} {
		if got := o.blame(groups{"main.f": 1, "main.h": 1}, seen); !reflect.DeepEqual(got, []record.Group{{Signature: "main.f < main.g", Count: 1}, {Signature: "main.h", Count: 1}}) {
			t.Errorf("groups %+v", got)
		}
	}
}

func TestInode(t *testing.T) {
	for target, want := range map[string]uint64{"socket:[4711]": 4711, "pipe:[1]": 1, "anon_inode:[eventpoll]": 0, "/dev/null": 0, "/tmp/a:[5]": 0, "socket:[x]": 0} {
		if got := inode(target); got != want {
			t.Errorf("inode(%q) = %d, want %d", target, got, want)
		}
	}
}

func TestDecodeRefusesShort(t *testing.T) {
	wanted := func(uint64) bool { return true }
	if _, err := decode(make([]byte, sizeofAnswer-1), wanted); err == nil {
		t.Error("a short answer is decoded")
	}
	established := make([]byte, sizeofAnswer)
	established[1] = 1
	if _, err := decode(append(established, 200, 0, 2, 0), wanted); err == nil {
		t.Error("an attribute that is longer than its message is decoded")
	}
}

// The status of a live process has all that is read of it.
func TestReadStatus(t *testing.T) {
	now, err := readStatus(os.Getpid())
	if err != nil || now.threads < 1 || now.rssAnon <= 0 || now.rss <= now.rssAnon {
		t.Errorf("status %+v (%v)", now, err)
	}
}
