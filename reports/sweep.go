package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/halfopen/halfopen/harness/record"
)

// sweepView is a session's life, cut after each of its packets.
type sweepView struct {
	Sum, Count string
	Stages     []sweepStage
	Odd, All   []cutView // Odd are those that did not pass
	Missed     []string  // events of the life that no judged cut has hit
}

type (
	// sweepStage is a run of packets that belong to one step of the life: connect, TLS,
	// token, or the visit that was on.
	sweepStage struct {
		Name    string
		Packets []sweptPacket
	}
	sweptPacket struct {
		After int
		Cuts  []cutView
	}
	cutView struct {
		Word                          word
		After                         int
		Arrow, Way, Next, Event, Link string
	}
)

// cutWays are the ways of a cut as they stand below a packet, with their arrows.
var cutWays = []struct{ way, arrow, name string }{
	{"", "⇄", "both ways"}, {"to the server", "→", "to the server"}, {"from the server", "←", "from the server"},
}

// sweep draws the cuts of a run, in the order of the packets; nil if it has none. An event
// is covered if a cut that was judged has hit it, wherever that cut was meant to be.
func (s *story) sweep() *sweepView {
	var list []cutView
	var life []string // the events that cuts were meant for, as they come
	hit, packets := map[string]bool{}, 0
	for _, sp := range s.specs {
		for _, r := range sp.rounds {
			c := r.cut
			if c == nil {
				continue
			}
			packets = max(packets, c.Of)
			v := cutView{Word: verdictWord(sp.verdict), After: c.After, Arrow: "?", Way: c.Way, Next: c.Next, Event: cmp.Or(c.Event, "nothing"), Link: sp.anchor}
			for _, w := range cutWays {
				if w.way == c.Way {
					v.Arrow, v.Way = w.arrow, w.name
				}
			}
			list = append(list, v)
			switch sp.verdict {
			case record.Inconclusive, record.Skipped, "":
			default:
				hit[c.Event] = true
			}
		}
	}
	if len(list) == 0 {
		return nil
	}
	rank := func(v cutView) int {
		return slices.IndexFunc(cutWays, func(w struct{ way, arrow, name string }) bool { return w.arrow == v.Arrow })
	}
	slices.SortStableFunc(list, func(a, b cutView) int { return cmp.Or(a.After-b.After, rank(a)-rank(b)) })
	v := &sweepView{All: list, Count: count(len(list), "cut")}
	for _, c := range list {
		if c.Word.Class != "good" {
			v.Odd = append(v.Odd, c)
		}
		if !slices.Contains(life, c.Next) {
			life = append(life, c.Next)
		}
		v.place(c)
	}
	covered := 0
	for _, event := range life {
		if hit[event] {
			covered++
		} else {
			v.Missed = append(v.Missed, event)
		}
	}
	v.Sum = fmt.Sprintf("%s, %d of %s covered, %s", count(packets, "packet"), covered, count(len(life), "event"), v.Count)
	return v
}

// place puts the next cut at the end of the strip.
func (v *sweepView) place(c cutView) {
	name, _, _ := strings.Cut(c.Next, ": ")
	if n := len(v.Stages); n == 0 || v.Stages[n-1].Name != name {
		v.Stages = append(v.Stages, sweepStage{Name: name})
	}
	stage := &v.Stages[len(v.Stages)-1]
	if n := len(stage.Packets); n == 0 || stage.Packets[n-1].After != c.After {
		stage.Packets = append(stage.Packets, sweptPacket{After: c.After})
	}
	packet := &stage.Packets[len(stage.Packets)-1]
	packet.Cuts = append(packet.Cuts, c)
}
