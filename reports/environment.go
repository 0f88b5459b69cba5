package reports

import (
	"fmt"
	"strings"

	"github.com/halfopen/halfopen/harness/record"
)

// environment is taken from the first run of the record; a later one shows by
// its command.
func (p *page) environment(s *story) {
	if len(s.runs) == 0 {
		return
	}
	r := s.runs[0]
	hash := r.TargetHash
	if len(hash) > 12 {
		hash = hash[:12]
	}
	for _, f := range []fact{
		{"Run", r.Name, ""}, {"Started", s.start.UTC().Format("2006-01-02 15:04:05") + " UTC", ""}, {"Seed", fmt.Sprint(r.Seed), ""},
		{"Target file", strings.TrimSpace(r.TargetFile + " " + hash), ""}, {"Scaled", scaledWords(r.Scaled), ""}, {"Kernel", r.Environment.Kernel, ""}, {"System", r.Environment.OS, ""},
		{"Go", r.Environment.Go, ""}, {"CPUs, load at start", fmt.Sprintf("%d, %.2f", r.Environment.CPUs, r.Environment.Load1), ""},
		{"iptables", r.Environment.Iptables, ""}, {"User", r.Environment.User, ""}, {"Commit", r.Environment.Commit, ""},
	} {
		if f.Value != "" {
			p.Setup = append(p.Setup, f)
		}
	}
	t := r.Settings
	heartbeat := "none"
	if t.HeartbeatInterval > 0 || t.HeartbeatDeadline > 0 {
		heartbeat = fmt.Sprintf("each %s, dead after %s", seconds(t.HeartbeatInterval), settingSeconds(t.HeartbeatDeadline))
	}
	p.Settings = []fact{
		{"TCP keepalive", keepaliveWords(t), ""}, {"TCP_USER_TIMEOUT", settingSeconds(t.UserTimeout), ""}, {"Heartbeat", heartbeat, ""},
		{"Half-close bound", settingSeconds(t.HalfClose), ""}, {"Handshake deadline", settingSeconds(t.Handshake), ""},
		{"Flush deadline", settingSeconds(t.Flush), ""}, {"Dial timeout", settingSeconds(t.Dial), ""},
		{"Backoff cap, jitter", fmt.Sprintf("%s, %.0f %%", settingSeconds(t.BackoffCap), t.BackoffJitter*100), ""},
	}
	if t.Edge.Stated {
		e := t.AtEdge()
		p.Settings = append(p.Settings, fact{"At the edge", fmt.Sprintf("TCP keepalive %s; TCP_USER_TIMEOUT %s", keepaliveWords(e), settingSeconds(e.UserTimeout)), ""})
	}
}

// keepaliveWords is the kernel's keepalive in words.
func keepaliveWords(t record.Settings) string {
	if t.KeepaliveIdle <= 0 && t.KeepaliveCount <= 0 {
		return "none"
	}
	return fmt.Sprintf("after %s, each %s, %d times", seconds(t.KeepaliveIdle), seconds(t.KeepaliveInterval), t.KeepaliveCount)
}

// hidden says what a reader must not conclude from the page.
func (p *page) hidden(s *story) {
	p.Hidden = []string{
		"UDP: only TCP connections are judged.",
		"Kernel memory: sockets are counted, what the kernel holds for each is not.",
		"Stacks of programs that are not written in Go: their descriptors and sockets are judged, their threads only counted.",
		"Trends of memory, where no soak states them: RssAnon is judged coarsely within one story, and a slow growth needs 80 cycles to show.",
		"Leaks on a path that no spec of this run went, and leaks that begin after it.",
	}
	slow := "Leaks rarer than this run could see"
	if len(p.Bounds) > 0 {
		slow += ": see what it excludes; a rarer one may be there."
	} else {
		slow += ": no bound is stated, for that needs a run with exposures and without a leak."
	}
	p.Hidden = append(p.Hidden, slow)
	stacks := false
	for _, sp := range s.specs {
		for _, r := range sp.rounds {
			for _, snap := range r.snapshots {
				stacks = stacks || goroutines(snap.it.Sample) > 0
			}
		}
	}
	if !stacks && len(s.specs) > 0 {
		p.Hidden = append(p.Hidden, "Goroutines: no snapshot of this run has any, so none were judged (the target offers no pprof, or no snapshot was taken).")
	}
}
