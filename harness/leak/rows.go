package leak

import (
	"fmt"

	"github.com/halfopen/halfopen/harness/record"
)

// heartbeatRows are the deadline that each frame puts off, if there is one.
func heartbeatRows(s record.Settings) []record.Bound {
	if s.HeartbeatDeadline <= 0 {
		return nil
	}
	return []record.Bound{{
		Detector: "heartbeat deadline",
		Formula:  fmt.Sprintf("deadline after the last frame = %.3g s", s.HeartbeatDeadline),
		Earliest: max(0, s.HeartbeatDeadline-s.HeartbeatInterval),
		Latest:   s.HeartbeatDeadline,
	}}
}

// flushRow is the write deadline.
func flushRow(s record.Settings) record.Bound {
	return record.Bound{
		Detector: "write deadline",
		Formula:  fmt.Sprintf("%.3g s after the send buffer is full, which need not happen", s.Flush),
		Earliest: max(0, s.Flush-rto), // a write may have been under way
		Latest:   never,
	}
}

// frozenRows are the detectors of a peer that is stopped while its kernel lives:
// the kernel acknowledges data and answers probes, so keepalive never fires. Only
// an application's deadline is sure; the others need a full buffer.
func frozenRows(s record.Settings) []record.Bound {
	rows := heartbeatRows(s)
	for i := range rows {
		// It may count from the next ping, not from the last frame.
		rows[i].Latest += s.HeartbeatInterval
		rows[i].Formula = fmt.Sprintf("next ping %.3g + deadline %.3g = %.3g s", s.HeartbeatInterval, s.HeartbeatDeadline, rows[i].Latest)
	}
	if s.Flush > 0 {
		rows = append(rows, flushRow(s))
	}
	if s.UserTimeout > 0 {
		rows = append(rows, record.Bound{
			Detector: "TCP_USER_TIMEOUT",
			Formula:  fmt.Sprintf("%.3g s after the peer's window is full, which need not happen", s.UserTimeout),
			Earliest: s.UserTimeout, Latest: never,
		})
	}
	return rows
}

// resetRows are the detectors of a path that answers with RST: each side learns of
// it from the next packet that it sends. With data in flight that is at once.
func resetRows(s record.Settings) []record.Bound {
	rows := heartbeatRows(s)
	if s.HeartbeatInterval > 0 {
		rows = append(rows, record.Bound{
			Detector: "RST to a heartbeat",
			Formula:  fmt.Sprintf("next heartbeat = %.3g s", s.HeartbeatInterval),
			Latest:   s.HeartbeatInterval,
		})
	}
	if s.KeepaliveCount > 0 {
		latest := s.KeepaliveIdle + lateness(s.KeepaliveIdle)
		rows = append(rows, record.Bound{
			Detector: "RST to a keepalive probe",
			Formula:  fmt.Sprintf("I %.3g x 9/8 = %.3f s", s.KeepaliveIdle, latest),
			Latest:   latest,
		})
	}
	return rows
}
