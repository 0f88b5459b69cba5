package reports

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/halfopen/halfopen/harness/record"
)

// stackGroup is one row of "leaked goroutines by stack".
type stackGroup struct {
	Role, Baseline, After, Leaked string
	States                        string
	Labels                        []string
	MoreLabels                    int
	Head                          frameView // the first frame of the target's own code
	Frames                        []frameView

	number     int
	goroutines []record.Goroutine
	ages       []float64
}

// frameView is one call of a stack.
type frameView struct {
	Func, Place string
	Own         bool // neither the standard library nor golang.org/x
	Creator     bool
	head        bool
}

// stackGroups joins the goroutines that the judgements blame: more of a stack in
// G than in B, and survivors by identity.
func (r *round) stackGroups() []*stackGroup {
	var list []*stackGroup
	index := map[string]*stackGroup{}
	group := func(role, signature string) *stackGroup {
		key := role + "\x00" + signature
		if index[key] == nil {
			index[key] = &stackGroup{Role: role, Baseline: "–", After: "–"}
			list = append(list, index[key])
		}
		return index[key]
	}
	for _, j := range r.judgements {
		for _, x := range j.Excess {
			g := group(x.Role, x.Signature)
			g.Baseline, g.After, g.number = fmt.Sprint(x.Baseline), fmt.Sprint(x.Settled), x.Settled-x.Baseline
			if len(g.Frames) == 0 {
				g.Frames = signatureFrames(x.Signature)
			}
			for _, h := range x.Holders {
				g.add(h)
			}
		}
		for _, s := range j.Survivors {
			if s.Goroutine != nil {
				g := group(s.Role, record.Signature(s.Goroutine.Frames, s.Goroutine.Creator.Func))
				g.add(*s.Goroutine)
				g.ages = append(g.ages, s.Age)
			}
		}
	}
	for _, g := range list {
		g.close()
	}
	slices.SortStableFunc(list, func(a, b *stackGroup) int { return b.number - a.number })
	return list
}

func (g *stackGroup) add(r record.Goroutine) {
	for _, old := range g.goroutines {
		if old.ID == r.ID {
			return
		}
	}
	g.goroutines = append(g.goroutines, r)
}

func (g *stackGroup) close() {
	if len(g.goroutines) > 0 {
		g.Frames = stackFrames(g.goroutines[0])
		g.number = max(g.number, len(g.goroutines))
	}
	g.Leaked = signed(float64(g.number), "")
	for i := range g.Frames {
		if g.Frames[i].Own {
			g.Head = g.Frames[i]
			g.Frames[i].head = true
			break
		}
	}
	if g.Head.Func == "" && len(g.Frames) > 0 {
		g.Head = g.Frames[0]
	}
	g.States = g.stateText()
	labels := map[string]bool{}
	for _, r := range g.goroutines {
		if len(r.Labels) > 0 {
			labels[pairs(r.Labels)] = true
		}
	}
	const most = 6
	g.Labels = slices.Sorted(maps.Keys(labels))
	if len(g.Labels) > most {
		g.MoreLabels = len(g.Labels) - most
		g.Labels = g.Labels[:most]
	}
}

// stateText says what they wait for and for how long: "IO wait ×3, 58 s after
// the fault".
func (g *stackGroup) stateText() string {
	n := map[string]int{}
	minutes := 0
	for _, r := range g.goroutines {
		n[r.State]++
		minutes = max(minutes, r.Minutes)
	}
	var parts []string
	for _, s := range slices.Sorted(maps.Keys(n)) {
		if n[s] > 1 {
			parts = append(parts, fmt.Sprintf("%s ×%d", s, n[s]))
		} else {
			parts = append(parts, s)
		}
	}
	if minutes > 0 {
		parts = append(parts, fmt.Sprintf("for %d min", minutes))
	}
	if len(g.ages) > 0 {
		parts = append(parts, seconds(slices.Max(g.ages))+" after the fault")
	}
	return strings.Join(parts, ", ")
}

func stackFrames(g record.Goroutine) []frameView {
	var list []frameView
	for _, f := range g.Frames {
		list = append(list, frameView{Func: shortFunc(f.Func), Place: place(f), Own: own(f.Func)})
	}
	if g.Creator.Func != "" {
		list = append(list, frameView{Func: shortFunc(g.Creator.Func), Place: place(g.Creator), Own: own(g.Creator.Func), Creator: true})
	}
	return list
}

// signatureFrames is all that is known of a stack without a debug=2 dump.
func signatureFrames(signature string) []frameView {
	var list []frameView
	for name := range strings.SplitSeq(signature, " < ") {
		list = append(list, frameView{Func: shortFunc(name), Own: own(name)})
	}
	return list
}

func place(f record.Frame) string {
	if f.File == "" {
		return ""
	}
	if f.Line == 0 {
		return path.Base(f.File)
	}
	return fmt.Sprintf("%s:%d", path.Base(f.File), f.Line)
}

// shortFunc leaves out the folders of the package path:
// "github.com/a/b/tunnel.(*session).read" is "tunnel.(*session).read".
func shortFunc(name string) string {
	head, types, generic := strings.Cut(name, "[")
	head = head[strings.LastIndexByte(head, '/')+1:]
	if generic {
		return cmp.Or(head, name) + "[" + types
	}
	return cmp.Or(head, name)
}

// own tells the target's code from Go's own: a frame of the standard library or
// of golang.org/x says how a goroutine waits, the first other one says who.
func own(name string) bool {
	name, _, _ = strings.Cut(name, "[") // type arguments have paths of their own
	first, _, nested := strings.Cut(name, "/")
	if !nested {
		first, _, _ = strings.Cut(name, ".")
	}
	return !standard[first] && !strings.HasPrefix(name, "golang.org/x/")
}

// standard has the first path elements of the standard library, and what the
// runtime prints of itself.
var standard = func() map[string]bool {
	m := map[string]bool{}
	for name := range strings.FieldsSeq(`archive bufio bytes cmp compress container context crypto database debug
		embed encoding errors expvar flag fmt go hash html image index internal io iter log maps math mime net os
		path plugin reflect regexp runtime slices sort strconv strings structs sync syscall testing text time
		unicode unique unsafe vendor weak`) {
		m[name] = true
	}
	return m
}()
