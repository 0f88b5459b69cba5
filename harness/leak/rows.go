package leak

import (
	"fmt"

	"github.com/halfopen/halfopen/harness/record"
)

// The names of the kernel's detectors.
const (
	byUserTimeout = "TCP_USER_TIMEOUT"
	byKeepalive   = "keepalive"
	byRetries     = "retransmission limit"
	byProbes      = "zero window probes"
)

// byHalfClose is the name of the bound on what one direction of has ended.
const byHalfClose = "half-close bound"

// detectors are those of one end of a connection, with s its settings.
func detectors(s record.Settings, x Exposure) []record.Bound {
	switch x.Class {
	case record.Closed:
		return []record.Bound{{
			Detector: "FIN or RST",
			Formula:  "the kernel of a process that died closes its sockets at once = 0 s",
		}}
	case record.HalfClosed:
		return halfClosedRows(s)
	case record.Unfinished:
		return unfinishedRows(s)
	case record.Frozen:
		return frozenRows(s, x)
	case record.Reset:
		return resetRows(s)
	}
	rows := append(heartbeatRows(s), readRows(s)...)
	switch {
	case x.Full:
		return append(append(rows, writeRows(s, x)...), fullRows(s)...)
	case x.Busy:
		rows = append(rows, writeRows(s, x)...)
	}
	return append(rows, silentRows(s, x)...)
}

// heartbeatRows are the deadline that each frame puts off, if there is one. A frame may
// have been late by as much as a machine that does not starve lets a thread wait.
func heartbeatRows(s record.Settings) []record.Bound {
	if s.HeartbeatDeadline <= 0 {
		return nil
	}
	return []record.Bound{{
		Detector: "heartbeat deadline",
		Formula:  fmt.Sprintf("deadline after the last frame = %.3g s", s.HeartbeatDeadline),
		Earliest: max(0, s.HeartbeatDeadline-s.HeartbeatInterval-starving),
		Latest:   s.HeartbeatDeadline,
	}}
}

// readRows are the deadline that each byte puts off, if there is one. Where no heartbeat
// puts it off, an idle connection may be about to meet it anyway.
func readRows(s record.Settings) []record.Bound {
	if s.ReadDeadline <= 0 {
		return nil
	}
	row := record.Bound{
		Detector: "read deadline",
		Formula:  fmt.Sprintf("deadline after the last byte = %.3g s", s.ReadDeadline),
		Latest:   s.ReadDeadline,
	}
	if s.HeartbeatInterval > 0 {
		row.Earliest = max(0, s.ReadDeadline-s.HeartbeatInterval-starving)
	}
	return []record.Bound{row}
}

// writeRows are the write deadline, which is sure only where the send buffer is full.
func writeRows(s record.Settings, x Exposure) []record.Bound {
	if s.Flush <= 0 {
		return nil
	}
	row := record.Bound{
		Detector: "write deadline",
		Formula:  fmt.Sprintf("%.3g s after the send buffer is full, which need not happen", s.Flush),
		Earliest: max(0, s.Flush-rto), // a write may have been under way
		Latest:   never,
	}
	if x.Full {
		row.Formula = fmt.Sprintf("%.3g s after the write that blocks", s.Flush)
		row.Earliest, row.Latest = 0, s.Flush
	}
	return []record.Bound{row}
}

// silentRows are the kernel's detectors of a peer that is not heard any more. Keepalive
// sees an idle connection only: with the first unacknowledged byte its probes stop, and
// the retransmission timer takes over.
func silentRows(s record.Settings, x Exposure) []record.Bound {
	// This side writes: at once, when the next heartbeat is due, or at any time.
	beats := s.HeartbeatInterval > 0
	idle, writes := !beats && !x.Late, beats || x.Busy || x.Late
	gap, when := 0.0, "data in flight"
	switch known := keepaliveLatest(s); {
	case beats && (known == never || s.HeartbeatInterval < known):
		gap, when = s.HeartbeatInterval, fmt.Sprintf("next write %.3g", s.HeartbeatInterval)
	case (beats || x.Late) && known != never:
		gap, when = known, fmt.Sprintf("a write just before keepalive is done %.3f", known)
	case x.Late:
		gap, when = never, "a write that need not come"
	}
	// A heartbeat that is quicker than the first probe lets no connection be idle.
	probes := s.KeepaliveCount > 0 && !(beats && s.HeartbeatInterval < s.KeepaliveIdle)
	var rows []record.Bound
	add := func(r record.Bound) { rows = append(rows, r) }
	switch u := s.UserTimeout; {
	case u > 0:
		r := record.Bound{Detector: byUserTimeout, Earliest: u}
		if probes {
			r.Earliest = keepaliveEarliest(s)
			if writes {
				r.Earliest = min(r.Earliest, u)
			}
		}
		known := keepaliveLatest(s)
		flying, formula := userTimeoutLatest(s), fmt.Sprintf("2 RTO %.3g + U %.3g + g", 2*rto, u)
		if x.Edge != "" { // visitors and origins are neighbours
			flying, formula = neighbourLatest(s), formula+", and once more, for a lost neighbour puts the timer off,"
		}
		switch {
		case writes && gap != never:
			r.Latest = gap + flying
			r.Formula = fmt.Sprintf("%s + %s = %.3f s", when, formula, r.Latest)
			if idle { // Busy: an end that only receives is idle
				r.Latest = worse(r.Latest, known)
				r.Formula = fmt.Sprintf("in flight: %s = %.3f s; idle: %s", formula, flying, idleFormula(s))
			}
		case writes:
			r.Latest, r.Formula = never, "without keepalive or a heartbeat the write that would be noticed need not come"
		default:
			r.Latest, r.Formula = known, "idle: "+idleFormula(s)
		}
		add(r)
		if s.KeepaliveCount > 0 {
			add(record.Bound{Detector: byKeepalive, Earliest: r.Earliest, Latest: never, Formula: "TCP_USER_TIMEOUT replaces the count"})
		}
	default:
		if s.KeepaliveCount > 0 {
			r := record.Bound{Detector: byKeepalive, Earliest: keepaliveEarliest(s), Latest: keepaliveLatest(s), Formula: idleFormula(s)}
			if writes {
				r.Latest, r.Formula = never, "does not run while bytes are unacknowledged"
			}
			if !probes {
				r.Earliest = retransmitEarliest(retries(s), rtoMax(s))
			}
			add(r)
		}
		if !writes {
			break
		}
		n, most := retries(s), rtoMax(s)
		r := record.Bound{Detector: byRetries, Earliest: retransmitEarliest(n, most), Latest: never}
		if gap != never {
			r.Latest = gap + retransmitLatest(n, most)
			r.Formula = fmt.Sprintf("%s + R(tcp_retries2 %d, RTO max %.3g) = %.3f s", when, n, most, r.Latest)
			if idle {
				r.Latest = worse(r.Latest, keepaliveLatest(s))
				r.Formula = fmt.Sprintf("in flight: R(tcp_retries2 %d, RTO max %.3g) = %.3f s; idle: %s", n, most, retransmitLatest(n, most), idleFormula(s))
			}
		} else {
			r.Formula = "without keepalive or a heartbeat the write that would be noticed need not come"
		}
		add(r)
	}
	return rows
}

// worse is the later of two times, never if one is.
func worse(a, b float64) float64 {
	if a == never || b == never {
		return never
	}
	return max(a, b)
}

// idleFormula is keepaliveLatest in words.
func idleFormula(s record.Settings) string {
	switch {
	case s.KeepaliveCount <= 0:
		return "without keepalive an idle connection is never looked at"
	case s.UserTimeout > 0:
		return fmt.Sprintf("I %.3g + V %.3g x max(1, ceil((U-I)/V)) = %.0f, + g = %.3f s",
			s.KeepaliveIdle, s.KeepaliveInterval, unanswered(s), keepaliveLatest(s))
	}
	return fmt.Sprintf("I %.3g + C %d x V %.3g, + g = %.3f s", s.KeepaliveIdle, s.KeepaliveCount, s.KeepaliveInterval, keepaliveLatest(s))
}

// fullRows are the kernel's detectors of a peer that takes nothing more, and then is
// not heard any more either. While it answers, only the user timeout counts; without one, the
// kernel gives up at the first timer after 2 M without a packet if bytes are in flight
// (tcp_rtx_probe0_timed_out), and after as many probes as tcp_retries2 if not. U counts from when the
// window closed, which was before the fault.
func fullRows(s record.Settings) []record.Bound {
	if s.UserTimeout > 0 {
		latest := userTimeoutLatest(s)
		return []record.Bound{{
			Detector: byUserTimeout, Latest: latest,
			Formula: fmt.Sprintf("2 RTO %.3g + U %.3g + g = %.3f s", 2*rto, s.UserTimeout, latest),
		}}
	}
	n, most := retries(s), rtoMax(s)
	latest := 2*rto + max(3*fires(most), float64(n+1)*fires(most))
	return []record.Bound{{
		Detector: byProbes, Latest: latest,
		Formula: fmt.Sprintf("2 RTO %.3g + max(3, tcp_retries2 %d + 1) x (RTO max %.3g + g) = %.3f s", 2*rto, n, most, latest),
	}}
}

// frozenRows are the detectors of a peer that is stopped while its kernel lives:
// the kernel acknowledges data and answers probes, so keepalive never fires. Only
// an application's deadline is sure; the others need a full buffer.
func frozenRows(s record.Settings, x Exposure) []record.Bound {
	rows := heartbeatRows(s)
	for i := range rows {
		// It may count from the next ping, not from the last frame.
		rows[i].Latest += s.HeartbeatInterval
		rows[i].Formula = fmt.Sprintf("next ping %.3g + deadline %.3g = %.3g s", s.HeartbeatInterval, s.HeartbeatDeadline, rows[i].Latest)
	}
	rows = append(rows, readRows(s)...)
	if x.Busy || x.Full {
		rows = append(rows, writeRows(s, x)...)
	}
	switch {
	case s.UserTimeout <= 0:
	case x.Full:
		rows = append(rows, fullRows(s)...)
	case x.Busy:
		rows = append(rows, record.Bound{
			Detector: byUserTimeout,
			Formula:  fmt.Sprintf("%.3g s after the peer's window is full, which need not happen", s.UserTimeout),
			Earliest: s.UserTimeout, Latest: never,
		})
	}
	return rows
}

// halfClosedRows are the one detector of a connection that the peer holds half open: a
// living peer's kernel answers everything else.
func halfClosedRows(s record.Settings) []record.Bound {
	row := record.Bound{Detector: byHalfClose, Latest: never, Formula: "a living peer's kernel answers every probe"}
	if s.HalfClose > 0 {
		row.Earliest, row.Latest = s.HalfClose, s.HalfClose
		row.Formula = fmt.Sprintf("silence after one direction has ended = %.3g s", s.HalfClose)
	}
	return []record.Bound{row}
}

// Halved adds to a window, of connections one direction of which had ended before the
// fault, what ends them whatever the fault: silence is enough. It began up to a second ago.
func Halved(w *record.Window, s record.Settings) {
	if s.HalfClose <= 0 {
		return
	}
	row := halfClosedRows(s)[0]
	row.Role, row.Sockets = "server", "half-closed"
	row.Earliest = max(0, s.HalfClose-1)
	w.Rows = append(w.Rows, row)
	w.Lower = min(w.Lower, row.Earliest)
}

// unfinishedRows are the one detector of a peer that never gets past the handshake: its
// kernel answers, and there is no session yet that could miss a heartbeat.
func unfinishedRows(s record.Settings) []record.Bound {
	row := record.Bound{Detector: "handshake deadline", Latest: never, Formula: "a living peer's kernel answers every probe"}
	if s.Handshake > 0 {
		row.Latest = s.Handshake
		row.Formula = fmt.Sprintf("from accept = %.3g s", s.Handshake)
	}
	return []record.Bound{row}
}

// resetRows are the detectors of a path that answers with RST: each side learns of
// it from the next packet that it sends. With data in flight that is at once.
func resetRows(s record.Settings) []record.Bound {
	rows := append(heartbeatRows(s), readRows(s)...)
	if s.HeartbeatInterval > 0 {
		rows = append(rows, record.Bound{
			Detector: "RST to a heartbeat",
			Formula:  fmt.Sprintf("next heartbeat = %.3g s", s.HeartbeatInterval),
			Latest:   s.HeartbeatInterval,
		})
	}
	if s.KeepaliveCount > 0 {
		latest := fires(s.KeepaliveIdle)
		rows = append(rows, record.Bound{
			Detector: "RST to a keepalive probe",
			Formula:  fmt.Sprintf("I %.3g + g = %.3f s", s.KeepaliveIdle, latest),
			Latest:   latest,
		})
	}
	return rows
}
