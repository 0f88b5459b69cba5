package scenarios

import (
	. "github.com/onsi/ginkgo/v2"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

// The path dies at one exact packet of a session's life: SYN, SYN ACK, ACK and the first
// of the TLS handshake have passed, and nothing follows.
var _ = Describe("Cut after a packet", Label("path"), func() {
	It("inside the TLS handshake is ended by the handshake's deadline", func(ctx SpecContext) {
		strike(ctx, lab.BehindNAT, nobody, fault.As{Fault: fault.CutAfter{Packets: 4}, Class: record.Unfinished})
	})
})
