// Package matrix is the table of what may meet what: fault, place, traffic, protocol.
// Stories are made from its covering sets (harness/fault/pairwise).
package matrix

import (
	"slices"
	"strings"
	"time"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/fault/pairwise"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/load"
	"github.com/halfopen/halfopen/harness/record"
)

// The factors, in the order of a row.
const (
	Fault = iota
	Place
	Traffic
	Protocol
)

// Flap is the one fault that is not a step of a schedule: how long it lasts follows from
// the target.
const Flap = "flap"

// faults are the levels of the first factor: steps of a schedule, less their times.
var faults = []string{
	"kill", "terminate", "freeze", "power-loss",
	"unplug", Flap, "lose-carrier", "lose-route", "lose-address", "lose-address moves=true",
	"quality loss=0.02", "destroy-sockets", "refuse-dials",
	"blackhole", "blackhole way=to-server", "blackhole way=from-server", "mtu-blackhole", "inject-rst",
	"expire-nat", "expire-nat silent=true", "rebind-nat", "reboot-router",
}

// Short is the traffic that is no flow of one connection.
const Short = "many short requests"

// flows are the levels of traffic.
var flows = []struct {
	name string
	flow load.Flow
}{
	{"idle", load.Idle}, {"from the server", load.Upload}, {"from the client", load.Download}, {"both ways", load.Both},
	{"zero window", load.Stalled}, {"upgrade in progress", load.Upgrading}, {"upload half-way", load.HalfUp},
	{"download half-way", load.HalfDown}, {"half-closed", load.HalfClosed}, {Short, ""},
}

// Flow is the load's name for a traffic other than Short.
func Flow(traffic string) load.Flow {
	for _, f := range flows {
		if f.name == traffic {
			return f.flow
		}
	}
	return load.Idle
}

// Table is the factors, and what cannot be.
func Table() pairwise.Table {
	traffic := pairwise.Factor{Name: "traffic"}
	for _, f := range flows {
		traffic.Levels = append(traffic.Levels, f.name)
	}
	return pairwise.Table{
		Factors: []pairwise.Factor{
			{Name: "fault", Levels: faults},
			{Name: "place", Levels: append(fault.Places("unplug"), "router")},
			traffic,
			{Name: "protocol", Levels: []string{string(load.HTTP), string(load.WebSocket), string(load.TCP)}},
		},
		Excluded: excluded,
	}
}

// Step is a fault's name as a step of a schedule, at a place.
func Step(name, place string) fault.Step {
	words := strings.Fields(name)
	s := fault.Step{Fault: words[0], At: place, For: rebooting}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		if s.With == nil {
			s.With = map[string]string{}
		}
		s.With[key] = value
	}
	return s
}

// rebooting is twice for how long a router that restarts is off: less than any detector.
const rebooting = 2 * time.Second

// excluded says why a row cannot be, or would say nothing; or why no row can that has
// these levels, with "" for those that are open.
func excluded(row []string) string {
	name, place, traffic, protocol := row[Fault], row[Place], row[Traffic], row[Protocol]
	edge := slices.Contains([]string{string(lab.AtVisitor), string(lab.AtOrigin)}, place)
	other := func(p load.Protocol) bool { return protocol != "" && protocol != string(p) }
	switch {
	case traffic == "upgrade in progress" && other(load.WebSocket):
		return "only a WebSocket is asked for by an upgrade"
	case (traffic == "upload half-way" || traffic == "download half-way") && other(load.HTTP):
		return "only a body of HTTP has a length, and so a half"
	case traffic == "half-closed" && other(load.TCP):
		return "only plain TCP keeps a connection of which one direction has ended"
	case traffic == "zero window" && place == string(lab.AtVisitor):
		return "at the visitor TCP_USER_TIMEOUT counts from when the window closed, before the fault"
	case name == "":
		return ""
	}
	places, class := placesOf(name)
	switch {
	case place != "" && !slices.Contains(places, place):
		return "the fault has no such place"
	case name == "mtu-blackhole" && traffic != "" && !slices.Contains([]string{"from the server", "from the client", "both ways", "half-closed"}, traffic):
		return "small packets pass: it takes a stream of large ones"
	case survives(class) && traffic == "zero window":
		return "TCP_USER_TIMEOUT ends a connection whose window stays closed, fault or not"
	case survives(class) && traffic == Short && edge:
		return "short visits come and go: none has to survive"
	case name == "destroy-sockets" && traffic == "half-closed" && edge:
		return "the kernel destroys established connections; a half-closed one is none at the edge"
	}
	return ""
}

// survives says whether connections must live through a fault of that class.
func survives(c record.Class) bool { return c == record.Flap || c == record.Spared }

// placesOf is where a fault may be, and how it ends a connection there.
func placesOf(name string) ([]string, record.Class) {
	if name == Flap {
		// At the edge nothing says how short is short enough; at the outer end the router
		// forgets its mappings.
		return []string{string(lab.AtServer), string(lab.AtClient), string(lab.AtRouterInner)}, record.Flap
	}
	s := Step(name, "")
	places := fault.Places(s.Fault)
	if s.Fault == "refuse-dials" {
		places = []string{string(lab.AtOrigin)} // elsewhere nobody dials who is there already
	}
	if len(places) == 0 {
		return nil, ""
	}
	s.At = places[0]
	f, err := s.Make()
	if err != nil {
		return nil, ""
	}
	return places, f.Describe().Class
}
