package leak

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/halfopen/halfopen/harness/record"
)

// SettingsOf are the settings that hold for one socket: the kernel's layer from its
// live options, the target's own (heartbeat, deadlines, backoff) from the file. What
// the socket does not tell counts as absent, so that nothing is expected of it. Without
// options, the file is all there is. ns is the socket's host's, nil if it was not read.
func SettingsOf(settings record.Settings, options *record.Options, ns *record.Namespace) record.Settings {
	if ns != nil {
		settings.Retries, settings.RTOMax = ns.Retries2, ns.RTOMax
	}
	if options == nil {
		return settings
	}
	if options.RTOMax > 0 {
		settings.RTOMax = options.RTOMax
	}
	settings.KeepaliveIdle, settings.KeepaliveInterval, settings.KeepaliveCount = 0, 0, 0
	whole := !slices.ContainsFunc(options.Untold, func(name string) bool {
		return name == keepIdle || name == keepInterval || name == keepCount
	})
	if options.Keepalive && whole {
		settings.KeepaliveIdle = options.KeepaliveIdle
		settings.KeepaliveInterval = options.KeepaliveInterval
		settings.KeepaliveCount = options.KeepaliveCount
	}
	settings.UserTimeout = options.UserTimeout // 0 where it is untold
	return settings
}

// The C names of the options that a target file states.
const (
	keepalive    = "SO_KEEPALIVE"
	keepIdle     = "TCP_KEEPIDLE"
	keepInterval = "TCP_KEEPINTVL"
	keepCount    = "TCP_KEEPCNT"
	userTimeout  = "TCP_USER_TIMEOUT"
)

// optionOrder is the order of findings.
var optionOrder = []string{keepalive, keepIdle, keepInterval, keepCount, userTimeout}

// Differences compares what the target file states with what the exposed sockets of
// s have (those to other hosts, see Exposed), grouped by option and value; nil if all
// agree. Where keepalive is off, or stated as off, that is the one finding, whatever
// its times are. A sample without options is a finding of its own: silence would
// look like agreement.
func Differences(settings record.Settings, s record.Sample) []record.Difference {
	exposed := Exposed(record.Fault{}, record.Sample{}, s)
	var read []record.Socket
	for _, c := range exposed {
		if c.Options != nil {
			read = append(read, c)
		}
	}
	var found []record.Difference
	// One that is missing among others was closed before it could be asked.
	if unread := len(exposed) - len(read); unread > 0 && (s.OptionsRefused != "" || len(read) == 0) {
		d := record.Difference{Role: s.Role, PID: s.PID, Sockets: unread, Of: len(exposed)}
		d.Reason = fmt.Sprintf("%s: the options of %s were not read, so nothing is known of them", s.Role, of(d))
		if s.OptionsRefused != "" {
			d.Reason += ": " + s.OptionsRefused
		}
		found = append(found, d)
	}
	groups := map[mismatch]int{} // index in found
	for _, c := range read {
		for _, x := range belied(settings, c.Options) {
			i, known := groups[x]
			if !known {
				i = len(found)
				groups[x] = i
				found = append(found, record.Difference{
					Role: s.Role, PID: s.PID, Option: x.option, Stated: x.stated, Live: x.live, Of: len(read),
				})
			}
			d := &found[i]
			d.Sockets++
			if len(d.Examples) < examples {
				d.Examples = append(d.Examples, c.Local+" to "+c.Remote)
			}
		}
	}
	for i := range found {
		if d := &found[i]; d.Option != "" {
			d.Reason = sentence(*d)
		}
	}
	slices.SortStableFunc(found, func(a, b record.Difference) int {
		return cmp.Or(
			cmp.Compare(slices.Index(optionOrder, a.Option), slices.Index(optionOrder, b.Option)),
			cmp.Compare(b.Sockets, a.Sockets),
			cmp.Compare(a.Live, b.Live),
		)
	})
	return found
}

// Contradictions are the deadlines of the target's file that its own words belie: it says
// that one deadline of its own, and nothing else, ended connections, and the first was
// gone before that deadline, as the file has it, can have passed. No socket tells of it.
// Of what was half-closed the target says nothing: its bound w may have had first.
//
// The words are "heartbeat" and "flush", where the file says how to find them.
func Contradictions(file record.Settings, w record.Window, o record.Outcome) []record.Difference {
	unsaid := math.Inf(1) // from when on a connection may be gone of which the target says nothing
	for _, r := range w.Rows {
		if r.Detector == byHalfClose {
			unsaid = r.Earliest
		}
	}
	var found []record.Difference
	for _, d := range []struct {
		word, what string
		stated     float64 // seconds
		earliest   float64 // from the fault
	}{
		{"heartbeat", "heartbeat deadline", file.HeartbeatDeadline, file.HeartbeatDeadline - file.HeartbeatInterval - starving},
		{"flush", "write deadline", file.Flush, file.Flush - starving},
	} {
		n := o.Noticed[d.word]
		if n > 0 && len(o.Noticed) == 1 && d.stated > 0 && o.First >= 0 && o.First < min(d.earliest, unsaid)-inWindow(o) {
			found = append(found, record.Difference{
				Role: "target", Option: d.what, Stated: written(d.stated), Live: written(o.First), Sockets: n, Of: n,
				Reason: fmt.Sprintf("the target says that its %s ended %s, the first %.3g s after the fault, and the target file says %s",
					d.what, plural(n, "connection"), o.First, written(d.stated)),
			})
		}
	}
	return found
}

// examples is how many sockets a difference names.
const examples = 3

// untold is what a difference gives for a socket that does not say.
const untold = "untold"

// mismatch is what one socket has in one option, against the file.
type mismatch struct{ option, stated, live string }

// belied is one socket against the file. Where the file sets the edge apart, the socket
// is taken for the kind that it is more like.
func belied(settings record.Settings, o *record.Options) []mismatch {
	found := compare(settings, o)
	if settings.Edge.Stated {
		if edge := compare(settings.AtEdge(), o); len(edge) < len(found) {
			return edge
		}
	}
	return found
}

// compare is one socket against settings.
func compare(settings record.Settings, o *record.Options) []mismatch {
	stated, live := "off", "off"
	if settings.KeepaliveIdle > 0 || settings.KeepaliveInterval > 0 || settings.KeepaliveCount > 0 {
		stated = probing(settings.KeepaliveIdle, settings.KeepaliveInterval, settings.KeepaliveCount)
	}
	if o.Keepalive {
		live = probing(o.KeepaliveIdle, o.KeepaliveInterval, o.KeepaliveCount)
	}
	type pair struct {
		option       string
		stated, live float64
		write        func(float64) string
	}
	pairs := []pair{{userTimeout, settings.UserTimeout, o.UserTimeout, written}}
	var found []mismatch
	switch {
	case (stated == "off") != (live == "off"):
		found = append(found, mismatch{keepalive, stated, live})
	case stated != "off":
		pairs = append(pairs,
			pair{keepIdle, settings.KeepaliveIdle, o.KeepaliveIdle, written},
			pair{keepInterval, settings.KeepaliveInterval, o.KeepaliveInterval, written},
			pair{keepCount, float64(settings.KeepaliveCount), float64(o.KeepaliveCount), probes})
	}
	for _, p := range pairs {
		switch {
		case slices.Contains(o.Untold, p.option):
			if p.stated > 0 { // none stated and none told is no contradiction
				found = append(found, mismatch{p.option, p.write(p.stated), untold})
			}
		case math.Abs(p.stated-p.live) > tolerance:
			found = append(found, mismatch{p.option, p.write(p.stated), p.write(p.live)})
		}
	}
	return found
}

// tolerance is half of the kernel's finest unit here, the millisecond of
// TCP_USER_TIMEOUT. Seconds.
const tolerance = 0.0005

// probing is keepalive in words.
func probing(idle, interval float64, count int) string {
	return fmt.Sprintf("on (%s, %s, %s)", written(idle), written(interval), plural(count, "probe"))
}

func written(seconds float64) string { return fmt.Sprintf("%.6g s", seconds) }

func probes(count float64) string { return plural(int(count), "probe") }

func sentence(d record.Difference) string {
	have, tell := "have", "do"
	if d.Sockets == 1 {
		have, tell = "has", "does"
	}
	if d.Live == untold {
		return fmt.Sprintf("%s: %s %s not tell %s, the target file says %s", d.Role, of(d), tell, d.Option, d.Stated)
	}
	return fmt.Sprintf("%s: %s %s %s %s, the target file says %s", d.Role, of(d), have, d.Option, d.Live, d.Stated)
}

func of(d record.Difference) string {
	return fmt.Sprintf("%d of %s", d.Sockets, plural(d.Of, "socket"))
}
