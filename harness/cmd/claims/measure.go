package main

import (
	"context"
	"fmt"
	"sync"
)

// Result is one claim with its answer.
type Result struct {
	ID      string   `json:"id"`
	Where   string   `json:"where"` // the document's heading
	Claim   string   `json:"claim"` // the document's words
	Tried   string   `json:"tried"`
	Answer  Answer   `json:"answer"`
	When    []string `json:"when,omitempty"` // of TRUE IF: the circumstances in which it holds
	With    []string `json:"with,omitempty"` // other settings that were measured to make it hold
	Cases   []Case   `json:"cases"`
	Trouble []string `json:"trouble,omitempty"` // trials that could not be run
}

// job is one trial that is to be run, and where its case belongs.
type job struct {
	claim, place int
	try          trial
}

// measure runs the trials of all claims, procs at a time, and answers. A trial that cannot
// be run leaves its case undecided.
func measure(ctx context.Context, b *bench, claims []claim, slow bool, procs int, progress func(done, of int)) ([]Result, error) {
	results := make([]Result, len(claims))
	var jobs []job
	for i, c := range claims {
		results[i] = Result{ID: c.id, Where: c.where, Claim: c.words, Tried: c.tried}
		for _, t := range c.cases {
			if t.slow && !slow {
				continue
			}
			jobs = append(jobs, job{claim: i, place: len(results[i].Cases), try: t})
			results[i].Cases = append(results[i].Cases, t.Case)
		}
	}
	var (
		wait sync.WaitGroup
		mu   sync.Mutex // guards what follows, and results
		done int
		free = make(chan struct{}, procs)
	)
	// The long ones first: the others fit in beside them.
	for _, slow := range []bool{true, false} {
		for _, j := range jobs {
			if j.try.slow != slow {
				continue
			}
			if j.try.slow {
				wait.Go(func() { b.one(ctx, j, results, &mu) }) // it waits for minutes, and needs no turn
				continue
			}
			free <- struct{}{}
			wait.Go(func() {
				defer func() { <-free }()
				b.one(ctx, j, results, &mu)
				mu.Lock()
				defer mu.Unlock()
				if done++; done%10 == 0 {
					progress(done, len(jobs))
				}
			})
		}
	}
	wait.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for i := range results {
		r := &results[i]
		r.Answer, r.When, r.With = judge(r.Cases)
	}
	return results, nil
}

// one runs one trial.
func (b *bench) one(ctx context.Context, j job, results []Result, mu *sync.Mutex) {
	if ctx.Err() != nil {
		return
	}
	got, err := j.try.run(ctx, b)
	if err != nil {
		got = reading{witness: fmt.Sprintf("the trial failed: %v", err)}
	}
	mu.Lock()
	defer mu.Unlock()
	r := &results[j.claim]
	r.Cases[j.place] = j.try.fill(got)
	if err != nil {
		r.Trouble = append(r.Trouble, r.Cases[j.place].Circumstance+": "+err.Error())
	}
}
