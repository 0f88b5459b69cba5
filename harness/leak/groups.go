package leak

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/halfopen/halfopen/harness/record"
)

// Group is those connections of one process that do the same and are set alike. They
// have one bound.
type Group struct {
	Role    string // of the process: "server", "client"
	Sockets string // "sessions", "visitors", "origins", or what carries them
	Carried bool   // their own path is sound: they end with what they depend on
	Count   int    // 0 if there were none to look at
	Set     string // how they are set, in words; "" if there were none
	// Settings are theirs: the kernel's layer as the sockets have it, the rest from the file.
	Settings record.Settings
}

// The kinds of connections.
const (
	sessions = "sessions"
	visitors = "visitors"
	origins  = "origins"
)

// roles are the target's processes.
var roles = []string{"server", "client"}

// edgeOf is the kind of a role's connections at the edge.
var edgeOf = map[string]string{"server": visitors, "client": origins}

// Stated are the groups as the target's file has them, for want of sockets to ask.
func Stated(file record.Settings, x Exposure) []Group { return complete(nil, file, x) }

// Groups are those of the exposed connections, as their live options say. A connection
// whose options were not read has those of the file.
//
//	exposed:    by role
//	edge:       by role, the IP addresses of visitors and of origins
//	namespaces: by role, nil where it was not read
func Groups(file record.Settings, x Exposure, exposed map[string][]record.Socket, edge map[string][]string, namespaces map[string]*record.Namespace) []Group {
	type key struct {
		role, sockets, set string
		carried            bool
	}
	found := map[key]*Group{}
	for role, sockets := range exposed {
		for _, c := range sockets {
			atEdge := false
			if remote, err := netip.ParseAddrPort(c.Remote); err == nil {
				atEdge = slices.Contains(edge[role], remote.Addr().Unmap().String())
			}
			k := key{role: role, sockets: sessions}
			if atEdge {
				k.sockets = edgeOf[role]
			}
			k.carried = atEdge != (x.Edge == role)
			if k.carried {
				k.sockets = carried(x)
			} else {
				k.set = set(ofKind(file, k.sockets), c.Options, namespaces[role])
			}
			if found[k] == nil {
				found[k] = &Group{Role: role, Sockets: k.sockets, Carried: k.carried, Set: k.set}
				found[k].Settings = SettingsOf(ofKind(file, k.sockets), c.Options, namespaces[role])
			}
			found[k].Count++
		}
	}
	var groups []Group
	for _, g := range found {
		groups = append(groups, *g)
	}
	return complete(groups, file, x)
}

// complete adds what the file says of those that there are none of, drops those that
// nobody waits for, and sorts.
func complete(groups []Group, file record.Settings, x Exposure) []Group {
	for _, role := range roles {
		direct := Group{Role: role, Sockets: sessions}
		if x.Edge != "" {
			direct.Sockets = edgeOf[x.Edge]
		}
		direct.Settings = ofKind(file, direct.Sockets)
		if x.Edge != "" && x.Edge != role {
			direct = Group{Role: role, Sockets: carried(x), Carried: true}
		}
		has := func(carried bool) bool {
			return slices.ContainsFunc(groups, func(g Group) bool { return g.Role == role && g.Carried == carried })
		}
		if !has(direct.Carried) {
			groups = append(groups, direct)
		}
		if x.Edge == "" && !has(true) {
			groups = append(groups, Group{Role: role, Sockets: carried(x), Carried: true})
		}
	}
	groups = slices.DeleteFunc(groups, func(g Group) bool { return g.Role == x.Without })
	last := map[bool]int{true: 1} // what is carried, of its role
	slices.SortFunc(groups, func(a, b Group) int {
		return cmp.Or(
			cmp.Compare(slices.Index(roles, a.Role), slices.Index(roles, b.Role)),
			cmp.Compare(last[a.Carried], last[b.Carried]),
			cmp.Compare(b.Count, a.Count),
			cmp.Compare(a.Set, b.Set),
		)
	})
	return groups
}

// carried is what those are called that end with the exposed ones.
func carried(x Exposure) string {
	if x.Edge == "" {
		return "carried by a session"
	}
	return "carried for " + edgeOf[x.Edge]
}

// ofKind is what the file says of one kind of connections.
func ofKind(file record.Settings, sockets string) record.Settings {
	if sockets != sessions {
		return file.AtEdge()
	}
	return file
}

// set says how a socket is set. Sockets with one text have one bound.
func set(file record.Settings, options *record.Options, ns *record.Namespace) string {
	s := SettingsOf(file, options, ns)
	text := "keepalive off"
	if s.KeepaliveCount > 0 {
		text = fmt.Sprintf("keepalive %.6g/%.6g/%d", s.KeepaliveIdle, s.KeepaliveInterval, s.KeepaliveCount)
	}
	if s.UserTimeout > 0 {
		text += fmt.Sprintf(", user timeout %.6g s", s.UserTimeout)
	} else {
		text += ", no user timeout"
	}
	if n := retries(s); n != defaultRetries {
		text += fmt.Sprintf(", tcp_retries2 %d", n)
	}
	if most := rtoMax(s); most != defaultRTOMax {
		text += fmt.Sprintf(", RTO max %.6g s", most)
	}
	switch {
	case options == nil:
		text += " (not read: as the file says)"
	case len(options.Untold) > 0:
		text += fmt.Sprintf(" (does not tell %d options: taken as off)", len(options.Untold))
	}
	return text
}

// ShortestOutage is the shortest ShortOutage of the groups that go through it themselves.
func ShortestOutage(groups []Group, busy bool) float64 {
	least := never
	for _, g := range groups {
		if s := ShortOutage(g.Settings, busy); !g.Carried && (least == never || s < least) {
			least = s
		}
	}
	return max(0, least)
}
