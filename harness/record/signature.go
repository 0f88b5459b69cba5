package record

import "strings"

// Signature names a stack: function names from the leaf to the creator, joined by
// " < ", without addresses, arguments and lines. Frames of the runtime's own
// (gopark, chanrecv, main) are left out, for pprof's profile form has them and
// debug=2 does not; a stack that has no others keeps them. The profile form has no
// creator: pass "" for stacks without one.
func Signature(frames []Frame, creator string) string {
	names := make([]string, 0, len(frames)+1)
	for _, f := range frames {
		if !hidden(f.Func) {
			names = append(names, f.Func)
		}
	}
	if len(names) == 0 {
		for _, f := range frames {
			names = append(names, f.Func)
		}
	}
	if creator != "" {
		names = append(names, creator)
	}
	return strings.Join(names, " < ")
}

// hidden frames differ between the two forms: runtime.showframe decides what
// debug=2 shows, and calls gopanic "panic".
func hidden(name string) bool { return strings.HasPrefix(name, "runtime.") || name == "panic" }
