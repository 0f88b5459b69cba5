package record

// Options are the socket options of one live TCP socket that decide how long its
// kernel takes to notice a dead peer, as getsockopt(2) tells them: what holds,
// whoever set it (the process, its runtime, or a sysctl of its namespace). All
// times in seconds.
type Options struct {
	// Protocol is SO_PROTOCOL: 6 TCP, 262 MPTCP (socket(7), linux/in.h).
	Protocol int `json:"protocol"`
	// Keepalive is SO_KEEPALIVE (socket(7)). The three below are set, by default
	// from net.ipv4.tcp_keepalive_*, whether it is on or off, and mean nothing while
	// it is off.
	Keepalive bool `json:"keepalive"`
	// KeepaliveIdle is TCP_KEEPIDLE: silence before the first probe. KeepaliveInterval
	// is TCP_KEEPINTVL: from probe to probe. KeepaliveCount is TCP_KEEPCNT: unanswered
	// probes that end the connection (tcp(7)). Whole seconds.
	KeepaliveIdle     float64 `json:"keepalive_idle"`
	KeepaliveInterval float64 `json:"keepalive_interval"`
	KeepaliveCount    int     `json:"keepalive_count"`
	// UserTimeout is TCP_USER_TIMEOUT (tcp(7), RFC 5482), which the kernel keeps in
	// milliseconds; 0: off.
	UserTimeout float64 `json:"user_timeout"`
	// RTOMax is TCP_RTO_MAX_MS (linux/tcp.h, since Linux 6.15): the longest pause
	// between two retransmissions, at least 1 s. 0: not told, by an older kernel
	// (which has 120 s, net/tcp.h TCP_RTO_MAX) or by an MPTCP socket.
	RTOMax float64 `json:"rto_max,omitempty"`
	// Untold are those of the options above, by their C names, that the socket did not
	// tell; their fields are 0. An MPTCP socket has no TCP_USER_TIMEOUT of its own
	// (net/mptcp/sockopt.c).
	Untold []string `json:"untold,omitempty"`
}

// Difference is one way in which live sockets of a process differ from what the
// target file states.
type Difference struct {
	Role string `json:"role"`
	PID  int    `json:"pid"`
	// Option is the option's C name, "TCP_USER_TIMEOUT"; "" when the options could
	// not be read at all.
	Option string `json:"option,omitempty"`
	// Stated is what the target file says and Live what the sockets have, with units:
	// "5 s", "3 probes", "off"; Live is "untold" where a socket does not say.
	Stated string `json:"stated,omitempty"`
	Live   string `json:"live,omitempty"`
	// Sockets of Of exposed sockets differ in this way.
	Sockets int `json:"sockets"`
	Of      int `json:"of"`
	// Examples are some of them, "10.0.1.1:4443 to 10.0.2.2:40112".
	Examples []string `json:"examples,omitempty"`
	// Reason is the whole in one sentence.
	Reason string `json:"reason"`
}
