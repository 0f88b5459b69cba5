package leak

import (
	"fmt"

	"github.com/halfopen/halfopen/harness/record"
)

// Leftover is what the kernel keeps of a connection that its process has closed.
type Leftover string

// The leftovers.
const (
	Unheard  Leftover = "unheard" // the peer is not heard: the FIN is never acknowledged
	Unread   Leftover = "unread"  // the peer takes nothing more: the FIN waits behind its window
	FinWait2 Leftover = "FIN_WAIT2"
	TimeWait Leftover = "TIME_WAIT"
)

// timeWait is TCP_TIMEWAIT_LEN in seconds; it is not tunable.
const timeWait = 60

// ResidueOf bounds how long the kernel keeps what no process holds any more, counted
// from the close. An orphan keeps its user timeout. Without one it is given up after
// tcp_orphan_retries retransmissions; where that is 0 after 8, or as soon as the
// retransmission timer has grown to its cap (tcp_orphan_retries in net/ipv4/tcp_timer.c).
//
//	s:  of the socket, from its live options
//	ns: of its host
func ResidueOf(s record.Settings, ns record.Namespace, what Leftover) record.Bound {
	b := record.Bound{Sockets: "kept by the kernel", Detector: string(what), Decides: true}
	switch {
	case what == TimeWait:
		b.Earliest, b.Latest = timeWait, fires(timeWait)
		b.Formula = fmt.Sprintf("TIME_WAIT 60 + g = %.3f s", b.Latest)
		return b
	case what == FinWait2:
		b.Earliest, b.Latest = ns.FinTimeout-rto, fires(ns.FinTimeout)
		b.Formula = fmt.Sprintf("tcp_fin_timeout %.3g + g = %.3f s", ns.FinTimeout, b.Latest)
		return b
	case s.UserTimeout > 0:
		b.Latest = userTimeoutLatest(s)
		b.Formula = fmt.Sprintf("2 RTO %.3g + U %.3g + g = %.3f s", 2*rto, s.UserTimeout, b.Latest)
		if what == Unheard {
			b.Earliest = s.UserTimeout
		}
		return b
	}
	n, most := ns.OrphanRetries, rtoMax(s)
	// All timers below the cap add up to less than twice the cap; then comes one of the cap.
	capped := 2*rto + 3*fires(most)
	switch {
	case what == Unread:
		b.Latest = capped
		b.Formula = fmt.Sprintf("until the probe timer has grown to its cap: 2 RTO %.3g + 3 x (RTO max %.3g + g) = %.3f s", 2*rto, most, b.Latest)
	case n == 0:
		b.Latest = min(capped, retransmitLatest(orphanRetries, most))
		b.Earliest = min(most, retransmitEarliest(orphanRetries, most))
		b.Formula = fmt.Sprintf("min(R(8, RTO max %.3g), until the timer has grown to its cap) = %.3f s", most, b.Latest)
	default:
		b.Latest, b.Earliest = retransmitLatest(n, most), retransmitEarliest(n, most)
		b.Formula = fmt.Sprintf("R(tcp_orphan_retries %d, RTO max %.3g) = %.3f s", n, most, b.Latest)
	}
	return b
}
