package leak

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/halfopen/halfopen/harness/record"
)

// opened is a descriptor that is no TCP socket.
func opened(fd int, target string) func(*record.Sample) {
	return func(s *record.Sample) {
		var inode uint64
		if _, err := fmt.Sscanf(target, "pipe:[%d]", &inode); err != nil {
			inode = 0 // as the probe has it
		}
		s.FDs = append(s.FDs, record.FD{Number: fd, Target: target, Inode: inode})
	}
}

func TestNoDescriptorIsMadeUpForByOneOfAnotherKind(t *testing.T) {
	both := func(more ...func(*record.Sample)) []func(*record.Sample) {
		return append([]func(*record.Sample){opened(1, "/dev/null"), opened(2, "/var/log/a.log"), opened(4, "anon_inode:[eventpoll]")}, more...)
	}
	for _, c := range []struct {
		name string
		b, g []func(*record.Sample)
		says string // of the row, "" if all is well
	}{
		{"a pipe for a file", both(opened(30, "/tmp/x")), both(opened(30, "pipe:[7]")), "server fds +1 (pipe +1)"},
		{"an eventfd for a pipe", both(opened(30, "pipe:[7]")), both(opened(30, "anon_inode:[eventfd]")), "server fds +1 (anon_inode:[eventfd] +1)"},
		{"a socket that the kernel has forgotten for a listener", both(socket(30, 300, "10.0.0.1:1", "0.0.0.0:0", "LISTEN")), both(descriptor(30, 301)), "server fds +1 (socket without a TCP state +1)"},
		{"a second descriptor of one socket for a file", both(opened(30, "/tmp/x")), both(descriptor(30, 100)), "server fds +1 (TCP socket +1)"},
		{"two of one kind and one of another, for three", both(opened(30, "/a"), opened(31, "/b"), opened(32, "/c")), both(opened(30, "pipe:[7]"), opened(31, "pipe:[7]"), opened(32, "anon_inode:inotify")), "server fds +3 (anon_inode:inotify +1, pipe +2)"},
		{"the log was rotated", both(), []func(*record.Sample){opened(1, "/dev/null"), opened(5, "/var/log/b.log (deleted)"), opened(4, "anon_inode:[eventpoll]")}, ""},
		{"another pipe for a pipe", both(opened(30, "pipe:[7]")), both(opened(31, "pipe:[8]")), ""},
		{"another session for a session", both(session(8, 108, 18, "1")), both(session(9, 109, 19, "1")), ""},
		{"fewer", both(opened(30, "pipe:[7]")), both(), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, g := holdings(0, c.b...), holdings(8, c.g...)
			rows, _ := Excesses(b, b, b, g)
			for _, r := range rows {
				switch {
				case r.Resource != "fds":
				case r.OK != (c.says == ""):
					t.Errorf("the row is %+v, want OK %v", r, c.says == "")
				case !r.OK && describe(r) != c.says:
					t.Errorf("the row says %q, want %q", describe(r), c.says)
				}
			}
			if Alike(b, g) && !maps.Equal(descriptors(b), descriptors(g)) {
				t.Error("the two look alike")
			}
		})
	}
}

func TestWhatHoldsIsOfTheKindInExcess(t *testing.T) {
	r := healthy()
	p := &r.Processes[0]
	p.B = holdings(0, session(8, 108, 18, "1"), opened(20, "/tmp/a"), opened(21, "/tmp/b"))
	p.G = holdings(8, session(8, 208, 28, "2"), opened(20, "/tmp/c"), opened(30, "pipe:[7]"))
	j := Judge(r)
	if j.Verdict != record.Leak || !strings.Contains(j.Where, "fd 30, pipe:[7]") {
		t.Errorf("verdict is %s (%s), held by %q", j.Verdict, j.Reason, j.Where)
	}
}
