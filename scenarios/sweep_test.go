package scenarios

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/load"
	"github.com/halfopen/halfopen/harness/record"
	"github.com/halfopen/halfopen/scenarios/sweep"
)

var (
	sweepIn   = flag.String("sweep", "", "the `FOLDER` of a recorded life: cut after each of its packets (make sweep does)")
	sweepLife = flag.String("sweep-life", "", "record a session's life into this `FOLDER`")
)

// A session logs in, visitors come, one after the other, and it is replaced by another; the
// path dies after packet N of its life.
var _ = Describe("Packet sweep", Label("sweep"), func() {
	if *sweepLife != "" {
		It("records the life that the cuts are chosen from", func(ctx SpecContext) { recordLife(ctx, *sweepLife) })
	}
	if *sweepIn == "" {
		return
	}
	life, err := sweep.LoadLife(*sweepIn)
	if err != nil {
		panic(fmt.Errorf("-sweep: %w: make sweep records one", err)) // at start: Ginkgo shows it
	}
	for _, cut := range life.Cuts() {
		It(cut.Name(), func(ctx SpecContext) { cutAmid(ctx, cut, *sweepIn, life) })
	}
})

// recordLife has the client log in anew and stores the life of a session that nobody cuts,
// from its SYN to the last FIN.
func recordLife(ctx SpecContext, folder string) {
	w := harness.New(ctx, lab.BehindNAT)
	a := attend(w)
	defer a.leave()
	w.Inject(w.Amid(lived{fault.DestroySockets{At: lab.AtClient}, func() bool { return a.oldest().Over() }}, a.script))
	life := a.oldest()
	keep(life.Store(folder))
	By(fmt.Sprintf("%d packets: %s", len(life), strings.Join(life.Stages(), ", ")))
	if missing := life.Lacks(); len(missing) > 0 {
		Fail(fmt.Sprintf("the session that has lived was never in %s: a target is swept that replaces a session after four requests, as scenarios/targets/tunnel-recycling.yaml does", strings.Join(missing, ", ")))
	}

	w.Settle()
	w.Heal()

	w.ExpectService()
	w.ExpectClean(w.Server, w.Client)
}

// lived destroys the sessions, and is in force when one of those that the client makes
// instead has lived its whole life.
type lived struct {
	fault.DestroySockets
	over func() bool
}

// Inject implements fault.Fault.
func (l lived) Inject(ctx context.Context, on *lab.Lab) (fault.Heal, fault.Witness, error) {
	undo, err := on.Packetize() // as where it is cut
	if err != nil {
		return nil, nil, err
	}
	_, witness, err := l.DestroySockets.Inject(ctx, on)
	if err != nil {
		return nil, nil, errors.Join(err, undo())
	}
	for begin := time.Now(); !l.over(); time.Sleep(look) {
		if time.Since(begin) > lifeTime || ctx.Err() != nil {
			return nil, nil, errors.Join(fmt.Errorf("no session has lived from its SYN to the last FIN within %v", lifeTime), context.Cause(ctx), undo())
		}
	}
	return func(context.Context) error { return undo() }, witness, nil
}

// lifeTime is more than a session needs for a login and four requests; look is between two
// looks at what the router has seen.
const (
	lifeTime = 20 * time.Second
	look     = 50 * time.Millisecond
)

// cutAmid tells the story of one cut. What it has hit is stored in the folder before
// anything is judged.
func cutAmid(ctx SpecContext, cut sweep.Cut, folder string, life sweep.Life) {
	w := harness.New(ctx, lab.BehindNAT)
	noted := record.Cut{After: cut.After, Way: string(cut.Way), Of: len(life), Next: life[cut.After].Event}
	w.Note(noted)
	a := attend(w)
	defer a.leave()
	w.Inject(w.Amid(fault.As{
		Fault: fault.CutAfter{Packets: cut.After, Way: cut.Way}, Class: life.Class(cut.After, cut.Way),
	}, a.script))

	lives, err := a.lives()
	keep(err)
	hit, ok := sweep.Hit(lives, cut.After, cut.Way)
	if !ok {
		keep(errors.New("the capture has no packet that was dropped"))
	}
	cut.Event, noted.Event = hit.Event, hit.Event
	keep(cut.Store(folder))
	w.Note(noted)
	By(fmt.Sprintf("cut at %q", cut.Event))

	w.Settle()
	w.Heal()

	w.ExpectService()
	w.ExpectClean(w.Server, w.Client)
}

// attendant looks on as sessions live: what the router sees, and which stage the script is in.
type attendant struct {
	router *lab.NAT
	seen   *lab.Capture

	mu     sync.Mutex
	stages []sweep.Stage
	last   time.Time // SYN of the session that the script was played on last
}

// attend begins to look. The caller calls leave.
func attend(w *harness.World) *attendant {
	GinkgoHelper()
	seen, err := w.Lab.Router.Capture(lab.CaptureSize{Packets: 16384})
	keep(err)
	return &attendant{router: w.Lab.Router, seen: seen}
}

func (a *attendant) leave() { keep(a.seen.Close()) }

// script is what visitors do in a session's life, from its login on. With the fourth
// request the server asks for a successor, and the session is drained as soon as that has
// logged in: the last visitor stays for so long.
func (a *attendant) script(ctx context.Context, visit func(load.Protocol, func(string)) error) error {
	a.last = a.login(ctx, a.last)
	time.Sleep(2 * look) // the first heartbeat, and what acknowledges it, are nobody's visit
	for _, p := range []load.Protocol{load.HTTP, load.WebSocket, load.TCP} {
		if err := visit(p, a.stage); err != nil {
			return err
		}
	}
	return visit(load.TCP, func(step string) {
		if step == "tcp" {
			a.stage(sweep.Recycle)
			return
		}
		a.login(ctx, a.last)
		a.stage(sweep.Drain)
	})
}

// login waits for a session that is younger than the one whose SYN came at last, and gives
// its own. If none logs in within a second, it is as well to go on; but nobody comes before
// the first: those that were there are to be destroyed, and no visitor with them.
func (a *attendant) login(ctx context.Context, last time.Time) time.Time {
	for begin := time.Now(); ctx.Err() == nil && (last.IsZero() || time.Since(begin) < time.Second); time.Sleep(look) {
		lives, _ := a.lives() // the story asks again, and fails
		for _, l := range slices.Backward(lives) {
			if l.LoggedIn() && l[0].At.After(last) {
				return l[0].At
			}
		}
	}
	return last
}

func (a *attendant) stage(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stages = append(a.stages, sweep.Stage{At: time.Now(), Name: name})
}

// oldest is the life of the session that has logged in first.
func (a *attendant) oldest() sweep.Life {
	GinkgoHelper()
	lives, err := a.lives()
	keep(err)
	if at := slices.IndexFunc(lives, sweep.Life.LoggedIn); at >= 0 {
		return lives[at]
	}
	return nil
}

// lives are those that the router has seen so far.
func (a *attendant) lives() ([]sweep.Life, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var capture bytes.Buffer
	if kept, _, err := a.seen.Write(&capture); err != nil || kept == 0 {
		return nil, err
	}
	return sweep.Read(&capture, sweep.Router{
		Inner: a.router.Name + ":" + a.router.Inner.Name, Outer: a.router.Name + ":" + a.router.Outer.Name, Port: 4443,
	}, a.stages)
}

// keep fails a story whose own account cannot be kept.
func keep(err error) {
	GinkgoHelper()
	if err != nil {
		Fail(err.Error())
	}
}
