package scenarios

import (
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

// The server dies under load and is back: the client has to let go of all that it
// carried, and to log in again by itself.
var _ = Describe("Server death", Label("quick", "process"), func() {
	It("frees what the client holds at once while visitors are idle", func(ctx SpecContext) {
		strike(ctx, lab.Direct, idle, fault.Kill{Role: "server"})
	})
	It("frees what the client holds at once with data in flight", func(ctx SpecContext) {
		strike(ctx, lab.BehindNAT, busy, fault.Kill{Role: "server"})
	})
})

var _ = Describe("SIGTERM", Label("quick", "process"), func() {
	It("ends the client, and frees what the server holds for it", func(ctx SpecContext) {
		strike(ctx, lab.Direct, busy, fault.Terminate{Role: "client"})
	})
	It("ends the server, and frees what the client holds for it", func(ctx SpecContext) {
		strike(ctx, lab.Direct, busy, fault.Terminate{Role: "server"})
	})
	// The goodbye gets no answer: the process must end all the same.
	It("ends the client while the server cannot be reached", func(ctx SpecContext) {
		strike(ctx, lab.BehindNAT, busy, fault.As{
			Fault: fault.Sequence{fault.Blackhole{}, fault.Terminate{Role: "client"}}, Class: record.Silent, Place: "router",
		})
	})
	// There is nobody to say goodbye to: it waits for its next try.
	It("ends the client while the server refuses its dials", func(ctx SpecContext) {
		playSchedule(harness.New(ctx, lab.BehindNAT), fault.Schedule{Steps: []fault.Step{
			{Fault: "refuse-dials", At: "server", Start: 0, For: 3 * time.Second},
			{Fault: "destroy-sockets", At: "client", Start: 200 * time.Millisecond, For: 300 * time.Millisecond},
			{Fault: "terminate", At: "client", Start: 1500 * time.Millisecond, For: 2 * time.Second},
		}})
	})
	It("ends the client while the server is frozen", func(ctx SpecContext) {
		strike(ctx, lab.Direct, idle, fault.As{
			Fault: fault.Sequence{fault.Freeze{Role: "server"}, fault.Terminate{Role: "client"}}, Class: record.Frozen, Place: "server",
		})
	})
})
