package leak

import (
	"reflect"
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

// asStated is a socket with the test settings.
var asStated = record.Options{
	Protocol: 6, Keepalive: true, KeepaliveIdle: 2, KeepaliveInterval: 1, KeepaliveCount: 3, UserTimeout: 5, RTOMax: 120,
}

func with(change func(*record.Options)) *record.Options {
	o := asStated
	change(&o)
	return &o
}

// mptcp is a connection on a kernel that tells nothing of TCP's for it.
func mptcp(o *record.Options) {
	o.Protocol, o.KeepaliveIdle, o.KeepaliveInterval, o.KeepaliveCount, o.UserTimeout, o.RTOMax = 262, 0, 0, 0, 0, 0
	o.Untold = []string{"TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT"}
}

// server is a sample with n sockets of each of the given options, to other hosts.
func server(n int, each ...*record.Options) record.Sample {
	s := record.Sample{Role: "server", PID: 7}
	for _, o := range each {
		for range n {
			s.Sockets = append(s.Sockets, record.Socket{
				FD: len(s.Sockets), Inode: uint64(100 + len(s.Sockets)), State: "ESTABLISHED",
				Local: "10.0.1.1:4443", Remote: "10.0.2.2:40112", Options: o,
			})
		}
	}
	return s
}

func TestDifferences(t *testing.T) {
	same := with(func(*record.Options) {})
	off := with(func(o *record.Options) { o.Keepalive = false })
	goes := with(func(o *record.Options) { o.KeepaliveIdle, o.KeepaliveInterval, o.KeepaliveCount = 15, 15, 9 })
	no := with(func(o *record.Options) { o.UserTimeout = 0 })
	refused := server(2, nil)
	refused.OptionsRefused = "operation not permitted"
	half := server(1, same, nil)
	half.OptionsRefused = "operation not permitted"
	others := server(1, same, no, no, no)
	others.Sockets[1].State, others.Sockets[1].Remote = "LISTEN", "0.0.0.0:0"
	others.Sockets[2].Remote = "127.0.0.1:50000"
	others.Sockets[3].Remote = "[::1]:50000"
	plain := without(testSettings, func(s *record.Settings) {
		s.KeepaliveIdle, s.KeepaliveInterval, s.KeepaliveCount, s.UserTimeout = 0, 0, 0, 0
	})
	for _, c := range []struct {
		name     string
		settings record.Settings
		sample   record.Sample
		want     []string
	}{
		{"all agree", testSettings, server(25, same), nil},
		{"no sockets", testSettings, server(0), nil},
		{"within half a millisecond", without(testSettings, func(s *record.Settings) { s.UserTimeout = 5.0004 }), server(1, same), nil},
		{"a millisecond apart", without(testSettings, func(s *record.Settings) { s.UserTimeout = 5.001 }), server(1, same),
			[]string{"server: 1 of 1 socket has TCP_USER_TIMEOUT 5 s, the target file says 5.001 s"}},
		{"some without a user timeout", testSettings, server(8, same, no, same),
			[]string{"server: 8 of 24 sockets have TCP_USER_TIMEOUT 0 s, the target file says 5 s"}},
		{"one of several", testSettings, server(1, same, no),
			[]string{"server: 1 of 2 sockets has TCP_USER_TIMEOUT 0 s, the target file says 5 s"}},
		{"two values, the more frequent first", testSettings, func() record.Sample {
			s := server(1, with(func(o *record.Options) { o.UserTimeout = 30 }))
			s.Sockets = append(s.Sockets, server(3, no).Sockets...)
			return s
		}(), []string{
			"server: 3 of 4 sockets have TCP_USER_TIMEOUT 0 s, the target file says 5 s",
			"server: 1 of 4 sockets has TCP_USER_TIMEOUT 30 s, the target file says 5 s",
		}},
		{"keepalive with the runtime's times", testSettings, server(2, goes), []string{
			"server: 2 of 2 sockets have TCP_KEEPIDLE 15 s, the target file says 2 s",
			"server: 2 of 2 sockets have TCP_KEEPINTVL 15 s, the target file says 1 s",
			"server: 2 of 2 sockets have TCP_KEEPCNT 9 probes, the target file says 3 probes",
		}},
		{"keepalive is off: its times do not matter", testSettings, server(2, off),
			[]string{"server: 2 of 2 sockets have SO_KEEPALIVE off, the target file says on (2 s, 1 s, 3 probes)"}},
		{"keepalive is on, and stated nowhere", plain, server(2, with(func(o *record.Options) { o.UserTimeout = 0 })),
			[]string{"server: 2 of 2 sockets have SO_KEEPALIVE on (2 s, 1 s, 3 probes), the target file says off"}},
		{"both off", plain, server(2, with(func(o *record.Options) { o.Keepalive, o.UserTimeout = false, 0 })), nil},
		{"a user timeout that is stated nowhere", plain, server(2, off),
			[]string{"server: 2 of 2 sockets have TCP_USER_TIMEOUT 5 s, the target file says 0 s"}},
		{"untold", testSettings, server(1, same, with(mptcp)), []string{
			"server: 1 of 2 sockets does not tell TCP_KEEPIDLE, the target file says 2 s",
			"server: 1 of 2 sockets does not tell TCP_KEEPINTVL, the target file says 1 s",
			"server: 1 of 2 sockets does not tell TCP_KEEPCNT, the target file says 3 probes",
			"server: 1 of 2 sockets does not tell TCP_USER_TIMEOUT, the target file says 5 s",
		}},
		{"untold and stated nowhere", plain, server(1, with(func(o *record.Options) { mptcp(o); o.Keepalive = false })), nil},
		{"listeners and loopback are not exposed", testSettings, others, nil},
		{"refused", testSettings, refused,
			[]string{"server: the options of 2 of 2 sockets were not read, so nothing is known of them: operation not permitted"}},
		{"refused half-way", testSettings, half,
			[]string{"server: the options of 1 of 2 sockets were not read, so nothing is known of them: operation not permitted"}},
		{"an old record", testSettings, server(3, nil),
			[]string{"server: the options of 3 of 3 sockets were not read, so nothing is known of them"}},
		{"closed before it was asked", testSettings, server(1, same, nil), nil},
		{"closed before it was asked is not counted", testSettings, server(1, no, nil),
			[]string{"server: 1 of 1 socket has TCP_USER_TIMEOUT 0 s, the target file says 5 s"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, d := range Differences(c.settings, c.sample) {
				got = append(got, d.Reason)
				if d.Role != "server" || d.PID != 7 || d.Sockets < 1 || d.Of < d.Sockets || (d.Option == "") != (d.Stated == "") {
					t.Errorf("difference %+v", d)
				}
				if want := min(d.Sockets, examples); d.Option != "" && (len(d.Examples) != want || d.Examples[0] != "10.0.1.1:4443 to 10.0.2.2:40112") {
					t.Errorf("examples %q, want %d", d.Examples, want)
				}
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestSettingsOf(t *testing.T) {
	kernel := func(idle, interval float64, count int, user float64) record.Settings {
		return without(testSettings, func(s *record.Settings) {
			s.KeepaliveIdle, s.KeepaliveInterval, s.KeepaliveCount, s.UserTimeout = idle, interval, count, user
		})
	}
	for _, c := range []struct {
		name    string
		options *record.Options
		want    record.Settings
	}{
		{"not read", nil, testSettings},
		{"as stated", with(func(*record.Options) {}), testSettings},
		{"the socket's own", with(func(o *record.Options) {
			o.KeepaliveIdle, o.KeepaliveInterval, o.KeepaliveCount, o.UserTimeout = 15, 14, 9, 0
		}), kernel(15, 14, 9, 0)},
		{"keepalive off", with(func(o *record.Options) { o.Keepalive = false }), kernel(0, 0, 0, 5)},
		{"MPTCP, an older kernel", with(mptcp), kernel(0, 0, 0, 0)},
		{"MPTCP", with(func(o *record.Options) { o.UserTimeout, o.Untold = 0, []string{"TCP_USER_TIMEOUT"} }), kernel(2, 1, 3, 0)},
		{"count untold", with(func(o *record.Options) { o.KeepaliveCount, o.Untold = 0, []string{"TCP_KEEPCNT"} }), kernel(0, 0, 0, 5)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := SettingsOf(testSettings, c.options, nil)
			got.RTOMax = 0
			if got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

// The retransmission limit is the host's, the cap of its timer the socket's own.
func TestSettingsOfTheHost(t *testing.T) {
	ns := &record.Namespace{Retries2: 3, RTOMax: 60}
	if s := SettingsOf(testSettings, nil, ns); s.Retries != 3 || s.RTOMax != 60 {
		t.Errorf("not read: %+v", s)
	}
	if s := SettingsOf(testSettings, with(func(o *record.Options) { o.RTOMax = 1 }), ns); s.Retries != 3 || s.RTOMax != 1 {
		t.Errorf("the socket's own: %+v", s)
	}
	if s := SettingsOf(testSettings, with(func(o *record.Options) { o.RTOMax = 0 }), ns); s.RTOMax != 60 {
		t.Errorf("untold: %+v", s)
	}
}

// A file that sets the edge apart is believed of either kind, and of no third one.
func TestDifferencesAtTheEdge(t *testing.T) {
	file := record.Settings{KeepaliveIdle: 2, KeepaliveInterval: 1, KeepaliveCount: 3, UserTimeout: 5}
	file.Edge = record.Edge{Stated: true, KeepaliveIdle: 15, KeepaliveInterval: 5, KeepaliveCount: 6, UserTimeout: 45}
	options := func(idle, interval float64, count int, user float64) *record.Options {
		return &record.Options{Keepalive: true, KeepaliveIdle: idle, KeepaliveInterval: interval, KeepaliveCount: count, UserTimeout: user}
	}
	for _, c := range []struct {
		name string
		live *record.Options
		want string
	}{
		{"a session", options(2, 1, 3, 5), ""},
		{"a visitor", options(15, 5, 6, 45), ""},
		{"a visitor without user timeout", options(15, 5, 6, 0), userTimeout},
		{"neither", options(2, 1, 4, 5), keepCount},
	} {
		s := record.Sample{Role: "server", PID: 7, Sockets: []record.Socket{{
			Inode: 1, State: "ESTABLISHED", Local: "10.1.0.2:8080", Remote: "10.1.0.1:5000", Options: c.live,
		}}}
		found := Differences(file, s)
		switch {
		case c.want == "" && len(found) > 0:
			t.Errorf("%s: %s", c.name, found[0].Reason)
		case c.want != "" && (len(found) != 1 || found[0].Option != c.want):
			t.Errorf("%s: got %+v, want one difference in %s", c.name, found, c.want)
		}
	}
	if got := Stated(file, Exposure{Edge: "server"})[0].Settings; got.UserTimeout != 45 || got.HeartbeatDeadline != 0 {
		t.Errorf("what is stated of a visitor: %+v", got)
	}
}

// A deadline that no socket tells is belied by the target's own words.
func TestContradictions(t *testing.T) {
	file := record.Settings{HeartbeatInterval: 1, HeartbeatDeadline: 10, Flush: 8}
	file.HalfClose = 4
	var halved record.Window
	Halved(&halved, file)
	for _, c := range []struct {
		name string
		o    record.Outcome
		want string
	}{
		{"much sooner", record.Outcome{First: 5, Noticed: map[string]int{"heartbeat": 8}}, "heartbeat deadline"},
		{"a write deadline much sooner", record.Outcome{First: 2, Noticed: map[string]int{"flush": 7}}, "write deadline"},
		{"about when it is stated", record.Outcome{First: 9, Noticed: map[string]int{"heartbeat": 8}}, ""},
		{"sooner by what the machine waited", record.Outcome{First: 7, Waited: 2, Noticed: map[string]int{"heartbeat": 8}}, ""},
		{"beside another detector", record.Outcome{First: 5, Noticed: map[string]int{"heartbeat": 8, "kernel": 1}}, ""},
		{"by another detector", record.Outcome{First: 5, Noticed: map[string]int{"kernel": 8}}, ""},
		{"never gone", record.Outcome{First: -1, Noticed: map[string]int{"heartbeat": 8}}, ""},
		{"not told", record.Outcome{First: 5}, ""},
	} {
		if found := Contradictions(file, halved, c.o); len(found) > 0 && c.o.First > 3 {
			t.Errorf("%s, half-closed: %s", c.name, found[0].Reason)
		}
		found := Contradictions(file, record.Window{}, c.o)
		switch {
		case c.want == "" && len(found) > 0:
			t.Errorf("%s: %s", c.name, found[0].Reason)
		case c.want != "" && (len(found) != 1 || found[0].Option != c.want || !lies(found[0])):
			t.Errorf("%s: got %+v, want a difference in the %s", c.name, found, c.want)
		}
	}
	sooner := record.Outcome{First: 2, Noticed: map[string]int{"heartbeat": 8}}
	if found := Contradictions(file, halved, sooner); len(found) != 1 {
		t.Errorf("sooner than the half-close bound: got %+v", found)
	}
}
