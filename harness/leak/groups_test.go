package leak

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

// told is a socket with options.
func told(remote string, o *record.Options) record.Socket {
	return record.Socket{State: "ESTABLISHED", Local: "10.0.2.1:4443", Remote: remote, Options: o}
}

// Windows come from what the sockets have: per socket the minimum over its detectors, over the
// sockets the maximum.
func TestGroups(t *testing.T) {
	const visitor, session, origin = "10.1.0.1:50000", "10.2.0.2:40000", "10.3.0.2:8000"
	edge := map[string][]string{"server": {"10.1.0.1"}, "client": {"10.3.0.2"}}
	same := with(func(*record.Options) {})
	slow := with(func(o *record.Options) { o.KeepaliveIdle, o.UserTimeout = 15, 0 })
	off := with(func(o *record.Options) { o.Keepalive, o.UserTimeout = false, 0 })
	noUser := with(func(o *record.Options) { o.UserTimeout = 0 })
	kernel := without(testSettings, func(s *record.Settings) { s.HeartbeatInterval, s.HeartbeatDeadline, s.Flush = 0, 0, 0 })
	idle, busy := Exposure{Class: record.Silent}, Exposure{Class: record.Silent, Busy: true}
	atVisitor := Exposure{Class: record.Silent, Edge: "server"}
	for _, c := range []struct {
		name           string
		file           record.Settings
		x              Exposure
		server, client []record.Socket
		ns             *record.Namespace
		upper, lower   float64
		groups         string // role, count, sockets: in order
		lacks          string
	}{
		{
			"as the file says", kernel, idle,
			[]record.Socket{told(session, same), told(session, same), told(visitor, same)}, []record.Socket{told("10.2.0.1:4443", same), told(origin, same)}, nil,
			5 + g(5, 4), 3, "server 2 sessions, server 1 carried by a session, client 1 sessions, client 1 carried by a session", "",
		},
		{
			"the slowest decides, the quickest is the lower bound", kernel, idle,
			[]record.Socket{told(session, same), told(session, slow)}, []record.Socket{told("10.2.0.1:4443", same)}, nil,
			18 + g(18, 4), 3, "server 1 sessions, server 1 sessions, server 0 carried by a session, client 1 sessions, client 0 carried by a session", "",
		},
		{
			"a visitor's own options do not matter while its session's path is cut", kernel, idle,
			[]record.Socket{told(session, same), told(visitor, off)}, nil, nil,
			5 + g(5, 4), 3, "server 1 sessions, server 1 carried by a session, client 0 sessions, client 0 carried by a session", "",
		},
		{
			"a session's do not matter while a visitor's is", testSettings, atVisitor,
			[]record.Socket{told(visitor, slow)}, []record.Socket{told(origin, off)}, nil,
			18 + g(18, 4), 3, "server 1 visitors, client 1 carried for visitors", "",
		},
		{
			"one of many without a bound", kernel, idle,
			[]record.Socket{told(session, same), told(session, off)}, nil, nil,
			never, 0, "server 1 sessions, server 1 sessions, server 0 carried by a session, client 0 sessions, client 0 carried by a session",
			"(server: 1, keepalive off, no user timeout) have no heartbeat with a deadline and no keepalive",
		},
		{
			"a process that is dead is not waited for", kernel, Exposure{Class: record.Silent, Without: "client"},
			[]record.Socket{told(session, same)}, []record.Socket{told("10.2.0.1:4443", off)}, nil,
			5 + g(5, 4), 3, "server 1 sessions, server 0 carried by a session", "",
		},
		{
			"not read: as the file says", kernel, idle,
			[]record.Socket{told(session, nil)}, nil, nil,
			5 + g(5, 4), 3, "server 1 sessions, server 0 carried by a session, client 0 sessions, client 0 carried by a session", "",
		},
		{
			"no user timeout, data in flight: the host's own limit", kernel, busy,
			[]record.Socket{told(session, noUser)}, nil, &record.Namespace{Retries2: 3},
			0.5 + 6.25 + g(6.25, 2), 3, "server 1 sessions, server 0 carried by a session, client 0 sessions, client 0 carried by a session", "",
		},
		{
			"no user timeout, data in flight, a host on defaults", kernel, busy,
			[]record.Socket{told(session, noUser)}, nil, &record.Namespace{Retries2: 15, RTOMax: 120},
			never, 0, "server 1 sessions, server 0 carried by a session, client 0 sessions, client 0 carried by a session", "takes up to 1178 s",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			groups := Groups(c.file, c.x, map[string][]record.Socket{"server": c.server, "client": c.client}, edge,
				map[string]*record.Namespace{"server": c.ns})
			var names []string
			for _, x := range groups {
				names = append(names, fmt.Sprintf("%s %d %s", x.Role, x.Count, x.Sockets))
			}
			if got := strings.Join(names, ", "); got != c.groups {
				t.Errorf("groups\n%s, want\n%s", got, c.groups)
			}
			w := WindowOf(groups, c.x)
			if math.Abs(w.Upper-c.upper) > 1e-9 {
				t.Errorf("upper is %v, want %v", w.Upper, c.upper)
			}
			if c.upper != never && math.Abs(w.Lower-c.lower) > 1e-9 {
				t.Errorf("lower is %v, want %v", w.Lower, c.lower)
			}
			if got := Unbounded(groups, c.x); !strings.Contains(got, c.lacks) || (c.lacks == "") != (got == "") {
				t.Errorf("unbounded: %q, want %q", got, c.lacks)
			}
			for _, r := range w.Rows {
				if r.Count > 0 && (r.Set == "") != strings.HasPrefix(r.Sockets, "carried") {
					t.Errorf("row does not say how its sockets are set: %+v", r)
				}
			}
		})
	}
}

func TestSet(t *testing.T) {
	for _, c := range []struct {
		o    *record.Options
		ns   *record.Namespace
		want string
	}{
		{with(func(*record.Options) {}), nil, "keepalive 2/1/3, user timeout 5 s"},
		{with(func(o *record.Options) { o.Keepalive, o.UserTimeout = false, 0 }), &record.Namespace{Retries2: 3}, "keepalive off, no user timeout, tcp_retries2 3"},
		{with(func(o *record.Options) { o.RTOMax = 1 }), nil, "keepalive 2/1/3, user timeout 5 s, RTO max 1 s"},
		{nil, nil, "keepalive 2/1/3, user timeout 5 s (not read: as the file says)"},
		{with(mptcp), nil, "keepalive off, no user timeout (does not tell 4 options: taken as off)"},
	} {
		if got := set(testSettings, c.o, c.ns); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestShortestOutage(t *testing.T) {
	groups := []Group{
		{Settings: testSettings},
		{Settings: record.Settings{HeartbeatInterval: 1, HeartbeatDeadline: 3}},
		{Carried: true},
	}
	if got := ShortestOutage(groups, false); got != 0.8*0.5 {
		t.Errorf("got %v", got)
	}
	slices.Reverse(groups[:2])
	if got := ShortestOutage(groups[:1], false); got != 0.8*0.5 {
		t.Errorf("got %v", got)
	}
}
