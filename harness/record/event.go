// Package record is the record of a run: one JSON line an event, in and out.
// Everything that a report shows is in the record, and a stored record can be
// judged and drawn again. The package imports nothing else of the project, so
// that every room can share its nouns.
package record

import "time"

// Version of the record's form. A reader refuses a record with another one.
const Version = 1

// Event is one line of run.jsonl. Exactly one of the pointers is set, and Kind
// names it.
type Event struct {
	At   time.Time `json:"at"`
	Kind Kind      `json:"kind"`
	// Spec is the ID of the spec that the event belongs to, unique in a run;
	// empty for events of the run itself.
	Spec string `json:"spec,omitempty"`
	// Cycle counts the cycles of a soak from 1; 0 outside a soak.
	Cycle int `json:"cycle,omitempty"`

	Run      *Run       `json:"run,omitempty"`
	Begin    *Spec      `json:"begin,omitempty"`
	Process  *Process   `json:"process,omitempty"`
	Load     *Load      `json:"load,omitempty"`
	Fault    *Fault     `json:"fault,omitempty"`
	Window   *Window    `json:"window,omitempty"`
	Point    *Point     `json:"point,omitempty"`
	Snapshot *Snapshot  `json:"snapshot,omitempty"`
	Service  *Service   `json:"service,omitempty"`
	Outcome  *Outcome   `json:"outcome,omitempty"`
	Reading  *Reading   `json:"reading,omitempty"`
	Growth   *Growth    `json:"growth,omitempty"`
	Check    *Check     `json:"check,omitempty"`
	Evidence *Evidence  `json:"evidence,omitempty"`
	Schedule *Schedule  `json:"schedule,omitempty"`
	Shrunk   *Shrunk    `json:"shrunk,omitempty"`
	Cut      *Cut       `json:"cut,omitempty"`
	Verdict  *Judgement `json:"verdict,omitempty"`
	End      *End       `json:"end,omitempty"`
	Finish   *Finish    `json:"finish,omitempty"`
}

// Kind names what an event tells.
type Kind string

// The kinds of events, in the order in which a spec writes them.
const (
	KindRun      Kind = "run"      // first line: what runs, where, against which target
	KindCheck    Kind = "check"    // the detector's self-check
	KindBegin    Kind = "begin"    // a spec begins
	KindProcess  Kind = "process"  // a process started, became ready, or exited
	KindLoad     Kind = "load"     // visitors are on
	KindFault    Kind = "fault"    // a fault was injected, witnessed or healed
	KindWindow   Kind = "window"   // the window, computed before it passes
	KindPoint    Kind = "point"    // one cheap sample for the timeline
	KindSnapshot Kind = "snapshot" // B, E, F or G of one process
	KindService  Kind = "service"  // what visitors got after the heal
	KindOutcome  Kind = "outcome"  // what was measured around the fault, for the judge
	KindEvidence Kind = "evidence" // what was kept of a round that was no PASS
	KindReading  Kind = "reading"  // one process at rest after a cycle: a point of each series
	KindGrowth   Kind = "growth"   // where the heap grew, after an alarm
	KindSchedule Kind = "schedule" // faults that overlap, before they are played and after
	KindShrunk   Kind = "shrunk"   // a schedule that was made as small as it can be
	KindCut      Kind = "cut"      // where a packet sweep cuts, before it does and after
	KindVerdict  Kind = "verdict"  // the judge's word on a spec, or on a cycle of a soak
	KindEnd      Kind = "end"      // a spec ended
	KindFinish   Kind = "finish"   // the run ended
)

// Run is the head of a record.
type Run struct {
	Version int    `json:"version"`
	Name    string `json:"name"` // "soak", "scenarios", ...
	Seed    int64  `json:"seed"`
	Command string `json:"command"` // as typed, to be typed again
	// Target is the name of the system under test; TargetFile its YAML, relative
	// to the main module if it lies inside; TargetHash the SHA-256 of that file.
	Target     string `json:"target"`
	TargetFile string `json:"target_file"`
	TargetHash string `json:"target_hash"`
	// Scaled are the sysctls that the target was run with, if it was: its times are
	// not those of the system's defaults.
	Scaled map[string]string `json:"scaled,omitempty"`
	// Mutant is the leak planted in the target, "" for none.
	Mutant string `json:"mutant,omitempty"`
	// Require are resources of which the run must state something, to be a pass: "heap".
	Require []string `json:"require,omitempty"`
	// Shard is "2/4" for the second of four runs that share the work, "" for a whole.
	Shard string `json:"shard,omitempty"`
	// Merged are the runs that this record was made from.
	Merged      []Part      `json:"merged,omitempty"`
	Settings    Settings    `json:"settings"`
	Environment Environment `json:"environment"`
}

// Part is a run that was merged with others.
type Part struct {
	Name   string `json:"name"` // of its folder
	Seed   int64  `json:"seed"`
	Kernel string `json:"kernel"`
	Shard  string `json:"shard,omitempty"`
	Cut    bool   `json:"cut,omitempty"` // it ended before its end
}

// Environment is where a run ran.
type Environment struct {
	Kernel   string  `json:"kernel"`
	OS       string  `json:"os"`
	Go       string  `json:"go"`
	CPUs     int     `json:"cpus"`
	Load1    float64 `json:"load1"` // load average over 1 minute, at the start
	Iptables string  `json:"iptables"`
	User     string  `json:"user"` // "root" or "ordinary user"
	Commit   string  `json:"commit,omitempty"`
}

// Settings are the target's dead-peer detectors, as its file states them. All
// times in seconds; 0 means that the target has no such detector.
type Settings struct {
	KeepaliveIdle     float64 `json:"keepalive_idle"`
	KeepaliveInterval float64 `json:"keepalive_interval"`
	KeepaliveCount    int     `json:"keepalive_count"`
	UserTimeout       float64 `json:"user_timeout"`
	HeartbeatInterval float64 `json:"heartbeat_interval"`
	HeartbeatDeadline float64 `json:"heartbeat_deadline"`
	HalfClose         float64 `json:"half_close"`
	Handshake         float64 `json:"handshake"`
	Flush             float64 `json:"flush"`
	Dial              float64 `json:"dial"`
	BackoffCap        float64 `json:"backoff_cap"`
	BackoffJitter     float64 `json:"backoff_jitter"` // fraction of the cap, 0.5 = up to half more
	// ReadDeadline is how long a connection may be silent, put off by each byte.
	ReadDeadline float64 `json:"read_deadline,omitempty"`
	// Window is given for connections that no detector bounds.
	Window float64 `json:"window,omitempty"`
	// Retries is tcp_retries2 and RTOMax the cap of the retransmission timer, of one
	// socket: no file states them. 0: the kernel's defaults, 15 and 120 s.
	Retries int     `json:"retries,omitempty"`
	RTOMax  float64 `json:"rto_max,omitempty"`
	// Edge is how connections to visitors and origins are set, where that is not how
	// sessions are.
	Edge Edge `json:"edge,omitzero"`
}

// Edge is the kernel's part of Settings, in seconds, for connections at the edge.
type Edge struct {
	Stated            bool    `json:"stated"`
	KeepaliveIdle     float64 `json:"keepalive_idle"`
	KeepaliveInterval float64 `json:"keepalive_interval"`
	KeepaliveCount    int     `json:"keepalive_count"`
	UserTimeout       float64 `json:"user_timeout"`
}

// AtEdge are the settings of a connection to a visitor or an origin. It has no
// heartbeat and no write deadline: those are a session's. A visitor may stand still
// for as long as he likes.
func (s Settings) AtEdge() Settings {
	s.HeartbeatInterval, s.HeartbeatDeadline, s.Flush = 0, 0, 0
	if e := s.Edge; e.Stated {
		s.KeepaliveIdle, s.KeepaliveInterval, s.KeepaliveCount = e.KeepaliveIdle, e.KeepaliveInterval, e.KeepaliveCount
		s.UserTimeout = e.UserTimeout
	}
	return s
}

// Check is the detector's self-check: it was shown a known leak.
type Check struct {
	What     string  `json:"what"`
	OK       bool    `json:"ok"` // it named the leak every time
	Error    string  `json:"error,omitempty"`
	Duration float64 `json:"duration"` // seconds
}

// Spec is one spec: a story, or the whole soak.
type Spec struct {
	Name     string   `json:"name"`  // full text, containers first
	Suite    string   `json:"suite"` // "catalogue" or "soak"
	File     string   `json:"file"`  // relative to the main module
	Line     int      `json:"line"`
	Labels   []string `json:"labels,omitempty"`
	Topology string   `json:"topology,omitempty"` // the ASCII drawing
	Replay   string   `json:"replay"`             // the command that runs this spec again
}

// Process is a change in the life of one process.
type Process struct {
	Role string   `json:"role"` // "server", "client", "newcomer"
	Host string   `json:"host"`
	PID  int      `json:"pid"`
	Argv []string `json:"argv,omitempty"`
	What string   `json:"what"` // "started", "ready", "exited", "stopped"
	// Detail is the exit status or signal; Tail the last lines that it printed.
	Detail string   `json:"detail,omitempty"`
	Tail   []string `json:"tail,omitempty"`
}

// Load says which visitors are on when the fault comes.
type Load struct {
	Visitors map[string]int `json:"visitors"` // by protocol: "http", "websocket", "tcp"
	Traffic  string         `json:"traffic"`  // "idle" or "in flight"
	Bytes    int64          `json:"bytes"`    // checked so far, both ways
}

// Class says how a fault ends a connection, and so which rows of the window
// table apply to those that went through it.
type Class string

// The classes of faults.
const (
	Closed Class = "closed" // the kernel of the peer says FIN or RST at once
	Silent Class = "silent" // no packet ever comes again
	Frozen Class = "frozen" // the peer's kernel answers, its program does not: only an application's deadline notices
	Reset  Class = "reset"  // each side is told by RST, at the next packet that it sends
	Flap   Class = "flap"   // the path is back before a detector fires: connections survive
	// HalfClosed: one direction has ended, and the peer lives and holds the other.
	HalfClosed Class = "half-closed"
	// OneWay: packets pass one way only. Its deaf end hears nothing any more; the other
	// one hears that end until it gives up, and may be told by it.
	OneWay Class = "one way"
	// Spared: connections do not go through the fault at all, or the path takes them up
	// again behind it, as a NAT may in their middle: they must not notice.
	Spared Class = "spared"
	// Unfinished: a stranger's handshake never ends.
	Unfinished Class = "unfinished"
	// Mixed: several faults of several classes; connections may die of them, or live.
	Mixed Class = "mixed"
)

// Fault is one phase of one fault.
type Fault struct {
	ID    int    `json:"id"`   // counts the faults of a spec from 1
	Name  string `json:"name"` // "kill -9", "cable pulled", "NAT expiry (silent)"
	Place string `json:"place"`
	Class Class  `json:"class"`
	// Ends is the role of the process that the fault kills; it is "" if every
	// process outlives the fault.
	Ends string `json:"ends,omitempty"`
	// Within is how many seconds that process has, where the fault only tells it to end.
	Within float64 `json:"within,omitempty"`
	Phase  string  `json:"phase"` // "injected", "witnessed", "healed"
	// Witness is the proof that the fault bit; for a fault without effect, what
	// was looked for and not found (Bit is false then).
	Witness string `json:"witness,omitempty"`
	Bit     bool   `json:"bit,omitempty"`
	// Peers are, by role, the IP addresses at the other end of the connections that
	// go through the fault; a role that is missing: all of its connections do.
	Peers map[string][]string `json:"peers,omitempty"`
	// Spared are, by role, those other ends ("ip" or "ip:port") whose connections the
	// fault leaves alone: of other clients, and of their visitors.
	Spared map[string][]string `json:"spared,omitempty"`
	// Brings is set if the connections that go through the fault come with it.
	Brings bool `json:"brings,omitempty"`
	// Exposures counts the server's connections that went through the fault.
	Exposures int `json:"exposures,omitempty"`
}

// Window is the longest time that a correct target may need, computed before
// it passes. Seconds from the fault.
type Window struct {
	Upper    float64 `json:"upper"`    // W
	Slack    float64 `json:"slack"`    // S, not part of W
	Deadline float64 `json:"deadline"` // W + S: a survivor is late from here on
	Last     float64 `json:"last"`     // T2: a survivor has leaked from here on
	Lower    float64 `json:"lower"`    // a healthy connection must live this long
	// Survive says that nothing may die of the fault: what is exposed must still be
	// there at the deadline.
	Survive bool `json:"survive,omitempty"`
	// May says that connections may die of the fault or live through it: only what is
	// held when all have left again is judged.
	May  bool    `json:"may,omitempty"`
	Rows []Bound `json:"rows"`
}

// Bound is one detector's word on one class of sockets.
type Bound struct {
	Role    string `json:"role"`    // "server", "client"
	Sockets string `json:"sockets"` // "sessions", "visitors"
	// Count is how many sockets of that role and kind are set so; Set says how, or that
	// they were not asked. 0 and "" if there were none to ask.
	Count    int     `json:"count,omitempty"`
	Set      string  `json:"set,omitempty"`
	Detector string  `json:"detector"` // "heartbeat deadline", "TCP_USER_TIMEOUT", ...
	Formula  string  `json:"formula"`  // with the numbers put in
	Earliest float64 `json:"earliest"`
	Latest   float64 `json:"latest"` // -1: never
	Decides  bool    `json:"decides"`
}

// Point is one cheap sample of one process, for the timeline.
type Point struct {
	Role    string         `json:"role"`
	PID     int            `json:"pid"`
	FDs     int            `json:"fds"`
	Sockets map[string]int `json:"sockets"` // owned by the process, by RFC 9293 state
	Kernel  map[string]int `json:"kernel"`  // of its host, owned by no process: orphans, TIME_WAIT
	RssAnon int64          `json:"rss_anon"`
	// Expected is false for a connection that is still there after the fault
	// and should not be: the number of such survivors.
	Survivors int `json:"survivors"`
}

// Moved is a client that the fault has moved elsewhere: it serves before the heal.
const Moved = "moved"

// Service is what one client's visitors got after the heal.
type Service struct {
	Client string `json:"client"` // "returning", "new", "neighbouring" or "moved"
	OK     bool   `json:"ok"`
	// After is how many seconds it took to the first whole round of visits: from the heal,
	// or from when the new client was started; of one that has moved, from the window's end.
	After float64 `json:"after"`
	Limit float64 `json:"limit"` // R
	Error string  `json:"error,omitempty"`
}

// Outcome is what was measured around one fault, beside its snapshots: with them
// and the window it is all that the judge needs, now or again later.
type Outcome struct {
	Judged []string `json:"judged"` // roles of the processes that the spec asks about
	// Returned is after how many seconds from the fault nothing exposed was left,
	// -1 for never; First after how many the first exposed connection was given up,
	// -1 for none.
	Returned float64 `json:"returned"`
	First    float64 `json:"first"`
	// SettledAfter is how many seconds it took to the baseline, from when service was
	// back and everybody had left; -1 for never.
	SettledAfter float64 `json:"settled_after"`
	// Noticed counts, by the target's own words, which detectors ended connections
	// from the fault to snapshot F; nil where its file does not say how to find them.
	Noticed map[string]int `json:"noticed,omitempty"`
	// Starved is the longest time for which this machine let a ready thread wait,
	// in seconds; Pressure the share of the time in which some thread waited.
	Starved  float64 `json:"starved"`
	Pressure float64 `json:"pressure"`
	// Waited is the sum of the waits of a thread that wakes each 10 ms, in seconds, from
	// snapshot E until Returned; WaitedAfter the same from the heal to snapshot G.
	Waited      float64 `json:"waited"`
	WaitedAfter float64 `json:"waited_after"`
	// WaitedBefore is the same from the first visitor to the fault, where one was lost by then.
	WaitedBefore float64 `json:"waited_before,omitempty"`
	// Corrupt is a wrong byte that a visitor or the origin got; Broken a visitor who was
	// lost before the fault; Lost connections that a judged process gave up between
	// snapshot E and the fault, which a machine that stands still can do, too; Stalled data that flowed no more when the fault was over,
	// which a machine that stands still can do, too; Died the process that ended by itself.
	// Empty if all is well.
	Corrupt string `json:"corrupt,omitempty"`
	Broken  string `json:"broken,omitempty"`
	Lost    string `json:"lost,omitempty"`
	Stalled string `json:"stalled,omitempty"`
	Died    string `json:"died,omitempty"`
	// Stayed is a process that was told to end, and did not.
	Stayed *Stay `json:"stayed,omitempty"`
	// Beside is what other clients lost by a fault that was not theirs.
	Beside string `json:"beside,omitempty"`
	// Offer is what another client was offered beside the fault, and what it got.
	Offer *Offer `json:"offer,omitempty"`
}

// Stay is a process that was told to end by SIGTERM, and still ran when its time was over.
// It ended by itself a little later, or was killed.
type Stay struct {
	Role   string  `json:"role"`
	PID    int     `json:"pid"`
	After  float64 `json:"after"`  // for how long it ran, in seconds
	Within float64 `json:"within"` // how long it had
	// Runs is what it still held and did when it was killed; "" if it was not.
	Runs string `json:"runs,omitempty"`
	// Waited is Outcome's, while it was waited for.
	Waited float64 `json:"waited"`
}

// Offer is how much came through a client that the fault was not for, in bytes a second.
type Offer struct {
	Capacity float64 `json:"capacity"` // all that came, before the fault
	Offered  float64 `json:"offered"`  // a quarter of that
	Before   float64 `json:"before"`   // what came of the offer before the fault
	During   float64 `json:"during"`   // from the fault to the end of its window, for a second at least
	Over     float64 `json:"over"`     // how many seconds that were
	// Waited is Outcome's, until then.
	Waited float64 `json:"waited"`
}

// Evidence is what was kept, beside the record, of a round that was no PASS.
type Evidence struct {
	Dir   string         `json:"dir"` // relative to the run's folder, with slashes
	Files []EvidenceFile `json:"files"`
	// Missing says what could not be kept, and why; Redacted counts the secrets that
	// were blacked out.
	Missing  []string `json:"missing,omitempty"`
	Redacted int      `json:"redacted,omitempty"`
}

// EvidenceFile is one of the files.
type EvidenceFile struct {
	Name  string `json:"name"` // in Dir
	What  string `json:"what"` // in a few words
	Bytes int64  `json:"bytes"`
	Cut   bool   `json:"cut,omitempty"` // it was longer: this is its last part
}

// End is how Ginkgo saw a spec end.
type End struct {
	State    string  `json:"state"` // "passed", "failed", "skipped", "interrupted", "panicked"
	Failure  string  `json:"failure,omitempty"`
	Duration float64 `json:"duration"` // seconds
}

// Finish is the last event of a run.
type Finish struct {
	Reason   string  `json:"reason"` // "done", "interrupted", "set-up failed"
	Duration float64 `json:"duration"`
	Detail   string  `json:"detail,omitempty"`
	// Failed says that a suite of the run, which was not stopped, ended with another status
	// than 0: some verdict must say why.
	Failed bool `json:"failed,omitempty"`
}
