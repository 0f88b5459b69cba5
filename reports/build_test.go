package reports

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/record"
)

// recordBuilder makes records as the harness writes them, on a clock of its own.
type recordBuilder struct {
	t      testing.TB
	now    time.Time
	events []record.Event
}

func newRecord(t testing.TB) *recordBuilder {
	b := &recordBuilder{t: t, now: time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)}
	return b
}

// run writes the head.
func (b *recordBuilder) run(name, command string) *recordBuilder {
	b.add("", 0, record.Event{Kind: record.KindRun, Run: &record.Run{
		Version: record.Version, Name: name, Seed: 8812, Command: command,
		Target: "tunnel", TargetFile: "scenarios/targets/tunnel.yaml", TargetHash: "3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		Settings: record.Settings{KeepaliveIdle: 2, KeepaliveInterval: 1, KeepaliveCount: 3, UserTimeout: 5, HeartbeatInterval: 1, HeartbeatDeadline: 5,
			HalfClose: 3, Handshake: 2, Flush: 2, Dial: 2, BackoffCap: 1, BackoffJitter: 0.5},
		Environment: record.Environment{Kernel: "6.18.3", OS: "Debian GNU/Linux 13", Go: "go1.26.8", CPUs: 2, Load1: 1.24, Iptables: "v1.8.11 (nf_tables)", User: "ordinary user", Commit: "4f2a91c"},
	}})
	return b
}

func (b *recordBuilder) add(spec string, cycle int, e record.Event) {
	e.At, e.Spec, e.Cycle = b.now, spec, cycle
	b.events = append(b.events, e)
}

func (b *recordBuilder) pass(d float64) { b.now = b.now.Add(time.Duration(d * float64(time.Second))) }

func (b *recordBuilder) begin(id, name, suite, file string, line int) {
	b.add(id, 0, record.Event{Kind: record.KindBegin, Begin: &record.Spec{
		Name: name, Suite: suite, File: file, Line: line, Labels: []string{"quick", "process"},
		Topology: "\nvisitor ---- server ---- router ---- client ---- origin\n 10.0.3.2     10.0.1.1     NAT      10.0.2.2\n",
		Replay:   fmt.Sprintf("go tool ginkgo -focus %q ./scenarios -- -seed=8812", name),
	}})
}

func (b *recordBuilder) end(id, state, failure string, seconds float64) {
	b.add(id, 0, record.Event{Kind: record.KindEnd, End: &record.End{State: state, Failure: failure, Duration: seconds}})
}

func (b *recordBuilder) finish(reason string, seconds float64) *recordBuilder {
	b.add("", 0, record.Event{Kind: record.KindFinish, Finish: &record.Finish{Reason: reason, Duration: seconds}})
	return b
}

// story is one round: baseline, load, kill -9 of the client, window, heal.
type scene struct {
	spec       string
	cycle      int
	fault      string
	place      string
	exposed    int
	before     int // what earlier cycles leaked
	leaked     int // session fds and goroutines that stay with the server
	detection  float64
	coarse     bool // few points: for long soaks
	noSnapshot bool
	survive    bool // nothing may die of the fault
	may        bool // some may, others not
}

var session = record.Goroutine{
	ID: 212, State: "IO wait", Labels: map[string]string{"role": "session", "session": "7", "peer": "10.0.2.2:40112"},
	Frames: []record.Frame{
		{Func: "internal/poll.runtime_pollWait", File: "/usr/local/go/src/runtime/netpoll.go", Line: 351},
		{Func: "internal/poll.(*FD).Read", File: "/usr/local/go/src/internal/poll/fd_unix.go", Line: 165},
		{Func: "net.(*conn).Read", File: "/usr/local/go/src/net/net.go", Line: 196},
		{Func: "crypto/tls.(*Conn).Read", File: "/usr/local/go/src/crypto/tls/conn.go", Line: 1385},
		{Func: "github.com/halfopen/halfopen/tunnel/mux.(*session).readLoop", File: "/src/tunnel/mux/session.go", Line: 212},
		{Func: "github.com/halfopen/halfopen/tunnel/server.(*login).serve", File: "/src/tunnel/server/login.go", Line: 98},
	},
	Creator: record.Frame{Func: "github.com/halfopen/halfopen/tunnel/server.(*Server).acceptLoop", File: "/src/tunnel/server/accept.go", Line: 61},
	Parent:  34,
}

func (b *recordBuilder) play(s scene) *record.Judgement {
	if s.fault == "" {
		s.fault, s.place = "kill -9", "client"
	}
	if s.detection == 0 {
		s.detection = 0.4
	}
	step := 0.25
	if s.coarse {
		step = 2
	}
	server := 4121
	client := 4188 // another one after the heal
	leaked := s.before
	point := func(sessions, survivors, extraFDs int) {
		b.add(s.spec, s.cycle, record.Event{Kind: record.KindPoint, Point: &record.Point{Role: "server", PID: server, FDs: 9 + sessions + leaked + extraFDs,
			Sockets: map[string]int{"LISTEN": 3, "ESTABLISHED": sessions + extraFDs, "CLOSE_WAIT": leaked}, Kernel: map[string]int{"TIME_WAIT": extraFDs / 4},
			RssAnon: 14<<20 + int64(sessions)<<16 + int64(b.now.Nanosecond()%7)<<12, Survivors: survivors}})
		if sessions > 0 {
			b.add(s.spec, s.cycle, record.Event{Kind: record.KindPoint, Point: &record.Point{Role: "client", PID: client, FDs: 8 + sessions + extraFDs,
				Sockets: map[string]int{"ESTABLISHED": sessions + extraFDs}, RssAnon: 11 << 20}})
		}
	}
	snap := func(label record.Label, sessions int) {
		if s.noSnapshot {
			return
		}
		var fds []record.FD
		for i := range 9 + sessions + leaked {
			fds = append(fds, record.FD{Number: i, Target: fmt.Sprintf("socket:[%d]", 9000+i), Inode: uint64(9000 + i)})
		}
		var sockets []record.Socket
		for i := range 3 + sessions + leaked {
			sockets = append(sockets, record.Socket{FD: 6 + i, Inode: uint64(9006 + i), Local: "10.0.1.1:4443", Remote: fmt.Sprintf("10.0.2.2:%d", 40100+i), State: "ESTABLISHED", Timer: "keepalive"})
		}
		b.add(s.spec, s.cycle, record.Event{Kind: record.KindSnapshot, Snapshot: &record.Snapshot{Label: label, Sample: record.Sample{
			Role: "server", PID: server, At: b.now, FDs: fds, Sockets: sockets, States: map[string]int{"LISTEN": 3, "ESTABLISHED": sessions, "CLOSE_WAIT": leaked},
			Threads: 9, Memory: record.Memory{RssAnon: 14 << 20}, Groups: []record.Group{{Signature: "main.main", Count: 13 + 2*sessions + leaked}}}}})
	}
	stay := func(seconds float64, sessions, survivors, extra int) {
		for t := 0.0; t < seconds; t += step {
			point(sessions, survivors, extra)
			b.pass(step)
		}
	}
	fault := func(phase, witness string) {
		b.add(s.spec, s.cycle, record.Event{Kind: record.KindFault, Fault: &record.Fault{ID: 1, Name: s.fault, Place: s.place, Class: record.Closed,
			Phase: phase, Witness: witness, Bit: witness != "", Exposures: s.exposed}})
	}
	for i, role := range []string{"server", "client"} {
		b.add(s.spec, s.cycle, record.Event{Kind: record.KindProcess, Process: &record.Process{Role: role, Host: role, PID: server + 67*i, What: "started",
			Argv: []string{"/tmp/halfopen/tunnel", role, "-config", role + ".yaml"}}})
	}
	snap(record.Baseline, 4)
	stay(2, 4, 0, 0)
	stay(1, 4, 0, s.exposed/2)
	b.add(s.spec, s.cycle, record.Event{Kind: record.KindLoad, Load: &record.Load{Visitors: map[string]int{"websocket": s.exposed - 4, "http": 4}, Traffic: "in flight", Bytes: 13 << 20}})
	stay(2, 4, 0, s.exposed-4)
	snap(record.Exposed, 4)
	fault("injected", "")
	b.pass(0.05)
	fault("witnessed", "pid 4188 is gone; 4 sessions were ESTABLISHED on 10.0.1.1:4443")
	b.add(s.spec, s.cycle, record.Event{Kind: record.KindProcess, Process: &record.Process{Role: "client", Host: "client", PID: client, What: "exited", Detail: "signal: killed",
		Tail: []string{"level=INFO msg=\"login accepted\" sessions=4"}}})
	b.add(s.spec, s.cycle, record.Event{Kind: record.KindWindow, Window: &record.Window{Upper: 5.6, Slack: 1.5, Deadline: 7.1, Last: 15.6, Lower: 4, Survive: s.survive, May: s.may, Rows: []record.Bound{
		{Role: "server", Sockets: "sessions", Detector: "peer's FIN or RST", Formula: "0 s: the kernel of the peer closes", Earliest: 0, Latest: 0.1},
		{Role: "server", Sockets: "sessions", Detector: "heartbeat deadline", Formula: "5 s × (1 + 1/8)", Earliest: 5, Latest: 5.6, Decides: true},
		{Role: "server", Sockets: "sessions", Detector: "TCP_USER_TIMEOUT", Formula: "5 s + 2 s idle", Earliest: 5, Latest: 7.9},
		{Role: "server", Sockets: "visitors", Detector: "write deadline", Formula: "none", Earliest: -1, Latest: -1},
	}}})
	stay(s.detection, 0, s.exposed, s.exposed-4)
	leaked += s.leaked
	stay(6.6, 0, s.leaked, 0)
	snap(record.WindowEnd, 0)
	if s.leaked > 0 {
		stay(9, 0, s.leaked, 0)
	}
	fault("healed", "")
	client = 4310
	b.add(s.spec, s.cycle, record.Event{Kind: record.KindProcess, Process: &record.Process{Role: "client", Host: "client", PID: client, What: "started"}})
	stay(1.2, 4, s.leaked, 8)
	b.add(s.spec, s.cycle, record.Event{Kind: record.KindService, Service: &record.Service{Client: "returning", OK: true, After: 0.9, Limit: 7}})
	b.add(s.spec, s.cycle, record.Event{Kind: record.KindService, Service: &record.Service{Client: "new", OK: true, After: 0.4, Limit: 7}})
	stay(1.5, 4, s.leaked, 0)
	snap(record.Settled, 4)
	j := s.judge()
	b.add(s.spec, s.cycle, record.Event{Kind: record.KindOutcome, Outcome: &record.Outcome{Judged: []string{"server"}, Returned: j.Returned, First: min(j.Returned, 0.3), SettledAfter: 0.5, Starved: 0.02, Pressure: 0.25, Waited: 0.03}})
	b.add(s.spec, s.cycle, record.Event{Kind: record.KindVerdict, Verdict: j})
	return j
}

func (s scene) judge() *record.Judgement {
	n, old := float64(s.leaked), float64(s.before)
	row := func(resource, unit string, base, peak, end, settled float64) record.Row {
		return record.Row{Role: "server", Resource: resource, Unit: unit, Baseline: base, Peak: peak, End: end, Settled: settled, Excess: max(settled-base, 0), OK: settled <= base}
	}
	j := &record.Judgement{Verdict: record.Pass, Exposures: s.exposed, FaultEvents: 1, Returned: s.detection,
		Fault:  fmt.Sprintf("%s at %s, %d connections exposed", s.fault, s.place, s.exposed),
		Reason: "nothing outlived the window",
		Table: []record.Row{
			row("goroutines", "", 21+old, 21+old+float64(s.exposed), 13+old+n, 21+old+n), row("fds", "", 13+old, 13+old+float64(s.exposed), 9+old+n, 13+old+n),
			row("sockets ESTABLISHED", "", 4, float64(s.exposed), 0, 4), row("sockets CLOSE_WAIT", "", old, old+n, old+n, old+n),
			row("gauge tunnel_pre_auth_connections", "", 0, 2, 0, 0), row("gauge tunnel_queued_in_bytes", "", 0, 0, 0, 0),
			{Role: "server", Resource: "RssAnon", Unit: "bytes", Baseline: 14 << 20, Peak: 16 << 20, End: 15 << 20, Settled: 14<<20 + 300<<10, Excess: 300 << 10, OK: true, Note: "shown, not judged in one round"},
		}}
	if s.survive || s.may {
		j.Returned = -1
	}
	if s.leaked == 0 {
		return j
	}
	j.Verdict, j.Returned = record.Leak, -1
	j.Reason = fmt.Sprintf("%s of the server outlived %s at %s, still held with its goroutine 15.6 s later", count(s.leaked, "session socket"), s.fault, s.place)
	j.Where = "mux.(*session).readLoop session.go:212, created by server.(*Server).acceptLoop accept.go:61"
	j.Why = "CLOSE_WAIT with no kernel timer: the peer closed, the server never did"
	for i := range s.leaked {
		g := session
		g.ID += int64(i)
		peer := fmt.Sprintf("10.0.2.2:%d", 40112+2*i)
		g.Labels = map[string]string{"role": "session", "session": fmt.Sprint(7 + i), "peer": peer}
		sock := record.Socket{FD: 19 + i, Inode: uint64(48213 + i), Local: "10.0.1.1:4443", Remote: peer, State: "CLOSE_WAIT", Timer: "none", RecvQ: 1, Silence: 15.5}
		j.Survivors = append(j.Survivors,
			record.Survivor{Role: "server", PID: 4121, Resource: "socket", Moment: record.WindowEnd, Socket: &sock, FD: &record.FD{Number: 19 + i, Target: fmt.Sprintf("socket:[%d]", 48213+i)},
				Peer: "session from " + peer, Age: 15.6, Why: "the peer closed"},
			record.Survivor{Role: "server", PID: 4121, Resource: "goroutine", Moment: record.WindowEnd, Goroutine: &g, Age: 15.6})
	}
	j.Excess = []record.Excess{{Role: "server", Signature: record.Signature(session.Frames, session.Creator.Func), Baseline: 4, Settled: 4 + s.leaked, Holders: []record.Goroutine{session}}}
	return j
}

// write stores the record in a run folder of its own.
func (b *recordBuilder) write() string {
	b.t.Helper()
	dir := filepath.Join(b.t.TempDir(), "20261120-093000-run")
	if err := os.Mkdir(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	w, err := record.Append(dir)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range b.events {
		if err := w.Write(e); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.t.Fatal(err)
	}
	return dir
}
