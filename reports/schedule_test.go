package reports

import (
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
