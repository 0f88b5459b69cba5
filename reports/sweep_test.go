package reports

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

// swept is a life of eight packets: what comes behind each of the first.
var swept = []string{
	"connect: ACK to the server", "TLS: ClientHello to the server", "TLS: server's handshake from the server",
	"token: token to the server", "token: answer from the server", "http: data to the server",
}

// sweepRun cuts it after each, each way. One cut leaks, one does not bite, and one hits
// another event than the one that it was meant for.
func sweepRun(t testing.TB) *recordBuilder {
	b := newRecord(t).run("sweep", "go tool ginkgo --label-filter=sweep ./scenarios -- -sweep=reports/sweep")
	for i, next := range swept {
		for n, way := range []string{"", "to the server", "from the server"} {
			id := string(rune('a'+i)) + string(rune('1'+n))
			b.begin(id, "Packet sweep cut after packet "+string(rune('2'+i))+", "+cmp.Or(way, "both ways"), "catalogue", "scenarios/sweep_test.go", 55)
			cut := record.Cut{After: i + 2, Way: way, Of: 8, Next: next}
			planned := cut
			b.add(id, 0, record.Event{Kind: record.KindCut, Cut: &planned})
			if i == 5 && n == 2 { // what it hit does not count
				cut.Event = swept[4]
				b.add(id, 0, record.Event{Kind: record.KindCut, Cut: &cut})
				b.add(id, 0, record.Event{Kind: record.KindVerdict, Verdict: &record.Judgement{Verdict: record.Inconclusive, Reason: "the fault did not bite", Returned: -1}})
				b.end(id, "failed", "INCONCLUSIVE: the fault did not bite", 9)
				continue
			}
			s := scene{spec: id, fault: "cut after packet", place: "router", exposed: 5, coarse: true}
			if i == 3 && n == 1 {
				s.leaked = 1
			}
			done := cut
			done.Event = next
			if i == 4 {
				done.Event = "token: ACK from the server"
			}
			b.play(s)
			b.add(id, 0, record.Event{Kind: record.KindCut, Cut: &done})
			state := "passed"
			if s.leaked > 0 {
				state = "failed"
			}
			b.end(id, state, "", 14)
		}
	}
	return b.finish("done", 171)
}

func TestSweepIsDrawn(t *testing.T) {
	b := sweepRun(t)
	v := tell(b.events, false).sweep()
	if v.Sum != "8 packets, 5 of 6 events covered, 18 cuts" {
		t.Errorf("the sum is %q", v.Sum)
	}
	if len(v.Missed) != 1 || v.Missed[0] != "token: answer from the server" {
		t.Errorf("missed are %q", v.Missed)
	}
	if len(v.Odd) != 2 || v.Odd[0].Word.Text != "LEAK" || v.Odd[0].After != 5 || v.Odd[0].Arrow != "→" || v.Odd[1].Word.Text != "INCONCLUSIVE" {
		t.Errorf("odd are %+v", v.Odd)
	}
	var strip []string
	for _, s := range v.Stages {
		row := s.Name + ":"
		for _, p := range s.Packets {
			row += string(rune('0' + p.After))
			for _, c := range p.Cuts {
				row += c.Arrow + c.Word.Sign
			}
		}
		strip = append(strip, row)
	}
	want := []string{"connect:2⇄✓→✓←✓", "TLS:3⇄✓→✓←✓4⇄✓→✓←✓", "token:5⇄✓→✗←✓6⇄✓→✓←✓", "http:7⇄✓→✓←?"}
	if !slices.Equal(strip, want) {
		t.Errorf("the strip is %q, want %q", strip, want)
	}
	_, page := mustWrite(t, b.write())
	check(t, page)
	for _, want := range []string{"The packet sweep", "to the server: LEAK, hit token: token to the server", "Not hit: token: answer from the server"} {
		if !strings.Contains(text(page), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if _, page := mustWrite(t, passRun(t).write()); strings.Contains(page, `id="sweep"`) {
		t.Error("a run without cuts has a strip")
	}
}

// Specs run in parallel: their events lie in the record in any order.
func TestSweepIsInTheOrderOfPackets(t *testing.T) {
	var events []record.Event
	for _, after := range []int{7, 3, 5} {
		for _, way := range []string{"from the server", "", "to the server"} {
			id := string(rune('0'+after)) + way
			events = append(events,
				record.Event{Kind: record.KindBegin, Spec: id, Begin: &record.Spec{Name: id}},
				record.Event{Kind: record.KindCut, Spec: id, Cut: &record.Cut{After: after, Way: way, Of: 9, Next: "http: ACK", Event: "http: ACK"}},
				record.Event{Kind: record.KindVerdict, Spec: id, Verdict: &record.Judgement{Verdict: record.Pass}})
		}
	}
	v := tell(events, false).sweep()
	var order string
	for _, c := range v.All {
		order += string(rune('0'+c.After)) + c.Arrow
	}
	if order != "3⇄3→3←5⇄5→5←7⇄7→7←" || len(v.Stages) != 1 {
		t.Errorf("the order is %s, in %d stages", order, len(v.Stages))
	}
}
