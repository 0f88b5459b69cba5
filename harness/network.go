package harness

import (
	"context"
	"errors"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

// network is how the network of a host was set while the fault was in force, and is
// at the verdict.
type network struct{ rules, flows, cables string }

// lookAt reads a host's network; what cannot be read is left out.
func lookAt(ctx context.Context, h *lab.Host) (n network, err error) {
	var errs [3]error
	n.rules, errs[0] = h.Ruleset(ctx)
	n.flows, errs[1] = h.Flows()
	n.cables, errs[2] = h.Cabling()
	return n, errors.Join(errs[:]...)
}

// network writes both looks at a host's network.
func (b *bundle) network(h *lab.Host, during, now network) {
	both := func(name, what, then, now string) {
		if then == "" && now == "" {
			return
		}
		// Each has half of the room: the first must not be cut away for the second. Secrets
		// go before the cut, for half of one would not be known.
		then, less := lastPart(b.secrets.text(then), mostEvidence/2-headRoom)
		now, fewer := lastPart(b.secrets.text(now), mostEvidence/2-headRoom)
		b.text(h.Name+"-"+name+".txt", what, "== at the end of the window, the fault in force ==\n"+then+"\n== at the verdict ==\n"+now, less || fewer)
	}
	both("ruleset", "packet filter of the "+h.Name+", with counters", during.rules, now.rules)
	both("conntrack", "connections that the kernel of the "+h.Name+" tracks", during.flows, now.flows)
	both("links", "interfaces, addresses, counters and routes of the "+h.Name, during.cables, now.cables)
}

// survey notes how the network is set while a fault is in force that something has
// outlived: after the heal nobody could see it any more.
func (w *World) survey() {
	r := w.round
	if w.evidence.mode == EvidenceNone || r.outcome.Returned >= 0 && r.outcome.Returned <= r.window.Deadline {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), 5*time.Second)
	defer cancel()
	r.network = map[string]network{}
	for _, h := range w.Lab.Hosts() {
		n, err := lookAt(ctx, h)
		if err != nil {
			w.t.Logf("survey the network: %v", err) // the look at the verdict says it in the record
		}
		r.network[h.Name] = n
	}
}
