package leak

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/halfopen/halfopen/harness/record"
)

// The kinds of sockets: those of which the kernel tells a TCP state, and all others. A
// TCP socket that the kernel has closed while the process still has its descriptor is
// one of those.
const (
	tcpSocket   = "TCP socket"
	otherSocket = "socket without a TCP state"
)

// kindOf is what a descriptor is, without the number or the path that no two have in
// common: "pipe", "anon_inode:[eventpoll]", "device", "file". A log that was rotated is
// another file, and no leak.
//
//	sockets: the process's TCP sockets, by inode
func kindOf(d record.FD, sockets map[uint64]record.Socket) string {
	what, _, numbered := strings.Cut(d.Target, ":[")
	_, tcp := sockets[d.Inode]
	switch {
	case what == "socket" && tcp:
		return tcpSocket
	case what == "socket":
		return otherSocket
	case strings.HasPrefix(d.Target, "anon_inode:"):
		return d.Target // by name: these have no number
	case numbered:
		return what // pipe, and namespaces
	case strings.HasPrefix(d.Target, "/memfd:"):
		return "memfd"
	case strings.HasPrefix(d.Target, "/dev/") && !strings.HasPrefix(d.Target, "/dev/shm/"):
		return "device"
	default:
		return "file"
	}
}

// descriptors counts a sample's by kind.
func descriptors(s record.Sample) map[string]int {
	sockets, count := byInode(s), map[string]int{}
	for _, d := range s.FDs {
		count[kindOf(d, sockets)]++
	}
	return count
}

func byInode(s record.Sample) map[uint64]record.Socket {
	sockets := map[uint64]record.Socket{}
	for _, c := range s.Sockets {
		sockets[c.Inode] = c
	}
	return sockets
}

// moreOf is by how many g has more than b, of each kind of which it has more.
func moreOf(b, g record.Sample) map[string]int {
	more, before := map[string]int{}, descriptors(b)
	for kind, n := range descriptors(g) {
		if n > before[kind] {
			more[kind] = n - before[kind]
		}
	}
	return more
}

// judgeDescriptors judges the row of all descriptors kind by kind: one more of one kind
// is never made up for by one less of another. The note says of which there are more.
func judgeDescriptors(row *record.Row, b, g record.Sample) {
	var notes []string
	row.Excess = 0
	more := moreOf(b, g)
	for _, kind := range slices.Sorted(maps.Keys(more)) {
		row.Excess += float64(more[kind])
		notes = append(notes, fmt.Sprintf("%s +%d", kind, more[kind]))
	}
	row.OK, row.Note = row.Excess == 0, strings.Join(notes, ", ")
}

// held names a descriptor that is in G and was not in B, of a process that holds too
// much: of a kind of which there are too many, if there is one; a socket that is no
// living connection before the rest, of those the one with the lowest number. "" if
// there is none.
func held(processes []Snapshots) string {
	for _, p := range processes {
		rows, _ := p.Excesses()
		if !slices.ContainsFunc(rows, func(r record.Row) bool { return !r.OK && r.Unit == "" && !isGauge(r) }) {
			continue
		}
		at := fmt.Sprintf("%s: pid %d, ", p.G.Role, p.G.PID)
		more, sockets := moreOf(p.floor(), p.G), byInode(p.G)
		rest, living := "", ""
		for _, d := range p.G.FDs {
			c, ok := sockets[d.Inode]
			switch {
			case len(more) > 0 && more[kindOf(d, sockets)] == 0:
			case slices.ContainsFunc(p.B.FDs, func(was record.FD) bool { return same(was, d) }):
			case ok && c.State == "ESTABLISHED": // likely the new session
				living = cmp.Or(living, at+fmt.Sprintf("fd %d, %s -> %s", d.Number, c.Local, c.Remote))
			case ok:
				return at + fmt.Sprintf("fd %d, %s -> %s %s", d.Number, c.Local, c.Remote, c.State)
			default:
				rest = cmp.Or(rest, at+fmt.Sprintf("fd %d, %s", d.Number, d.Target))
			}
		}
		if rest = cmp.Or(rest, living); rest != "" {
			return rest
		}
	}
	return ""
}

// same says whether two descriptors are, as far as one can see: by inode, where there
// is one.
func same(a, b record.FD) bool {
	if a.Inode != 0 || b.Inode != 0 {
		return a.Inode == b.Inode
	}
	return a == b
}
