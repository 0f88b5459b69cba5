package leak

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/record"
)

const own = "github.com/halfopen/halfopen/tunnel."

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// holdings builds a sample of the server: a listener, and what the options add.
func holdings(after float64, add ...func(*record.Sample)) record.Sample {
	s := record.Sample{Role: "server", PID: 7, At: start.Add(time.Duration(after * float64(time.Second))), Threads: 8}
	socket(3, 100, "10.0.0.1:4443", "0.0.0.0:0", "LISTEN")(&s)
	goroutine(1, "IO wait", nil, own+"(*Server).accept")(&s)
	for _, f := range add {
		f(&s)
	}
	return s
}

func socket(fd int, inode uint64, local, remote, state string) func(*record.Sample) {
	return func(s *record.Sample) {
		descriptor(fd, inode)(s)
		s.Sockets = append(s.Sockets, record.Socket{FD: fd, Inode: inode, Local: local, Remote: remote, State: state, Timer: "none"})
	}
}

func descriptor(fd int, inode uint64) func(*record.Sample) {
	return func(s *record.Sample) {
		s.FDs = append(s.FDs, record.FD{Number: fd, Target: "socket:[x]", Inode: inode})
	}
}

func goroutine(id int64, state string, labels map[string]string, funcs ...string) func(*record.Sample) {
	return func(s *record.Sample) {
		g := record.Goroutine{ID: id, State: state, Labels: labels, Creator: record.Frame{Func: own + "(*Server).accept", File: "server.go", Line: 88}}
		for i, f := range funcs {
			g.Frames = append(g.Frames, record.Frame{Func: f, File: "server.go", Line: 10 * (i + 1)})
		}
		s.Goroutines = append(s.Goroutines, g)
		signature := record.Signature(g.Frames, g.Creator.Func)
		for i := range s.Groups {
			if s.Groups[i].Signature == signature {
				s.Groups[i].Count++
				return
			}
		}
		s.Groups = append(s.Groups, record.Group{Signature: signature, Count: 1})
	}
}

func named(session string) map[string]string { return map[string]string{"session": session} }

// What a healthy server holds: its session, and a visitor while it is there.
func session(fd int, inode uint64, id int64, name string) func(*record.Sample) {
	return func(s *record.Sample) {
		socket(fd, inode, "10.0.0.1:4443", "10.0.0.2:4000"+name, "ESTABLISHED")(s)
		goroutine(id, "IO wait", named(name), "internal/poll.(*FD).Read", own+"(*Server).serveSession")(s)
	}
}

func visitor(s *record.Sample) {
	socket(9, 109, "10.1.0.2:8080", "10.1.0.1:5000", "ESTABLISHED")(s)
	goroutine(19, "IO wait", named("1"), "internal/poll.(*FD).Read", own+"(*stream).pump")(s)
}

// healthy is a round without fault in the server: the old session goes, a new one
// comes.
func healthy() Round {
	return Round{
		Fault:  record.Fault{Name: "cable pulled", Place: "client", Class: record.Silent, Bit: true, Exposures: 2, Witness: "down"},
		Window: WindowOf(Stated(testSettings, Exposure{Class: record.Silent}), Exposure{Class: record.Silent}), Settle: SettleWindow(testSettings),
		Processes: []Snapshots{{
			B: holdings(0, session(8, 108, 18, "1")),
			E: holdings(1, session(8, 108, 18, "1"), visitor),
			F: holdings(6),
			G: holdings(8, session(8, 208, 28, "2")),
		}},
		Outcome:  record.Outcome{Returned: 5, First: 4.5, SettledAfter: 0.5},
		Services: []record.Service{{Client: "returning", OK: true}, {Client: "new", OK: true}},
	}
}

// weigh gives the server memory at B and at G.
func weigh(r *Round, before, after int64) {
	p := &r.Processes[0]
	p.B.Memory = record.Memory{RssAnon: before, Freed: true}
	p.G.Memory = record.Memory{RssAnon: after, Freed: true}
}

// heap is what the process of r tells of its heap, in B and G.
func heap(r *Round, before, after int64) {
	p := &r.Processes[0]
	p.B.Memory.HeapAlloc, p.G.Memory.HeapAlloc = before, after
}

// tell gives the server's sockets in E their options.
func tell(r *Round, o record.Options) {
	r.Settings = testSettings
	e := &r.Processes[0].E
	for i := range e.Sockets {
		e.Sockets[i].Options = &o
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*Round)
		verdict record.Verdict
		says    []string // in reason, where and why
	}{
		{"healthy", func(*Round) {}, record.Pass, []string{"2 connections went through cable pulled"}},
		{"held at T2, gone a moment later", func(r *Round) { r.Outcome.Returned = -1 },
			record.Late, []string{"something was still held 15 s after cable pulled"}},
		{"never at rest after the heal", func(r *Round) { r.Outcome.SettledAfter = -1 },
			record.Inconclusive, []string{"not at rest"}},
		{"a process died by itself, what its peer holds went through no fault", func(r *Round) {
			r.Outcome.Died, r.Fault.Bit = "the client ended by itself", false
			r.Processes[0].F = r.Processes[0].E
		}, record.Dead, []string{"the client ended by itself"}},
		{"reconnected inside the window", func(r *Round) {
			r.Processes[0].F = holdings(6, session(8, 208, 28, "2"))
		}, record.Pass, nil},
		{"same goroutine serves the next session", func(r *Round) {
			r.Processes[0].F = holdings(6, session(8, 208, 18, "2"))
			r.Processes[0].G = r.Processes[0].F
		}, record.Pass, nil},
		{"another process answers now", func(r *Round) {
			p := &r.Processes[0]
			p.F, p.G = p.E, p.B
			p.F.PID, p.G.PID = 8, 8
		}, record.Pass, nil},
		{"parked handler", func(r *Round) {
			parked := goroutine(18, "select (no cases)", named("1"), own+"(*Server).serveSession")
			r.Processes[0].F = holdings(15, descriptor(8, 108), parked)
			r.Processes[0].G = holdings(17, session(9, 208, 28, "2"), descriptor(8, 108), parked)
		}, record.Leak, []string{"server: 1 fd and 1 goroutine outlived the window of 5 s after cable pulled", "(*Server).serveSession server.go:10", "created by tunnel.(*Server).accept", "the process never closed its descriptor"}},
		{"visitor in CLOSE_WAIT", func(r *Round) {
			r.Processes[0].F = holdings(15, socket(9, 109, "10.1.0.2:8080", "10.1.0.1:5000", "CLOSE_WAIT"))
		}, record.Leak, []string{"1 socket outlived", "the peer closed, this process never did", "fd 9"}},
		{"goroutine left by the visit", func(r *Round) {
			r.Processes[0].F = holdings(15, goroutine(19, "chan receive", nil, own+"(*stream).wait"))
		}, record.Leak, []string{"1 goroutine outlived", "(*stream).wait"}},
		{"one more of a signature, one less of another", func(r *Round) {
			p := &r.Processes[0]
			p.B = holdings(0, session(8, 108, 18, "1"), goroutine(5, "select", nil, own+"(*a).loop"))
			p.G = holdings(8, session(8, 208, 28, "2"), goroutine(6, "select", nil, own+"(*b).loop"))
		}, record.Leak, []string{"server goroutines +1", "(*b).loop"}},
		{"descriptor left by the heal", func(r *Round) {
			r.Processes[0].G = holdings(8, session(8, 208, 28, "2"), descriptor(30, 300))
		}, record.Leak, []string{"server fds +1", "pid 7, fd 30, socket:[x]"}},
		{"fault without effect excuses everything", func(r *Round) {
			r.Fault.Bit = false
			r.Processes[0].F = r.Processes[0].E
		}, record.Inconclusive, []string{"did not bite", "down"}},
		{"nothing exposed", func(r *Round) { r.Fault.Exposures = 0 }, record.Inconclusive, []string{"no connection"}},
		{"no service", func(r *Round) {
			r.Services[1] = record.Service{Client: "new", Limit: 9, Error: "connection refused"}
		}, record.Dead, []string{"no service for the new client within 9 s", "connection refused"}},
		{"wrong byte", func(r *Round) { r.Outcome.Corrupt = "wrong byte at offset 7" }, record.Dead, []string{"offset 7"}},
		{"no process to judge", func(r *Round) { r.Processes = nil }, record.Inconclusive, []string{"nothing was judged: no process"}},
		{"no process to judge, and no service", func(r *Round) {
			r.Processes, r.Services[0] = nil, record.Service{Client: "returning", Limit: 9, Error: "503"}
		}, record.Dead, []string{"no service"}},
		{"no snapshot G", func(r *Round) { r.Processes[0].G = record.Sample{} }, record.Inconclusive, []string{"nothing was judged: a process has no snapshot G"}},
		{"no snapshot F of one that ran", func(r *Round) { r.Processes[0].F = record.Sample{} }, record.Inconclusive, []string{"no snapshot F"}},
		{"no snapshot F of one that was frozen", func(r *Round) {
			r.Processes[0].F, r.Fault.Class, r.Fault.Place = record.Sample{}, record.Frozen, "server"
		}, record.Pass, nil},
		{"lost before the fault", func(r *Round) { r.Outcome.Broken = "a visitor lost its connection" }, record.Dead, []string{"lost its connection"}},
		{"lost before the fault, on a machine that stood still", func(r *Round) {
			r.Outcome.Broken, r.Outcome.WaitedBefore = "a visitor lost its connection", 1
		}, record.Inconclusive, []string{"lost its connection", "stood still for up to 1 s"}},
		{"lost before the fault, on a machine that stood still only later", func(r *Round) {
			r.Outcome.Broken, r.Outcome.Waited, r.Outcome.WaitedAfter = "a visitor lost its connection", 1, 1
		}, record.Dead, []string{"lost its connection"}},
		{"given up before the fault", func(r *Round) {
			r.Outcome.Lost, r.Outcome.First = "the client gave up 26 of 104 connections before the fault", 0.09
		}, record.Dead, []string{"gave up 26 of 104"}},
		{"given up before a fault that may come at any moment of its life", func(r *Round) {
			r.Outcome.Lost, r.Window.Lower = "the client gave up 26 of 104 connections before the fault", 0
		}, record.Pass, nil},
		{"given up before the fault, on a machine that stood still", func(r *Round) {
			r.Outcome.Lost, r.Outcome.First, r.Outcome.Waited = "the client gave up 26 of 104 connections before the fault", 0.09, 0.74
		}, record.Inconclusive, []string{"gave up 26 of 104"}},
		{"given up before a fault that one survives, on a machine that stood still", func(r *Round) {
			r.Outcome.Lost, r.Outcome.First, r.Outcome.Waited = "the client gave up 1 of 104 connections before the fault", 0.09, 0.74
			r.Window.Survive = true
		}, record.Inconclusive, []string{"gave up 1 of 104"}},
		{"given up too early, on a machine that stood still for less", func(r *Round) {
			r.Outcome.First, r.Outcome.Waited = 0.09, 0.74
		}, record.Dead, []string{"given up 0.09 s after"}},
		{"a wrong byte on a machine that stood still, beside a connection that was given up", func(r *Round) {
			r.Outcome.Corrupt, r.Outcome.Waited, r.Outcome.First = "wrong byte at offset 7", 8, 1
			r.Window.Survive = true
		}, record.Dead, []string{"offset 7"}},
		{"a wrong byte, and the fault did not bite", func(r *Round) { r.Outcome.Corrupt, r.Fault.Bit = "wrong byte at offset 7", false }, record.Dead, []string{"offset 7"}},
		{"a wrong byte and a leak", func(r *Round) {
			r.Outcome.Corrupt = "wrong byte at offset 7"
			r.Processes[0].F = holdings(15, descriptor(8, 108))
		}, record.Leak, nil},
		{"another slowed by it", func(r *Round) {
			r.Outcome.Offer = &record.Offer{Capacity: 400e6, Offered: 100e6, Before: 99e6, During: 79e6}
		}, record.Dead, []string{"offered 100 MB/s", "79 MB/s"}},
		{"another hardly slowed by it", func(r *Round) {
			r.Outcome.Offer = &record.Offer{Capacity: 400e6, Offered: 100e6, Before: 99e6, During: 81e6}
		}, record.Pass, nil},
		{"another slowed by it, on a machine that stood still", func(r *Round) {
			r.Outcome.Offer = &record.Offer{Capacity: 400e6, Offered: 100e6, Before: 99e6, During: 61e6, Over: 5, Waited: 1}
		}, record.Inconclusive, []string{"61 MB/s"}},
		{"another slowed by more than the machine stood still for", func(r *Round) {
			r.Outcome.Offer = &record.Offer{Capacity: 400e6, Offered: 100e6, Before: 99e6, During: 59e6, Over: 5, Waited: 1}
		}, record.Dead, []string{"59 MB/s"}},
		{"another slow before it", func(r *Round) {
			r.Outcome.Offer = &record.Offer{Capacity: 400e6, Offered: 100e6, Before: 70e6, During: 70e6}
		}, record.Inconclusive, []string{"before the fault already"}},
		{"others lost by it", func(r *Round) { r.Outcome.Beside = "1 of 6 visitors of other clients" }, record.Dead, []string{"1 of 6"}},
		{"others lost by it, on a machine that stood still", func(r *Round) { r.Outcome.Beside, r.Outcome.Waited = "1 of 6 visitors of other clients", 1 }, record.Inconclusive, []string{"1 of 6", "stood still"}},
		{"nothing flows any more", func(r *Round) { r.Outcome.Stalled = "no byte has come" }, record.Dead, []string{"no byte"}},
		{"nothing flows any more, on a machine that stood still", func(r *Round) { r.Outcome.Stalled, r.Outcome.Waited = "no byte has come", 1 }, record.Inconclusive, []string{"no byte", "stood still"}},
		{"given up early by what the machine waited, and then no service", func(r *Round) {
			r.Outcome.First, r.Outcome.Waited = r.Window.Lower-0.3, 0.8
			r.Services[1] = record.Service{Client: "new", Limit: 9, Error: "connection refused"}
		}, record.Dead, []string{"no service for the new client"}},
		{"given up in a flap on a machine that stood still, and then no service", func(r *Round) {
			r.Window.Survive, r.Processes[0].F = true, r.Processes[0].E
			r.Outcome.First, r.Outcome.Waited = 2, 0.8
			r.Services[0] = record.Service{Client: "returning", Limit: 9, Error: "connection refused"}
		}, record.Dead, []string{"no service for the returning client"}},
		{"one client was served late by what the machine waited, the other not at all", func(r *Round) {
			r.Services[0].After, r.Outcome.WaitedAfter = r.Services[0].Limit+1, 2
			r.Services[1] = record.Service{Client: "new", Limit: 9, Error: "connection refused"}
		}, record.Dead, []string{"no service for the new client"}},
		{"late in the window by what the machine waited, and late to settle on its own", func(r *Round) {
			r.Outcome.Returned, r.Outcome.Waited, r.Outcome.SettledAfter = 6.8, 0.8, 7
		}, record.Late, []string{"back at the baseline"}},
		{"died", func(r *Round) { r.Outcome.Died = "the server ended by itself: exit status 2" }, record.Dead, []string{"by itself"}},
		{"late", func(r *Round) { r.Outcome.Returned = 6.2 }, record.Late, []string{"6.2 s", "deadline was 6.1 s"}},
		{"late, on a machine that waited a little", func(r *Round) { r.Outcome.Returned, r.Outcome.Waited = 6.2, 0.4 }, record.Late, nil},
		{"late by what the machine stood still", func(r *Round) { r.Outcome.Returned, r.Outcome.Waited = 6.8, 0.8 }, record.Inconclusive, []string{"stood still for up to 0.8 s"}},
		{"late by what the machine waited in many steps", func(r *Round) { r.Outcome.Returned, r.Outcome.Starved, r.Outcome.Waited = 8.9, 0.4, 3 }, record.Inconclusive, []string{"stood still for up to 3 s"}},
		{"late, and the machine stood still only after the heal", func(r *Round) {
			r.Outcome.Returned, r.Outcome.Starved, r.Outcome.WaitedAfter = 6.8, 0.8, 0.9
		}, record.Late, nil},
		{"served late, and the machine stood still only in the window", func(r *Round) {
			r.Services[0].After, r.Outcome.Starved, r.Outcome.Waited = r.Services[0].Limit+1, 0.8, 0.9
		}, record.Dead, []string{"was served"}},
		{"late, and the machine waited only after the heal", func(r *Round) { r.Outcome.Returned, r.Outcome.WaitedAfter = 8.9, 3 }, record.Late, nil},
		{"served late by what the machine waited", func(r *Round) { r.Services[0].After, r.Outcome.WaitedAfter = r.Services[0].Limit+1, 2 }, record.Inconclusive, []string{"was served"}},
		{"served late on a machine that waited before", func(r *Round) { r.Services[0].After, r.Outcome.Waited = r.Services[0].Limit+1, 2 }, record.Dead, []string{"was served"}},
		{"given up early by what the machine waited", func(r *Round) { r.Outcome.First, r.Outcome.Waited = r.Window.Lower-0.3, 0.8 }, record.Inconclusive, []string{"must live"}},
		{"given up much too early", func(r *Round) { r.Outcome.First, r.Outcome.Waited = r.Window.Lower-0.9, 0.8 }, record.Dead, []string{"must live"}},
		{"late by more than the machine stood still", func(r *Round) { r.Outcome.Returned, r.Outcome.Waited = 7, 0.8 }, record.Late, nil},
		{"late to settle", func(r *Round) { r.Outcome.SettledAfter = 7 }, record.Late, []string{"deadline was 4.1 s"}},
		{"gave up a healthy connection", func(r *Round) { r.Outcome.First = 1.7 }, record.Dead, []string{"given up 1.7 s after cable pulled", "must live for 3.5 s"}},
		{"survived a flap", func(r *Round) {
			r.Window = WindowOf(Stated(testSettings, Exposure{Class: record.Flap}), Exposure{Class: record.Flap})
			r.Processes[0].F = r.Processes[0].E
			r.Outcome.First, r.Outcome.Returned = -1, -1
		}, record.Pass, []string{"2 connections survived"}},
		{"died of a flap", func(r *Round) {
			r.Window = WindowOf(Stated(testSettings, Exposure{Class: record.Flap}), Exposure{Class: record.Flap})
			r.Processes[0].F = r.Processes[0].E
			r.Outcome.First, r.Outcome.Returned = 5, -1
		}, record.Dead, []string{"which a healthy one survives"}},
		{"lost between the last look and F", func(r *Round) {
			p := &r.Processes[0]
			r.Window.Survive = true
			p.F = holdings(6, session(8, 108, 18, "1")) // the visitor is gone
			p.G = p.B
			r.Outcome.First, r.Outcome.Returned = -1, -1
		}, record.Dead, []string{"1 connection gone when cable pulled had been survived"}},
		{"nobody gave up", func(r *Round) { r.Outcome.First = -1 }, record.Pass, nil},
		{"the file lies about the sockets", func(r *Round) {
			tell(r, record.Options{Protocol: 6, Keepalive: true, KeepaliveIdle: 2, KeepaliveInterval: 1, KeepaliveCount: 3, UserTimeout: 50})
		}, record.Inconclusive, []string{"file belies its sockets", "TCP_USER_TIMEOUT 50 s", "says 5 s"}},
		{"the sockets are as the file says", func(r *Round) {
			tell(r, record.Options{Protocol: 6, Keepalive: true, KeepaliveIdle: 2, KeepaliveInterval: 1, KeepaliveCount: 3, UserTimeout: 5})
		}, record.Pass, nil},
		{"the heap grew", func(r *Round) { weigh(r, 5<<20, 7<<20); heap(r, 1<<20, 3<<20+1<<10) }, record.Leak, []string{"server HeapAlloc +2.0 MiB"}},
		{"the heap keeps the buffers of a burst", func(r *Round) { weigh(r, 5<<20, 7<<20); heap(r, 1_980_376, 3_032_872) }, record.Pass, nil},
		{"the heap did not grow, and threads came", func(r *Round) { weigh(r, 5<<20, 8<<20); heap(r, 1<<20, 1<<20+300<<10) }, record.Pass, nil},
		{"the heap did not grow, and much else did", func(r *Round) { weigh(r, 5<<20, 10<<20); heap(r, 1<<20, 1<<20) }, record.Leak, []string{"server RssAnon +5.0 MiB"}},
		{"memory grew", func(r *Round) { weigh(r, 5<<20, 8<<20) }, record.Leak, []string{"server RssAnon +3.0 MiB"}},
		{"memory grew a little", func(r *Round) { weigh(r, 5<<20, 7<<20) }, record.Pass, nil},
		{"a tenth of much memory", func(r *Round) { weigh(r, 50<<20, 55<<20) }, record.Pass, nil},
		{"memory of a target that cannot free it", func(r *Round) {
			weigh(r, 5<<20, 50<<20)
			r.Processes[0].G.Memory.Freed = false
		}, record.Pass, nil},
		{"the server died, and its client has nobody to log in to", func(r *Round) {
			r.Outcome.Died = "the server ended by itself: signal: killed"
			r.Processes[0].G = holdings(8, session(8, 208, 28, "2"), goroutine(30, "select", nil, own+"(*Client).reconnect"))
		}, record.Dead, []string{"by itself"}},
		{"a client that cannot log in holds something else, not more", func(r *Round) {
			client := Snapshots{B: holdings(0, session(8, 108, 18, "1")), E: holdings(1, session(8, 108, 18, "1")), F: holdings(6), G: holdings(8, goroutine(30, "select", nil, own+"(*Client).reconnect"))}
			for _, s := range []*record.Sample{&client.B, &client.E, &client.F, &client.G} {
				s.Role = "client"
			}
			r.Processes = append(r.Processes, client)
			r.Services[0] = record.Service{Client: "returning", Limit: 9, Error: "503"}
		}, record.Dead, []string{"no service for the returning client"}},
		{"what came between two rounds of a soak counts for the later", func(r *Round) {
			p := &r.Processes[0]
			p.Before = p.B
			late := goroutine(40, "select (no cases)", nil, own+"late")
			late(&p.B)
			late(&p.E)
			late(&p.F)
			late(&p.G)
		}, record.Leak, []string{"server goroutines +1", "late"}},
		{"leak goes before dead and late", func(r *Round) {
			r.Outcome.Returned, r.Outcome.Died = 9, "the server ended"
			r.Processes[0].F = holdings(15, descriptor(8, 108))
		}, record.Leak, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := healthy()
			c.change(&r)
			j := Judge(r)
			if j.Verdict != c.verdict {
				t.Fatalf("verdict is %s (%s), want %s", j.Verdict, j.Reason, c.verdict)
			}
			text := j.Reason + "\n" + j.Where + "\n" + j.Why
			for _, s := range c.says {
				if !strings.Contains(text, s) {
					t.Errorf("%q does not say %q", text, s)
				}
			}
		})
	}
}

// What a soak may leave out is what a wait may explain.
func TestStarved(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Round)
		want   bool
	}{
		{"given up in a flap", func(r *Round) { r.Window.Survive, r.Outcome.First, r.Outcome.Waited = true, 1, 3 }, true},
		{"the fault did not bite", func(r *Round) { r.Fault.Bit, r.Outcome.Waited = false, 3 }, true},
		{"the fault did not bite, on a calm machine", func(r *Round) { r.Fault.Bit = false }, false},
		{"a file that lies", func(r *Round) {
			tell(r, record.Options{Protocol: 6, Keepalive: true, KeepaliveIdle: 2, KeepaliveInterval: 1, KeepaliveCount: 3, UserTimeout: 50})
			r.Outcome.Waited = 3
		}, false},
		{"a gauge that is gone", func(r *Round) {
			r.Processes[0].B.Gauges = []record.Gauge{{Name: "held", Value: 1}}
			r.Outcome.Waited = 3
		}, false},
	} {
		r := healthy()
		c.change(&r)
		if j := Judge(r); j.Verdict != record.Inconclusive || j.Starved != c.want {
			t.Errorf("%s: %s, starved %v: %s", c.name, j.Verdict, j.Starved, j.Reason)
		}
	}
}

func TestWhySocket(t *testing.T) {
	for _, c := range []struct {
		state, timer, want string
	}{
		{"ESTABLISHED", "keepalive", "keepalive probes are running (2 unanswered)"},
		{"ESTABLISHED", "retransmit", "keepalive is off (retransmission 2)"},
		{"ESTABLISHED", "persist", "wait for the peer's window"},
		{"CLOSE_WAIT", "none", "CLOSE_WAIT, no kernel timer: the peer closed"},
		{"CLOSE", "none", "never closed its descriptor"},
	} {
		got := whySocket(record.Socket{State: c.state, Timer: c.timer, Retries: 2, SendQ: 10})
		if !strings.Contains(got, c.want) {
			t.Errorf("%s with timer %s: %q does not say %q", c.state, c.timer, got, c.want)
		}
	}
}

func TestExposed(t *testing.T) {
	b := holdings(0, session(8, 108, 18, "1"),
		socket(6, 106, "10.0.0.1:4443", "10.0.0.2:1", "CLOSE_WAIT"), // left over from before
		descriptor(7, 107)) // the same, and the kernel has forgotten it
	e := holdings(1, session(8, 108, 18, "1"), visitor,
		socket(6, 106, "10.0.0.1:4443", "10.0.0.2:1", "CLOSE_WAIT"), descriptor(7, 107),
		socket(5, 105, "127.0.0.1:6060", "127.0.0.1:999", "ESTABLISHED"),
		socket(10, 110, "10.1.0.2:8080", "10.1.0.1:5001", "CLOSE_WAIT")) // a half-closed visitor
	var got []uint64
	for _, s := range Exposed(record.Fault{}, b, e) {
		got = append(got, s.Inode)
	}
	if !slices.Equal(got, []uint64{108, 109, 110}) {
		t.Errorf("exposed are %v, want the session and both visitors", got)
	}
	atVisitors := record.Fault{Peers: map[string][]string{"server": {"10.1.0.1"}}}
	got = nil
	for _, s := range Exposed(atVisitors, b, e) {
		got = append(got, s.Inode)
	}
	if !slices.Equal(got, []uint64{109, 110}) {
		t.Errorf("exposed to a fault at the visitors are %v, want them alone", got)
	}
}

// Another client's connections live on, at the same address or another, and so do the
// goroutines that serve them: they did not go through the fault.
func TestSparedIsNoSurvivor(t *testing.T) {
	work := func(id int64, session, peer string) func(*record.Sample) {
		return goroutine(id, "IO wait", map[string]string{"session": session, "peer": peer}, own+"(*stream).pump")
	}
	b := holdings(0)
	e := holdings(1,
		socket(8, 108, "10.2.0.1:4443", "10.2.0.2:40000", "ESTABLISHED"), work(18, "1.0", "10.2.0.2:40000"),
		socket(9, 109, "10.2.0.1:4443", "10.2.0.2:40001", "ESTABLISHED"), work(19, "2.0", "10.2.0.2:40001"),
		socket(10, 110, "10.5.0.2:8080", "10.5.0.1:5001", "ESTABLISHED"), work(20, "2.0", "10.5.0.1:5001"))
	spares := record.Fault{Spared: map[string][]string{"server": {"10.5.0.1", "10.2.0.2:40001"}}}
	for _, c := range []struct {
		fault record.Fault
		fds   []uint64
		ids   []int64
	}{
		{spares, []uint64{108}, []int64{18}},
		{record.Fault{}, []uint64{108, 109, 110}, []int64{18, 19, 20}},
		{record.Fault{Spared: map[string][]string{"client": {"10.5.0.1", "10.2.0.2"}}}, []uint64{108, 109, 110}, []int64{18, 19, 20}},
	} {
		var fds []uint64
		var ids []int64
		for _, v := range Survivors(c.fault, b, e, e) {
			if v.Goroutine != nil {
				ids = append(ids, v.Goroutine.ID)
			} else {
				fds = append(fds, v.FD.Inode)
			}
		}
		if !slices.Equal(fds, c.fds) || !slices.Equal(ids, c.ids) {
			t.Errorf("spared %v: survivors are %v and goroutines %v, want %v and %v", c.fault.Spared, fds, ids, c.fds, c.ids)
		}
	}
}

func TestWhatWasLeftOverBeforeIsNoSurvivor(t *testing.T) {
	left := func(s *record.Sample) {
		descriptor(7, 107)(s)
		goroutine(17, "select (no cases)", map[string]string{"session": "0", "peer": "10.0.0.2:40000"}, own+"(*Server).serveSession")(s)
	}
	r := healthy()
	p := &r.Processes[0]
	left(&p.B)
	left(&p.E)
	left(&p.F)
	left(&p.G)
	if j := Judge(r); j.Verdict != record.Pass {
		t.Errorf("verdict is %s: %s", j.Verdict, j.Reason)
	}
}

func TestPlaceNamesTheProgramsOwnFunctions(t *testing.T) {
	at := func(name, file string, line int) record.Frame {
		return record.Frame{Func: name, File: file, Line: line}
	}
	g := record.Goroutine{
		Frames: []record.Frame{
			at("internal/poll.(*FD).Read", "fd.go", 1), at(own+"(*Server).serveSession", "server.go", 2),
			at(own+"(*Server).Start.func1", "server.go", 3), at("sync.(*WaitGroup).Go.func1", "waitgroup.go", 4),
		},
		Creator: at("sync.(*WaitGroup).Go", "waitgroup.go", 5),
	}
	if got, want := Place(g), "tunnel.(*Server).serveSession server.go:2, created by tunnel.(*Server).Start.func1 server.go:3"; got != want {
		t.Errorf("place is %q, want %q", got, want)
	}
	g.Creator = at("main.main", "main.go", 6)
	if got, want := Place(g), "tunnel.(*Server).serveSession server.go:2, created by main.main main.go:6"; got != want {
		t.Errorf("place is %q, want %q", got, want)
	}
}

func TestExcessIsBlamedOnWhoLostItsPeer(t *testing.T) {
	reads := func(id int64, peer string) func(*record.Sample) {
		return goroutine(id, "IO wait", map[string]string{"peer": peer}, own+"read")
	}
	b := holdings(0, reads(20, "10.0.0.2:1"), reads(21, "10.0.0.2:2"),
		socket(8, 108, "10.0.0.1:4443", "10.0.0.2:2", "ESTABLISHED")) // 20 was lonely already
	g := holdings(9, reads(20, "10.0.0.2:1"), reads(21, "10.0.0.2:2"), reads(30, "10.0.0.2:3"),
		socket(9, 109, "10.0.0.1:4443", "10.0.0.2:3", "ESTABLISHED"))
	_, excess := Excesses(b, b, b, g)
	if len(excess) != 1 || len(excess[0].Holders) != 1 || excess[0].Holders[0].ID != 21 {
		t.Errorf("excess is %+v, want goroutine 21 to blame", excess)
	}
}
