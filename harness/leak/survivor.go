package leak

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/halfopen/halfopen/harness/record"
)

// ClosedState is the State of a socket that the kernel has forgotten, while a
// process still holds its descriptor.
const ClosedState = "CLOSED (fd only)"

// The pprof labels by which a target may say to which session a goroutine belongs,
// and who is at the other end ("ip:port"). With them, a goroutine that outlives its
// session is seen by identity; without them, by the count of its signature.
const (
	sessionLabel = "session"
	peerLabel    = "peer"
)

// Exposed are the connections of e that fault f, on the path or at the peer, goes
// through. What was no living connection in b already, at rest and without visitors,
// is left over from before and not exposed again.
//
//	b, e: samples of one process
func Exposed(f record.Fault, b, e record.Sample) []record.Socket {
	stale := map[uint64]bool{}
	for _, d := range b.FDs {
		stale[d.Inode] = true
	}
	for _, c := range b.Sockets {
		if c.State == "ESTABLISHED" {
			delete(stale, c.Inode)
		}
	}
	peers, some := f.Peers[e.Role]
	var found []record.Socket
	for _, c := range e.Sockets {
		remote, err := netip.ParseAddrPort(c.Remote)
		if err != nil || c.State == "LISTEN" || stale[c.Inode] {
			continue
		}
		ip := remote.Addr().Unmap()
		if !ip.IsLoopback() && (!some || slices.Contains(peers, ip.String())) && !spared(f, e.Role, remote) {
			found = append(found, c)
		}
	}
	return found
}

// Connected counts the connections of a process with these addresses.
func Connected(s record.Sample, addresses []string) (n int) {
	for _, c := range s.Sockets {
		if remote, err := netip.ParseAddrPort(c.Remote); err == nil && c.State != "LISTEN" && slices.Contains(addresses, remote.Addr().Unmap().String()) {
			n++
		}
	}
	return n
}

// spared says whether a connection of a role with this other end is left alone by f.
func spared(f record.Fault, role string, remote netip.AddrPort) bool {
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	some := f.Spared[role]
	return slices.Contains(some, remote.Addr().String()) || slices.Contains(some, remote.String())
}

// Survivors are the things in e that went through fault x and are still there in f: sockets and descriptors by inode, goroutines by id. b tells which
// goroutines were there before the visits: those are exposed only if their label
// names a session; and where goroutines stand at rest. A goroutine or socket born after e is no survivor: a healthy
// reconnect is born inside the window.
//
// All three are samples of one process; nil if it is another in f.
func Survivors(x record.Fault, b, e, f record.Sample) []record.Survivor {
	if e.PID != f.PID || b.PID != e.PID {
		return nil
	}
	return append(socketSurvivors(x, b, e, f), goroutineSurvivors(x, b, e, f)...)
}

func socketSurvivors(x record.Fault, b, e, f record.Sample) []record.Survivor {
	now := map[uint64]record.Socket{}
	for _, s := range f.Sockets {
		now[s.Inode] = s
	}
	held := map[uint64]record.FD{}
	for _, d := range f.FDs {
		if strings.HasPrefix(d.Target, "socket:") {
			held[d.Inode] = d
		}
	}
	var found []record.Survivor
	for _, was := range Exposed(x, b, e) {
		fd, ok := held[was.Inode]
		if !ok {
			continue
		}
		v := record.Survivor{Role: f.Role, PID: f.PID, Moment: record.WindowEnd, FD: &fd}
		if s, ok := now[was.Inode]; ok {
			v.Resource, v.Socket = "socket", &s
			v.Why = whySocket(s)
		} else {
			was.State, was.Timer, was.Expires, was.Retries, was.RecvQ, was.SendQ = ClosedState, "none", 0, 0, 0, 0
			v.Resource, v.Socket = "fd", &was
			v.Why = "the kernel has closed the connection; the process never closed its descriptor"
		}
		found = append(found, v)
	}
	return found
}

// waits says where a goroutine stands.
func waits(g record.Goroutine) string {
	return fmt.Sprintf("%s waits in state %s", path.Base(OwnFrame(g).Func), g.State)
}

// whySocket says why a socket is still there, from its state and kernel timer.
func whySocket(s record.Socket) string {
	timer := "no kernel timer"
	switch s.Timer {
	case "keepalive":
		timer = fmt.Sprintf("keepalive probes are running (%d unanswered)", s.Retries)
	case "retransmit":
		timer = fmt.Sprintf("%d bytes are unacknowledged, so keepalive is off (retransmission %d)", s.SendQ, s.Retries)
	case "persist":
		timer = fmt.Sprintf("%d bytes wait for the peer's window, so keepalive is off (probe %d)", s.SendQ, s.Retries)
	}
	switch s.State {
	case "CLOSE_WAIT":
		return "CLOSE_WAIT, " + timer + ": the peer closed, this process never did"
	case "CLOSE", "CLOSED":
		return "the kernel has closed the connection; the process never closed its descriptor"
	}
	return s.State + ", " + timer
}

// goroutineSurvivors are those that went through x and are still bound to it. Who is
// bound tells, where it does, the label: of an exposed session, in e and in f. One that
// names no session, or one whose connection is in e and not exposed, is taken as bound if
// it came with the visits, unless it stands in f where the process has goroutines at rest,
// and there are no more of them than before: then it may be a worker, back in its pool, or
// of a session that the target has put in the place of another.
func goroutineSurvivors(x record.Fault, b, e, f record.Sample) []record.Survivor {
	signature := func(g record.Goroutine) string { return record.Signature(g.Frames, g.Creator.Func) }
	before, atRest, now := map[int64]bool{}, map[string]int{}, map[string]int{}
	for _, g := range b.Goroutines {
		before[g.ID] = true
		atRest[signature(g)]++
	}
	for _, g := range f.Goroutines {
		now[signature(g)]++
	}
	peers := map[string]bool{"": true} // a session that does not tell its peer is taken as exposed
	apart := map[string]bool{}         // the peers of connections that are not
	for _, c := range e.Sockets {
		apart[c.Remote] = true
	}
	for _, c := range Exposed(x, b, e) {
		peers[c.Remote] = true
		delete(apart, c.Remote)
	}
	exposed, sessions := map[int64]bool{}, map[string]bool{}
	for _, g := range e.Goroutines {
		session := g.Labels[sessionLabel]
		if remote, err := netip.ParseAddrPort(g.Labels[peerLabel]); err == nil && spared(x, e.Role, remote) {
			continue
		}
		if !before[g.ID] || (session != "" && peers[g.Labels[peerLabel]]) {
			exposed[g.ID], sessions[session] = true, true
		}
	}
	var found []record.Survivor
	for _, g := range f.Goroutines {
		if !exposed[g.ID] {
			continue
		}
		place := signature(g)
		switch session := g.Labels[sessionLabel]; {
		case session != "" && sessions[session] && !apart[g.Labels[peerLabel]]:
		case session != "" && !sessions[session], before[g.ID]:
			continue // it serves another session now, or none
		case now[place] <= atRest[place]:
			continue
		}
		found = append(found, record.Survivor{
			Role: f.Role, PID: f.PID, Moment: record.WindowEnd, Resource: "goroutine",
			Goroutine: &g, Peer: g.Labels[peerLabel], Why: waits(g),
		})
	}
	return found
}
