package reports

import (
	"fmt"
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

var catalogue = []string{
	"Client death kill -9 with traffic in flight: the server closes its sessions",
	"Client death SIGTERM drains and closes",
	"NAT expiry is noticed by both ends within the window",
	"Cable pulled at the visitor while it downloads",
	"Origin accepts and stays silent",
}

// passRun is a clean catalogue, with one spec skipped.
func passRun(t *testing.T) *recordBuilder {
	b := newRecord(t).run("scenarios", "make test")
	for i, name := range catalogue {
		id := fmt.Sprintf("spec-%d", i)
		b.begin(id, name, "catalogue", "scenarios/death_test.go", 20+10*i)
		b.play(scene{spec: id, exposed: 54, detection: 0.4 + 0.8*float64(i)})
		b.end(id, "passed", "", 18.2)
	}
	b.begin("spec-9", "MTU black hole on the router", "catalogue", "scenarios/path_test.go", 77)
	b.add("spec-9", 0, record.Event{Kind: record.KindVerdict, Verdict: &record.Judgement{Verdict: record.Skipped, Reason: "the kernel lacks iptables TCPMSS", Returned: -1}})
	b.end("spec-9", "skipped", "", 0.1)
	return b.finish("done", 96)
}

// leakRun is passRun with a spec in which one session of the server stays.
func leakRun(t *testing.T) *recordBuilder {
	b := passRun(t)
	b.events = b.events[:len(b.events)-1]
	b.begin("leaky", "Login churn silent death with quick re-login over the old one", "catalogue", "scenarios/churn_test.go", 41)
	b.play(scene{spec: "leaky", exposed: 24, leaked: 1})
	b.add("leaky", 0, record.Event{Kind: record.KindEvidence, Evidence: &record.Evidence{Dir: "evidence/1-1-7", Redacted: 3, Files: []record.EvidenceFile{
		{Name: "server.pcapng", What: "the last 4096 packets at the server's cables, for Wireshark or tcpdump; 731 before them were not kept", Bytes: 1_286_324},
		{Name: "server-1.log", What: "what the process printed", Bytes: 524_283, Cut: true}, {Name: "server-fds.txt", What: "descriptors at each snapshot", Bytes: 4141},
	}, Missing: []string{"client-goroutines-after.txt: none was had of the client of snapshot B at the window's end, or later"}}})
	b.end("leaky", "failed", "1 session socket outlived its window\nscenarios/churn_test.go:52", 31.4)
	b.begin("open", "Router reboot is survived", "catalogue", "scenarios/nat_test.go", 90)
	for phase, witness := range map[string]string{"injected": "", "witnessed": "conntrack still has the mapping 10.0.2.2:40112"} {
		b.add("open", 0, record.Event{Kind: record.KindFault, Fault: &record.Fault{ID: 1, Name: "NAT expiry (silent)", Place: "router", Class: record.Silent, Phase: phase, Witness: witness}})
	}
	b.add("open", 0, record.Event{Kind: record.KindVerdict, Verdict: &record.Judgement{Verdict: record.Inconclusive, Reason: "the fault did not bite: the mapping was still there", Fault: "NAT expiry (silent) at router", Returned: -1}})
	b.end("open", "failed", "did not bite", 3)
	return b.finish("done", 131)
}

// lateRun is passRun with a spec in which all went, after its deadline.
func lateRun(t *testing.T) *recordBuilder {
	b := passRun(t)
	b.events = b.events[:len(b.events)-1]
	b.begin("late", "Cable pulled at the client while it uploads", "catalogue", "scenarios/cable_test.go", 33)
	j := b.play(scene{spec: "late", fault: "cable pulled", place: "client", exposed: 24, detection: 8.3})
	j.Verdict, j.Reason = record.Late, "all is gone 8.3 s after cable pulled, but the deadline was 7.1 s"
	b.end("late", "failed", j.Reason, 22)
	return b.finish("done", 118)
}

// soakRun has a spec of n cycles; in the bad ones a session stays.
func soakRun(t *testing.T, n int, bad ...int) *recordBuilder {
	b := newRecord(t).run("soak", "make soak DURATION=2h SEED=8812")
	b.begin("soak", "Soak: faults in cycles", "soak", "scenarios/soak_test.go", 30)
	faults := []string{"kill -9", "cable pulled", "NAT expiry (silent)", "freeze", "blackhole both ways"}
	leaked := 0
	for c := 1; c <= n; c++ {
		s := scene{before: leaked, spec: "soak", cycle: c, exposed: 24, fault: faults[c%len(faults)], place: "client", detection: 0.4 + float64(c*7%23)/5}
		for _, x := range bad {
			if x == c {
				s.leaked = 1
				leaked++
			}
		}
		b.play(s)
	}
	b.end("soak", "passed", "", float64(n)*14)
	return b.finish("done", float64(n)*14)
}

// survivedRun is a clean run of faults after which nothing has to go: one that is to be
// survived, a schedule of several, and a soak with both and with others.
func survivedRun(t testing.TB) *recordBuilder {
	b := newRecord(t).run("soak", "make soak DURATION=1m SEED=8812")
	flap := scene{spec: "flap", fault: "flap of 2 s", place: "client", exposed: 24, survive: true}
	b.begin(flap.spec, "A short outage is survived", "catalogue", "scenarios/path_test.go", 12)
	b.play(flap)
	b.end(flap.spec, "passed", "", 18)
	mixed := scene{spec: "mixed", fault: "a schedule of 2 steps", place: "several places", exposed: 24, may: true}
	b.begin(mixed.spec, "A schedule of faults", "catalogue", "scenarios/schedule_test.go", 12)
	b.play(mixed)
	b.end(mixed.spec, "passed", "", 18)
	b.begin("soak", "Soak: faults in cycles", "soak", "scenarios/soak_test.go", 30)
	for c := 1; c <= 6; c++ {
		s := scene{spec: "soak", cycle: c, exposed: 24, fault: "kill -9", place: "client", detection: 0.4 + 0.2*float64(c)}
		if c%3 == 2 {
			s.fault, s.survive = flap.fault, true
		}
		b.play(s)
	}
	b.end("soak", "passed", "", 84)
	return b.finish("done", 120)
}

// interruptedRun was stopped in its second spec.
func interruptedRun(t *testing.T) *recordBuilder {
	b := newRecord(t).run("scenarios", "make test")
	b.begin("one", catalogue[0], "catalogue", "scenarios/death_test.go", 20)
	b.play(scene{spec: "one", exposed: 54})
	b.end("one", "passed", "", 18)
	b.begin("two", catalogue[1], "catalogue", "scenarios/death_test.go", 30)
	b.end("two", "interrupted", "", 2)
	return b.finish("interrupted", 21)
}

// evil holds what a peer, a target or a file name could put into a record.
const evil = `</title></style></pre><script>alert(1)</script><img src=x onerror=alert(2)>"'` + "`{{.}}]]>\x00\x01\x1b[31m\u202eevil\u0085&amp;"

// hostileRun has evil in every text.
func hostileRun(t *testing.T) *recordBuilder {
	b := newRecord(t).run(evil, evil)
	r := b.events[0].Run
	long := strings.Repeat("<b>", 350_000) + "\xff\xfe\u061c\u200f" // a line of 1 MB
	b.events = append(b.events, record.Event{Kind: record.KindCheck, Check: &record.Check{What: long, OK: true}})
	r.Target, r.TargetFile, r.TargetHash, r.Mutant = evil, evil, evil, evil
	r.Environment = record.Environment{Kernel: evil, OS: evil, Go: evil, Iptables: evil, User: evil, Commit: evil}
	b.begin(evil, evil, evil, evil, -1)
	begin := b.events[len(b.events)-1].Begin
	begin.Replay, begin.Topology, begin.Labels = evil, evil, []string{evil}
	b.play(scene{spec: evil, fault: evil, place: evil, exposed: 24, leaked: 2})
	for i := range b.events {
		e := &b.events[i]
		switch {
		case e.Verdict != nil:
			j := e.Verdict
			j.Reason, j.Where, j.Why, j.Fault = evil+long, evil, evil, evil
			j.Excess[0].Role, j.Excess[0].Signature = evil, evil
			for k := range j.Survivors {
				s := &j.Survivors[k]
				s.Role, s.Resource, s.Peer, s.Why, s.Moment = evil, evil, evil, evil, record.Label(evil)
				if s.Socket != nil {
					s.Socket.Local, s.Socket.Remote, s.Socket.State, s.Socket.Timer = evil, evil, evil, evil
				}
				if s.Goroutine != nil {
					s.Goroutine.State, s.Goroutine.Labels = evil, map[string]string{evil: evil}
					s.Goroutine.Frames = []record.Frame{{Func: evil, File: evil}}
				}
			}
			j.Table[0].Role, j.Table[0].Resource, j.Table[0].Unit, j.Table[0].Note = evil, evil, evil, evil
		case e.Point != nil:
			e.Point.Role = evil
			e.Point.Sockets, e.Point.Kernel = map[string]int{evil: 3}, map[string]int{evil + "2": 4}
		case e.Process != nil:
			e.Process.Role, e.Process.Host, e.Process.What, e.Process.Detail = evil, evil, "exited", evil
			e.Process.Argv, e.Process.Tail = []string{evil}, []string{evil, strings.Repeat("x", 100000)}
		case e.Service != nil:
			e.Service.Client, e.Service.Error, e.Service.OK = evil, evil, false
		case e.Window != nil:
			e.Window.Rows[0] = record.Bound{Role: evil, Sockets: evil, Detector: evil, Formula: evil}
		}
	}
	b.add(evil, 0, record.Event{Kind: record.KindVerdict, Verdict: &record.Judgement{Verdict: record.Verdict(evil), Reason: evil}})
	b.end(evil, evil, evil, 3)
	b.add("", 0, record.Event{Kind: record.KindFinish, Finish: &record.Finish{Reason: evil, Detail: evil}})
	return b
}
