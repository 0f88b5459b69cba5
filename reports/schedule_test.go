package reports

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/record"
)

func scheduleOf(steps ...record.Step) record.Schedule {
	return record.Schedule{Seed: 7, File: "schedule.yaml", Steps: steps, Played: true}
}

var (
	oneStep   = record.Step{Fault: "expire-nat", At: "router", With: map[string]string{"silent": "true"}, Start: 1, For: 2, Bit: true, Saw: "9 mappings lost"}
	otherStep = record.Step{Fault: "kill", At: "client", Start: 2, For: 1, Saw: "its 1s were over"}
)

// shrunkRun is of a schedule after which a client does not serve: with both of its steps,
// with the first alone, and no more when that is shorter.
func shrunkRun(t *testing.T) *recordBuilder {
	const name = "Faults that overlap leave nothing behind"
	b := newRecord(t).run("shrink", "go tool ginkgo --seed=8812 --label-filter=schedule ./scenarios -- -shrink=true")
	b.begin("1-1-1", name, "catalogue", "scenarios/schedule_test.go", 40)
	x := record.Shrunk{Verdict: record.Dead, Before: scheduleOf(oneStep, otherStep), After: scheduleOf(oneStep),
		Replay: "go tool ginkgo --label-filter=schedule ./scenarios -- -schedule=reports/runs/20261120-093000-shrink/schedule-shrunk.yaml"}
	x.Before.File, x.After.File = "schedule-whole.yaml", "schedule-shrunk.yaml"
	short := oneStep
	short.For = 1
	for i, trial := range []struct {
		what  string
		dead  bool
		steps []record.Step
	}{{"the whole", true, []record.Step{oneStep, otherStep}}, {"without step 2", true, []record.Step{oneStep}}, {"step 1 half as long", false, []record.Step{short}}} {
		id := fmt.Sprintf("1-1-%d", i+2)
		b.begin(id, fmt.Sprintf("%s, trial %d: %s", name, i+1, trial.what), "catalogue", "scenarios/schedule_test.go", 40)
		s := scheduleOf(trial.steps...)
		b.add(id, 0, record.Event{Kind: record.KindSchedule, Schedule: &s})
		j := b.play(scene{spec: id, fault: fmt.Sprintf("a schedule of %s", count(len(s.Steps), "step")), place: "several places", exposed: 24, may: true})
		state := "passed"
		if trial.dead {
			j.Verdict, j.Reason, state = record.Dead, "the returning client does not serve 7 s after the heal", "failed"
			for _, e := range b.events {
				if e.Spec == id && e.Service != nil && e.Service.Client == "returning" {
					e.Service.OK, e.Service.Error = false, "visit the returning client: 503, it is away"
				}
			}
		}
		b.end(id, state, "", 21)
		x.Trials = append(x.Trials, record.ShrinkTrial{Steps: len(s.Steps), What: trial.what, Verdict: j.Verdict, Red: trial.dead, Took: 21})
	}
	b.add("", 0, record.Event{Kind: record.KindShrunk, Shrunk: &x})
	b.add("1-1-1", 0, record.Event{Kind: record.KindVerdict, Verdict: &record.Judgement{Verdict: record.Dead, Reason: "2 steps were shrunk to 1 in 3 trials", Returned: -1}})
	b.end("1-1-1", "failed", "DEAD: 2 steps were shrunk to 1 in 3 trials", 64)
	return b.finish("done", 66)
}

// Each step is a row among the faults, with its witness.
func TestStepsAreDrawn(t *testing.T) {
	at := time.Unix(100, 0)
	s := scheduleOf(oneStep, otherStep)
	story := tell([]record.Event{
		{At: at, Kind: record.KindBegin, Spec: "1", Begin: &record.Spec{Name: "Schedule"}},
		{At: at, Kind: record.KindSchedule, Spec: "1", Schedule: &record.Schedule{Steps: s.Steps[:1]}},
		{At: at.Add(time.Second), Kind: record.KindFault, Spec: "1", Fault: &record.Fault{ID: 1, Name: "a schedule of 2 steps", Phase: "injected"}},
		{At: at.Add(9 * time.Second), Kind: record.KindSchedule, Spec: "1", Schedule: &s},
	}, false)
	rows := story.specs[0].rounds[0].faultViews()
	if len(rows) != 3 || rows[1].Name != "step 1: expire-nat silent=true" || !rows[1].Bit || rows[1].Witness != "9 mappings lost" ||
		rows[2].Name != "step 2: kill" || rows[2].Bit || rows[2].Place != "client" {
		t.Errorf("rows are %+v", rows)
	}
}

// What shrinks a schedule has no fault of its own: it is no spec that is never clean.
func TestShrinkingIsNotNeverClean(t *testing.T) {
	s := tell(shrunkRun(t).events, false)
	if row := s.specs[0].row(); s.specs[0].verdict != record.Dead || row.Returned != "–" {
		t.Errorf("%s is %s, clean after %s", row.Name, s.specs[0].verdict, row.Returned)
	}
}

func TestShrunkScheduleIsDrawn(t *testing.T) {
	short := oneStep
	short.For = 0.5
	x := record.Shrunk{
		Verdict: record.Leak, Before: scheduleOf(oneStep, otherStep), After: scheduleOf(short), Replay: "make it-again",
		Trials: []record.ShrinkTrial{{Steps: 2, What: "the whole", Verdict: record.Leak, Red: true, Took: 30}, {Steps: 1, What: "without step 1", Verdict: record.Pass}},
	}
	draw := func() (string, []shrunkView) {
		s := tell([]record.Event{{At: time.Unix(100, 0), Kind: record.KindShrunk, Shrunk: &x}}, false)
		page, err := pageHTML(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(page), s.shrunkViews()
	}
	page, views := draw()
	for _, text := range []string{"A shrunk schedule", "2 steps, 1 left", "<span>make</span> <span>it-again</span>", "expire-nat silent=true", `href="./schedule.yaml"`, "without step 1"} {
		if !strings.Contains(page, text) {
			t.Errorf("the page lacks %q", text)
		}
	}
	if v := views[0]; !v.Before[0].Kept || v.Before[1].Kept {
		t.Errorf("kept are %+v", v.Before)
	}
	x.After.File = "../../etc/passwd"
	if page, _ := draw(); strings.Contains(page, "passwd") {
		t.Error("the page links out of the run's folder")
	}
}
