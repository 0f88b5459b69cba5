package harness

import (
	"net/netip"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/leak"
	"github.com/halfopen/halfopen/harness/target"
)

// A baseline has nothing of a visitor who is let go of a second after the visit; what is
// held for longer than that may take by design is held at rest.
func TestBaselineWaitsForWhoIsLetGo(t *testing.T) {
	for _, c := range []struct {
		holds  string  // seconds
		design float64 // seconds for which a half-closed one may be kept
		left   int
	}{{"1", 20, 0}, {"1000", 0, 1}} {
		t.Run(c.holds, func(t *testing.T) {
			w := sleepers(t)
			w.suite.Settings.HalfClose = c.design
			visitor, err := w.Lab.Visitor.Listen(t.Context(), netip.AddrPortFrom(netip.MustParseAddr(w.Lab.Edge()["server"][0]), 7000).String())
			if err != nil {
				t.Fatal(err)
			}
			defer visitor.Close()
			at := netip.MustParseAddrPort(visitor.Addr().String())
			log := filepath.Join(t.TempDir(), "holder")
			script := "exec 3<>/dev/tcp/" + at.Addr().String() + "/" + strconv.Itoa(int(at.Port())) + "; echo held; read -t " + c.holds + " <&3; exec 3>&-; exec sleep 1000"
			process, err := w.Lab.Start(w.Lab.Server, lab.Command{Role: "server", Argv: []string{"bash", "-c", script}, Log: log})
			if err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(30 * time.Second); len(process.Tail(1)) == 0; time.Sleep(poll) {
				if time.Now().After(end) {
					t.Fatal("nobody connects")
				}
			}
			holder, err := w.adopt(t.Context(), &target.Instance{Process: process})
			if err != nil {
				t.Fatal(err)
			}
			defer holder.Observer.Close()
			s, err := w.atRest(t.Context(), holder)
			if n := leak.Connected(s, w.Lab.Edge()["server"]); err != nil || n != c.left || holder.pools != (c.left > 0) {
				t.Errorf("%d connections in the baseline, %t for good (%v), want %d", n, holder.pools, err, c.left)
			}
		})
	}
}
