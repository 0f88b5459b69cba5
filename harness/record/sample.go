package record

import "time"

// Label names the moment of a snapshot.
type Label string

// The four snapshots of a round, and one more of a process whose counts still moved when
// the time was over: its look before G. What is not in both proves nothing.
const (
	Baseline  Label = "B" // idle, logins up, after the warm-up
	Exposed   Label = "E" // loaded, just before the fault
	WindowEnd Label = "F" // the window is over
	Unsettled Label = "U" // a moment before G, with other counts
	Settled   Label = "G" // healed, service back, quiescent
)

// Snapshot is everything that one process holds at one of these moments.
type Snapshot struct {
	Label  Label  `json:"label"`
	Sample Sample `json:"sample"`
}

// Sample is what a process holds at one moment. What belongs to the observer
// (its own connection and the goroutines that serve it) is already taken out,
// by identity.
type Sample struct {
	Role string    `json:"role"`
	PID  int       `json:"pid"`
	At   time.Time `json:"at"`
	// FDs are the descriptors of /proc/PID/fd, by number.
	FDs []FD `json:"fds"`
	// Sockets are the process's own TCP sockets, each joined with its FD.
	Sockets []Socket `json:"sockets"`
	// OptionsRefused says why the options of Sockets could not be read, by whom they
	// were refused and what would help; "" if nothing refused.
	OptionsRefused string `json:"options_refused,omitempty"`
	// Namespace is what the process's host gives to each of its sockets; nil if it was
	// not read.
	Namespace *Namespace `json:"namespace,omitempty"`
	// Kernel are TCP sockets of the process's host that no process holds:
	// orphans and TIME_WAIT, which have inode 0.
	Kernel []Socket `json:"kernel,omitempty"`
	// States counts the process's sockets by RFC 9293 state, from gopsutil: a
	// second account beside Sockets.
	States  map[string]int `json:"states"`
	Threads int            `json:"threads"`
	// FDCount is gopsutil's count of descriptors, the observer's own included.
	FDCount int    `json:"fd_count"`
	Memory  Memory `json:"memory"`
	// Groups are the goroutines by stack signature, from the pprof profile;
	// Goroutines the same by identity, from debug=2. Both empty where the
	// target offers no pprof.
	Groups     []Group     `json:"groups,omitempty"`
	Goroutines []Goroutine `json:"goroutines,omitempty"`
	// Gauges are what the target itself says that it holds, in the order of its file;
	// empty where that names none.
	Gauges []Gauge `json:"gauges,omitempty"`
}

// Gauge is one of the target's own gauges.
type Gauge struct {
	Name  string `json:"name"` // as the target's file has it: "conns", "conns{kind=\"tcp\"}"
	Value int    `json:"value"`
	// Trouble says why there is no value: the page lacks it, or it is no count (NaN, below
	// zero, a fraction); "" if there is one.
	Trouble string `json:"trouble,omitempty"`
}

// Namespace are sysctls net.ipv4.tcp_* of a host that bound how long a connection, or
// what the kernel keeps of one, lives. Seconds.
type Namespace struct {
	Retries2      int     `json:"retries2"`
	OrphanRetries int     `json:"orphan_retries"`
	FinTimeout    float64 `json:"fin_timeout"`
	RTOMax        float64 `json:"rto_max,omitempty"` // 0 before Linux 6.15, where it is 120 s
}

// FD is one descriptor.
type FD struct {
	Number int    `json:"fd"`
	Target string `json:"target"` // the link's text: "socket:[4711]", "/dev/null", "anon_inode:[eventpoll]"
	Inode  uint64 `json:"inode,omitempty"`
}

// Socket is one TCP socket as sock_diag tells it.
type Socket struct {
	FD     int    `json:"fd"` // -1: held by no process
	Inode  uint64 `json:"inode"`
	Local  string `json:"local"`  // "10.0.1.1:4443"
	Remote string `json:"remote"` // "0.0.0.0:0" for a listener
	State  string `json:"state"`  // ESTABLISHED, CLOSE_WAIT, ... (RFC 9293 names with an underscore)
	// Timer is the kernel's running timer: "none", "retransmit", "keepalive",
	// "timewait" or "persist"; Expires the seconds until it fires; Retries its
	// unanswered retransmissions or probes.
	Timer   string  `json:"timer"`
	Expires float64 `json:"expires,omitempty"`
	Retries int     `json:"retries,omitempty"`
	RecvQ   int     `json:"recv_q"` // bytes not yet read by the process
	SendQ   int     `json:"send_q"` // bytes not yet acknowledged by the peer
	// Silence is how long no packet has come from the peer, in seconds.
	Silence float64 `json:"silence,omitempty"`
	// Options are nil for a listener, for a socket that no process holds, for one
	// that was closed before it could be asked, and where Sample.OptionsRefused.
	Options *Options `json:"options,omitempty"`
}

// Memory in bytes.
type Memory struct {
	RSS     int64 `json:"rss"`
	RssAnon int64 `json:"rss_anon"`
	// Freed is true if the target gave back free memory (debug.FreeOSMemory)
	// just before RssAnon was read.
	Freed bool `json:"freed,omitempty"`
	// HeapAlloc and HeapObjects are the runtime's, after three collections: a
	// sync.Pool needs two to be empty. 0 where they were not asked for, or the target
	// does not tell: one that is not Go's is judged by RssAnon alone.
	HeapAlloc   int64 `json:"heap_alloc,omitempty"`
	HeapObjects int64 `json:"heap_objects,omitempty"`
}

// Goroutine is one goroutine.
type Goroutine struct {
	ID    int64  `json:"id"`
	State string `json:"state"` // "IO wait", "select", "chan receive", ...
	// Minutes is for how long it has been in State, as the runtime prints it: 0
	// below one minute.
	Minutes int `json:"minutes,omitempty"`
	// Labels are the target's pprof labels: role, session, peer.
	Labels  map[string]string `json:"labels,omitempty"`
	Frames  []Frame           `json:"frames"` // leaf first
	Creator Frame             `json:"creator"`
	Parent  int64             `json:"parent,omitempty"` // ID of the goroutine that created it
}

// Frame is one call.
type Frame struct {
	Func string `json:"func"` // with the package path, without arguments
	File string `json:"file"`
	Line int    `json:"line"`
}

// Group is a number of goroutines with one signature: the function names from
// the leaf to the creator, without addresses, arguments and lines.
type Group struct {
	Signature string `json:"signature"` // names joined by " < ", leaf first
	Count     int    `json:"count"`
}
