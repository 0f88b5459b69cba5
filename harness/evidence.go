package harness

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/google/pprof/profile"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/record"
)

// The values of -evidence: what is kept of a round that is no PASS.
const (
	EvidenceNone  = "none"
	EvidenceShort = "short" // headers of packets, logs, dumps, tables
	EvidenceFull  = "full"  // whole packets and the keys of TLS, too
)

// CheckEvidence refuses what is no value of -evidence.
func CheckEvidence(mode string) error {
	if !slices.Contains([]string{EvidenceNone, EvidenceShort, EvidenceFull}, mode) {
		return fmt.Errorf("evidence %q: want none, short or full", mode)
	}
	return nil
}

// How many bytes of one file are kept: of a text its last ones; a profile is whole or
// not there. Packets are bounded by their ring.
const (
	mostEvidence = 512 << 10
	mostProfile  = 4 << 20
	keysSuffix   = ".keys"
	headRoom     = 256 // for the headings of a file of two halves
)

// evidence is what a World gathers beside its record, in case a round is no PASS.
type evidence struct {
	mode     string
	captures []*lab.Capture
	heaps    map[int][]byte // by pid, from its first snapshot B
	secrets  redactor
	rounds   int // of which evidence was kept
}

// mostRounds of a soak have evidence kept: they soon repeat each other.
const mostRounds = 5

// watch begins to keep packets. Close it with stop.
func (e *evidence) watch(l *lab.Lab) error {
	e.heaps = map[int][]byte{}
	if e.mode == EvidenceNone {
		return nil
	}
	size := lab.CaptureSize{}
	if e.mode == EvidenceFull {
		size = lab.CaptureSize{Packets: 16384, Snaplen: 2048}
	}
	for _, h := range []*lab.Host{l.Server, l.Client} { // every cable has one of its ends there, but for the router's own
		c, err := h.Capture(size)
		if err != nil {
			return errors.Join(err, e.stop())
		}
		e.captures = append(e.captures, c)
	}
	return nil
}

func (e *evidence) stop() error {
	var errs []error
	for _, c := range e.captures {
		errs = append(errs, c.Close())
	}
	e.captures = nil
	return errors.Join(errs...)
}

// profile keeps the first heap profile of a process: what it held before any fault.
func (e *evidence) profile(ctx context.Context, p *Process) {
	if e.mode == EvidenceNone || e.heaps[p.PID()] != nil {
		return
	}
	if data, err := p.Heap(ctx); err == nil { // without one there is no diff, and the report says so
		e.heaps[p.PID()] = data
	}
}

// bundle is the folder of one round's evidence while it is filled.
type bundle struct {
	record.Evidence
	dir     string
	secrets *redactor
}

// put writes one file. A text comes through text, which bounds it.
func (b *bundle) put(name, what string, data []byte, cut bool) {
	if len(data) == 0 {
		return
	}
	mode := os.FileMode(0o644)
	if strings.HasSuffix(name, keysSuffix) {
		mode = 0o600 // who has them can read the packets beside them
	}
	if err := os.WriteFile(filepath.Join(b.dir, name), data, mode); err != nil {
		b.lack(err)
		return
	}
	b.Files = append(b.Files, record.EvidenceFile{Name: name, What: what, Bytes: int64(len(data)), Cut: cut})
}

// text writes a text without its secrets, its last part if it is too long. Cut is known
// if it is a part already.
func (b *bundle) text(name, what, text string, cut bool) {
	text, shorter := lastPart(b.secrets.text(text), mostEvidence)
	b.put(name, what, []byte(text), cut || shorter)
}

// lastPart is the end of a text, from the beginning of a line on, and tells whether it
// is less than the whole. A line that is longer than that is cut too.
func lastPart(text string, most int) (string, bool) {
	if len(text) <= most {
		return text, false
	}
	text = text[len(text)-most:]
	if _, lines, ok := strings.Cut(text, "\n"); ok && lines != "" {
		text = lines
	}
	return text, true
}

// profile writes a profile as it is: a part of one is none.
func (b *bundle) profile(name, what string, data []byte) {
	if len(data) > mostProfile {
		b.lack(fmt.Errorf("%s has %d bytes, more than the %d that are kept", name, len(data), mostProfile))
		return
	}
	b.put(name, what, data, false)
}

func (b *bundle) lack(err error) { b.Missing = append(b.Missing, b.secrets.text(err.Error())) }

// keepEvidence fills a folder with what was seen around a round that is no PASS, and
// notes in the record what it has. A file that cannot be had is named as missing: the
// verdict does not hang on it.
func (w *World) keepEvidence(v record.Verdict) {
	w.t.Helper()
	e, r := &w.evidence, w.round
	if e.mode == EvidenceNone || v == record.Pass || v == record.Skipped || e.rounds >= mostRounds {
		return
	}
	e.rounds++
	name := w.id
	if r.cycle > 0 {
		name += fmt.Sprintf("-c%d", r.cycle)
	}
	b := &bundle{Evidence: record.Evidence{Dir: path.Join("evidence", name)}, dir: filepath.Join(w.suite.Dir, "evidence", name), secrets: &e.secrets}
	before := e.secrets.count
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		w.t.Logf("keep evidence: %v", err)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), closeTime)
	defer cancel()
	for _, c := range e.captures {
		var out bytes.Buffer
		kept, gone, err := c.Write(&out)
		if err != nil {
			b.lack(err)
		}
		what := fmt.Sprintf("the last %d packets at the %s's cables, for Wireshark or tcpdump", kept, c.Host().Name)
		if gone > 0 {
			what += fmt.Sprintf("; %d before them were not kept", gone)
		}
		b.put(c.Host().Name+".pcapng", what, out.Bytes(), false)
	}
	for _, role := range slices.Sorted(maps.Keys(r.snapshots)) {
		b.tables(role, *r.snapshots[role])
	}
	for _, p := range w.living() {
		b.heap(ctx, p, e.heaps[p.PID()])
		b.asleep(ctx, p)
	}
	for _, h := range w.Lab.Hosts() {
		now, err := lookAt(ctx, h)
		if err != nil {
			b.lack(err)
		}
		b.network(h, r.network[h.Name], now)
	}
	b.logs(w.logs)
	b.Redacted = e.secrets.count - before
	w.emit(record.Event{Kind: record.KindEvidence, Evidence: &b.Evidence})
}

// tables writes what a process held at the four snapshots.
func (b *bundle) tables(role string, s leak.Snapshots) {
	at := []struct {
		label  string
		sample record.Sample
	}{{"B", s.B}, {"E", s.E}, {"F", s.F}, {"G", s.G}}
	var fds, sockets strings.Builder
	table := func(out io.Writer, head string) *tabwriter.Writer {
		t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, head)
		return t
	}
	f, k := table(&fds, "snapshot\tfd\ttarget"), table(&sockets, "snapshot\tfd\tinode\tlocal\tremote\tstate\ttimer\texpires s\tretries\trecv-q\tsend-q\tsilent s")
	for _, x := range at {
		for _, d := range x.sample.FDs {
			fmt.Fprintf(f, "%s\t%d\t%s\n", x.label, d.Number, d.Target)
		}
		for _, c := range slices.Concat(x.sample.Sockets, x.sample.Kernel) {
			fmt.Fprintf(k, "%s\t%d\t%d\t%s\t%s\t%s\t%s\t%.3f\t%d\t%d\t%d\t%.3f\n", x.label, c.FD, c.Inode, c.Local, c.Remote, c.State,
				cmp.Or(c.Timer, "none"), c.Expires, c.Retries, c.RecvQ, c.SendQ, c.Silence)
		}
	}
	if err := errors.Join(f.Flush(), k.Flush()); err != nil {
		b.lack(err)
	}
	b.text(role+"-fds.txt", "descriptors at each snapshot", fds.String(), false)
	b.text(role+"-sockets.txt", "sockets at each snapshot, with kernel timers and queues; fd -1: held by no process", sockets.String(), false)
	last := s.F
	if len(s.G.Goroutines) > 0 {
		last = s.G
	}
	before, after := role+"-goroutines-before.txt", role+"-goroutines-after.txt"
	switch {
	case len(s.B.Goroutines) == 0:
		b.lack(fmt.Errorf("%s, %s: this target's goroutines cannot be read", before, after))
	case len(last.Goroutines) == 0:
		b.lack(fmt.Errorf("%s: none was had of the %s of snapshot B at the window's end, or later", after, role))
	}
	b.text(before, "goroutine dump at snapshot B, before the visits", dump(s.B.Goroutines), false)
	b.text(after, "goroutine dump at the last snapshot", dump(last.Goroutines), false)
}

// dump writes goroutines as the runtime does with debug=2.
func dump(all []record.Goroutine) string {
	var out strings.Builder
	for _, g := range all {
		fmt.Fprintf(&out, "goroutine %d [%s", g.ID, g.State)
		if g.Minutes > 0 {
			fmt.Fprintf(&out, ", %d minutes", g.Minutes)
		}
		out.WriteString("]")
		for _, k := range slices.Sorted(maps.Keys(g.Labels)) {
			fmt.Fprintf(&out, " %s=%s", k, g.Labels[k])
		}
		out.WriteString(":\n")
		for _, f := range g.Frames {
			fmt.Fprintf(&out, "%s(...)\n\t%s:%d\n", f.Func, f.File, f.Line)
		}
		if g.Creator.Func != "" {
			fmt.Fprintf(&out, "created by %s in goroutine %d\n\t%s:%d\n", g.Creator.Func, g.Parent, g.Creator.File, g.Creator.Line)
		}
		out.WriteString("\n")
	}
	return out.String()
}

// heap writes the heap profiles of a process, before and now, and what has grown.
func (b *bundle) heap(ctx context.Context, p *Process, before []byte) {
	now, err := p.Heap(ctx)
	if err != nil {
		b.lack(err)
		return
	}
	b.profile(p.Role+"-heap-before.pb.gz", "heap profile at snapshot B, for go tool pprof", before)
	b.profile(p.Role+"-heap-after.pb.gz", "heap profile at the verdict", now)
	switch {
	case len(now) == 0:
		b.lack(fmt.Errorf("heap of the %s: this target's cannot be read", p.Role))
		return
	case len(before) == 0:
		b.lack(fmt.Errorf("%s-heap-before.pb.gz, %[1]s-heap-diff.txt: none was had of this %[1]s at snapshot B", p.Role))
		return
	}
	text, err := heapDiff(before, now)
	if err != nil {
		b.lack(fmt.Errorf("compare heaps of %s: %w", p.Role, err))
		return
	}
	b.text(p.Role+"-heap-diff.txt", "what is in use more than before, by the place that allocated it (sampled)", text, false)
}

// asleep writes what the runtime of a process itself says of its goroutines, if it can tell.
// It confirms a leak, and acquits of none.
func (b *bundle) asleep(ctx context.Context, p *Process) {
	found, offered, err := p.NeverWake(ctx)
	if err != nil {
		b.lack(err)
	}
	if len(found) > 0 {
		b.text(p.Role+"-goroutineleak.txt", fmt.Sprintf("%d goroutines that nothing can ever wake, by the runtime's own word", len(found)), dump(found), false)
	} else if offered {
		b.text(p.Role+"-goroutineleak.txt", "the runtime knows no goroutine that nothing can wake, which acquits nobody", "none of those that wait for a socket would be here\n", false)
	}
}

// heapDiff lists by allocating function what the heap holds now and did not before.
func heapDiff(before, now []byte) (string, error) {
	old, err := profile.ParseData(before)
	if err != nil {
		return "", err
	}
	fresh, err := profile.ParseData(now)
	if err != nil {
		return "", err
	}
	old.Scale(-1)
	diff, err := profile.Merge([]*profile.Profile{old, fresh})
	if err != nil {
		return "", err
	}
	objects := slices.IndexFunc(diff.SampleType, func(v *profile.ValueType) bool { return v.Type == "inuse_objects" })
	space := slices.IndexFunc(diff.SampleType, func(v *profile.ValueType) bool { return v.Type == "inuse_space" })
	if objects < 0 || space < 0 {
		return "", errors.New("no inuse_space in the profile")
	}
	type site struct{ objects, bytes int64 }
	sites := map[string]site{}
	for _, s := range diff.Sample {
		name := "unknown"
		if len(s.Location) > 0 && len(s.Location[0].Line) > 0 {
			l := s.Location[0].Line[0]
			name = fmt.Sprintf("%s %s:%d", l.Function.Name, path.Base(l.Function.Filename), l.Line)
		}
		x := sites[name]
		sites[name] = site{x.objects + s.Value[objects], x.bytes + s.Value[space]}
	}
	names := slices.SortedFunc(maps.Keys(sites), func(a, b string) int { return cmp.Compare(sites[b].bytes, sites[a].bytes) })
	var out strings.Builder
	for _, name := range names[:min(40, len(names))] {
		if x := sites[name]; x.bytes != 0 {
			fmt.Fprintf(&out, "%+10d bytes %+8d objects  %s\n", x.bytes, x.objects, name)
		}
	}
	if out.Len() == 0 {
		return "nothing has grown as far as the sampled profile sees\n", nil
	}
	return out.String(), nil
}

// logs copies what the processes have printed so far.
func (b *bundle) logs(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		b.lack(err)
		return
	}
	for _, entry := range entries {
		if !entry.Type().IsRegular() {
			continue
		}
		text, cut, err := tail(filepath.Join(dir, entry.Name()), mostEvidence)
		if err != nil {
			b.lack(err)
			continue
		}
		if strings.HasSuffix(entry.Name(), keysSuffix) {
			b.put(entry.Name(), "keys of TLS, for Wireshark: whoever has this file can read what the packets carried", []byte(text), cut)
			continue
		}
		b.text(entry.Name(), "what the process printed", text, cut)
	}
}

// tail reads the end of a file, which may be far too long to be read whole.
func tail(name string, most int64) (text string, cut bool, err error) {
	f, err := os.Open(name)
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", false, err
	}
	from := max(info.Size()-most, 0)
	data, err := io.ReadAll(io.NewSectionReader(f, from, most))
	if err != nil || from == 0 {
		return string(data), false, err
	}
	// What is before the first end of a line may be half a secret.
	_, text, ok := strings.Cut(string(data), "\n")
	if !ok {
		text = fmt.Sprintf("(a line of more than %d bytes: nothing of it is kept)\n", most)
	}
	return text, true, nil
}
