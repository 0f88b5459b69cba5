package fault

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

// kind is one word of the vocabulary in which schedules are written.
type kind struct {
	places []string // where it may be
	takes  []string // its parameters
	build  func(Step, *params) Fault
	// holds is what a step wants for itself: another one that wants it too must not
	// overlap.
	holds func(at string) []string
	// draw gives parameters for a drawn step. A kind without it is not drawn: it needs
	// to know the target, or to be alone.
	draw     func(*rand.Rand) map[string]string
	shortest time.Duration // of a drawn step: it needs so long to bite
}

var (
	cables    = []string{string(lab.AtVisitor), string(lab.AtServer), string(lab.AtClient), string(lab.AtOrigin), string(lab.AtRouterInner), string(lab.AtRouterOuter)}
	hostEnds  = cables[:4]
	processes = []string{"server", "client"}
	router    = []string{"router"}
)

// What steps want for themselves.
const (
	outerCable = "the cable between server and router"
	innerCable = "the cable between router and client"
	table      = "the router's table"
)

// cableOf is the cable at a place behind a NAT.
func cableOf(at string) string {
	switch lab.Place(at) {
	case lab.AtServer, lab.AtRouterOuter:
		return outerCable
	case lab.AtClient, lab.AtRouterInner:
		return innerCable
	}
	return "the cable of the " + at
}

func holdsCable(at string) []string   { return []string{cableOf(at)} }
func holdsProcess(at string) []string { return []string{"the " + at + "'s process"} }
func holdsTable(string) []string      { return []string{table} }
func holdsNothing(string) []string    { return nil }

// holdsHost is all of a host: its processes and its two cables.
func holdsHost(at string) []string {
	edge := map[string]lab.Place{"server": lab.AtVisitor, "client": lab.AtOrigin}[at]
	return append(holdsProcess(at), cableOf(at), cableOf(string(edge)))
}

// plain draws no parameters.
func plain(*rand.Rand) map[string]string { return nil }

// oneOf draws one value for a key; "" leaves it out.
func oneOf(key string, values ...string) func(*rand.Rand) map[string]string {
	return func(r *rand.Rand) map[string]string {
		if v := values[r.IntN(len(values))]; v != "" {
			return map[string]string{key: v}
		}
		return nil
	}
}

var ways = map[string]Way{"": BothWays, "to-server": ToServer, "from-server": FromServer}

// vocabulary has every fault that a schedule may name. (Flap is an unplug that does not
// last, a Sequence a schedule by itself.)
var vocabulary = map[string]kind{
	"kill":       {places: processes, build: func(s Step, _ *params) Fault { return Kill{Role: s.At} }, holds: holdsProcess, draw: plain},
	"terminate":  {places: processes, build: func(s Step, _ *params) Fault { return Terminate{Role: s.At, Within: s.For} }, holds: holdsProcess, draw: plain, shortest: time.Second},
	"freeze":     {places: processes, build: func(s Step, _ *params) Fault { return Freeze{Role: s.At} }, holds: holdsProcess, draw: plain},
	"power-loss": {places: processes, build: func(s Step, _ *params) Fault { return PowerLoss{Role: s.At} }, holds: holdsHost, draw: plain},
	"exhaust-fds": {places: processes, build: func(s Step, _ *params) Fault { return ExhaustFDs{Role: s.At} }, holds: holdsProcess,
		draw: plain},

	"unplug":       {places: cables, build: func(s Step, _ *params) Fault { return Unplug{At: lab.Place(s.At)} }, holds: holdsCable, draw: plain},
	"lose-carrier": {places: cables, build: func(s Step, _ *params) Fault { return LoseCarrier{At: lab.Place(s.At)} }, holds: holdsCable, draw: plain},
	"lose-route":   {places: hostEnds, build: func(s Step, _ *params) Fault { return LoseRoute{At: lab.Place(s.At)} }, holds: holdsCable, draw: plain},
	"lose-address": {places: hostEnds, takes: []string{"moves"}, holds: holdsCable, draw: plain,
		build: func(s Step, w *params) Fault { return LoseAddress{At: lab.Place(s.At), Moves: w.flag("moves")} }},
	"quality": {places: cables, takes: []string{"delay", "jitter", "loss", "duplicate", "reorder", "rate"}, holds: holdsCable,
		draw: oneOf("delay", "20ms", "40ms", "60ms"), shortest: 2 * time.Second,
		build: func(s Step, w *params) Fault {
			q := Quality{At: lab.Place(s.At), Is: lab.Quality{
				Delay: w.duration("delay"), Jitter: w.duration("jitter"),
				Loss: w.share("loss"), Duplicate: w.share("duplicate"), Reorder: w.share("reorder"), Rate: w.number("rate"),
			}}
			if q.Is == (lab.Quality{}) {
				w.fail("say what the cable's quality is to be: delay, jitter, loss, duplicate, reorder, rate (bits a second)")
			}
			return q
		}},
	"destroy-sockets": {places: hostEnds, build: func(s Step, _ *params) Fault { return DestroySockets{At: lab.Place(s.At)} }, holds: holdsNothing, draw: plain},
	"refuse-dials":    {places: hostEnds, build: func(s Step, _ *params) Fault { return RefuseDials{At: lab.Place(s.At)} }, holds: holdsNothing, draw: plain},

	"blackhole": {places: router, takes: []string{"way"}, holds: holdsNothing, draw: oneOf("way", "", "to-server", "from-server"),
		build: func(_ Step, w *params) Fault { return Blackhole{Way: w.way()} }},
	// Not drawn: it waits for a connection that is made anew, which other steps may keep away.
	"cut-after": {places: router, takes: []string{"packets", "way"}, holds: holdsTable,
		build: func(_ Step, w *params) Fault {
			c := CutAfter{Packets: int(w.number("packets")), Way: w.way()}
			if w.err == nil && c.Packets < 1 {
				w.fail("say how many packets of each connection pass: packets: 20")
			}
			return c
		}},
	"mtu-blackhole": {places: router, build: func(Step, *params) Fault { return MTUBlackhole{} }, holds: holdsNothing, draw: plain},
	"inject-rst":    {places: router, build: func(Step, *params) Fault { return InjectRST{} }, holds: holdsNothing, draw: plain, shortest: time.Second},
	"expire-nat": {places: router, takes: []string{"silent"}, holds: holdsTable, draw: oneOf("silent", "", "true"), shortest: time.Second,
		build: func(_ Step, w *params) Fault { return ExpireNAT{Silent: w.flag("silent")} }},
	"rebind-nat": {places: router, build: func(Step, *params) Fault { return RebindNAT{} }, holds: holdsTable, draw: plain, shortest: time.Second},
	"nat-life": {places: router, takes: []string{"life", "outlived"}, holds: holdsTable,
		build: func(_ Step, w *params) Fault {
			n := NATLife{Life: w.duration("life"), Outlived: w.flag("outlived")}
			if w.err == nil && (n.Life < time.Second || n.Life%time.Second != 0) {
				w.fail(fmt.Sprintf("life is %v: give whole seconds, as the kernel counts", n.Life))
			}
			return n
		}},
	// Half of the time it is off, in the other half it tells that it has forgotten.
	"reboot-router": {places: router, build: func(s Step, _ *params) Fault { return RebootRouter{For: s.For / 2} }, draw: plain, shortest: 2 * time.Second,
		holds: func(string) []string { return []string{table, outerCable, innerCable} }},

	"strangers": {places: []string{string(lab.AtVisitor)}, takes: []string{"port", "manners", "number"}, holds: holdsNothing,
		build: func(_ Step, w *params) Fault {
			s := Strangers{Port: uint16(w.number("port")), Manners: Mute, Number: int(w.number("number"))}
			if s.Port == 0 {
				w.fail("say which port of the server: port: 4443")
			}
			switch m := w.of["manners"]; m {
			case "", "mute":
			case "half-tls":
				s.Manners = HalfTLS
			default:
				w.fail(fmt.Sprintf("no such manners %q: want mute or half-tls", m))
			}
			return s
		}},
}

// params are a step's parameters while they are read; the first that is wrong is kept.
type params struct {
	of  map[string]string
	err error
}

func (p *params) fail(text string) {
	if p.err == nil {
		p.err = errors.New(text)
	}
}

func (p *params) flag(key string) bool {
	yes, err := strconv.ParseBool(cmp.Or(p.of[key], "false"))
	if err != nil {
		p.fail(fmt.Sprintf("%s is %q: want true or false", key, p.of[key]))
	}
	return yes
}

func (p *params) duration(key string) time.Duration {
	d, err := time.ParseDuration(cmp.Or(p.of[key], "0s"))
	if err != nil || d < 0 {
		p.fail(fmt.Sprintf("%s is %q: want a time like 40ms, not negative", key, p.of[key]))
	}
	return d
}

func (p *params) way() Way {
	way, ok := ways[p.of["way"]]
	if !ok {
		p.fail(fmt.Sprintf("no such way %q: want to-server, from-server, or none for both", p.of["way"]))
	}
	return way
}

// share is a share of the packets, 0 to 1.
func (p *params) share(key string) float64 {
	f, err := strconv.ParseFloat(cmp.Or(p.of[key], "0"), 64)
	if err != nil || !(f >= 0 && f <= 1) {
		p.fail(fmt.Sprintf("%s is %q: want a share of the packets, 0 to 1", key, p.of[key]))
	}
	return f
}

func (p *params) number(key string) int64 {
	n, err := strconv.ParseInt(cmp.Or(p.of[key], "0"), 10, 64)
	if err != nil || n < 0 || key == "port" && n > 65535 {
		p.fail(fmt.Sprintf("%s is %q: want a whole number, not negative", key, p.of[key]))
	}
	return n
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
