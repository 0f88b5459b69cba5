package scenarios

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/scenarios/sweep"
)

var (
	sweepIn   = flag.String("sweep", "", "the `FOLDER` of a recorded life: cut after each of its packets (make sweep does)")
	sweepLife = flag.String("sweep-life", "", "record a session's life into this `FOLDER`")
)

// sweepPackets is how many packets of a session are swept.
const sweepPackets = 60

// A session logs in, and visitors come, one after the other; the path dies after packet N.
var _ = Describe("Packet sweep", Label("sweep"), func() {
	if *sweepLife != "" {
		It("records the life that the cuts are chosen from", func(ctx SpecContext) {
			lives := cutAmid(ctx, sweep.Cut{After: sweepPackets}, "")
			for _, life := range lives {
				if len(life) >= sweepPackets && life.Whole() {
					keep(life[:sweepPackets].Store(*sweepLife))
					return
				}
			}
			Fail(fmt.Sprintf("no session of %d has lived for %d packets", len(lives), sweepPackets))
		})
	}
	if *sweepIn == "" {
		return
	}
	life, err := sweep.LoadLife(*sweepIn)
	if err != nil {
		panic(fmt.Errorf("-sweep: %w: make sweep records one", err)) // at start: Ginkgo shows it
	}
	for _, cut := range life.Cuts() {
		It(cut.Name(), func(ctx SpecContext) {
			cutAmid(ctx, cut, *sweepIn, life...)
		})
	}
})

// cutAmid tells the story of one cut, and gives what the router saw until it struck. What it
// has hit is stored in the folder, if there is one, before anything is judged.
func cutAmid(ctx SpecContext, cut sweep.Cut, folder string, life ...sweep.Packet) []sweep.Life {
	w := harness.New(ctx, lab.BehindNAT)
	noted := record.Cut{After: cut.After, Way: string(cut.Way), Of: len(life)}
	if folder != "" {
		noted.Next = life[cut.After].Event
		w.Note(noted)
	}

	router := w.Lab.Router
	seen, err := router.Capture(lab.CaptureSize{Packets: 16384})
	keep(err)
	defer func() { keep(seen.Close()) }()
	var mu sync.Mutex
	var script []sweep.Stage
	stage := func(name string) {
		mu.Lock()
		defer mu.Unlock()
		script = append(script, sweep.Stage{At: time.Now(), Name: name})
	}
	w.Inject(w.Amid(fault.As{
		Fault: fault.CutAfter{Packets: cut.After, Way: cut.Way}, Class: sweep.Life(life).Class(cut.After, cut.Way),
	}, stage))

	var capture bytes.Buffer
	_, _, err = seen.Write(&capture)
	keep(err)
	lives, err := sweep.Read(&capture, sweep.Router{
		Inner: router.Name + ":" + router.Inner.Name, Outer: router.Name + ":" + router.Outer.Name, Port: 4443,
	}, script)
	keep(err)
	if folder != "" {
		hit, ok := sweep.Hit(lives, cut.After, cut.Way)
		if !ok {
			keep(errors.New("the capture has no packet that was dropped"))
		}
		cut.Event = hit.Event
		keep(cut.Store(folder))
		noted.Event = hit.Event
		w.Note(noted)
		By(fmt.Sprintf("cut at %q", cut.Event))
	}

	w.Settle()
	w.Heal()

	w.ExpectService()
	w.ExpectClean(w.Server, w.Client)
	return lives
}

// keep fails a story whose own account cannot be kept.
func keep(err error) {
	GinkgoHelper()
	if err != nil {
		Fail(err.Error())
	}
}
