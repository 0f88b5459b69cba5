package harness

import (
	"strings"
	"testing"
	"time"

	"github.com/onsi/ginkgo/v2/types"
)

// A spec that was given longer than Ginkgo's own hour is given it again: a soak of five hours
// would be broken off after one. Ginkgo tells a suite what is left of its time.
func TestReplayTakesAsLong(t *testing.T) {
	asked := types.NewDefaultSuiteConfig()
	asked.RandomSeed = 7
	for timeout, want := range map[time.Duration]string{
		time.Hour: "", 30 * time.Minute: "", 0: "",
		5*time.Hour + 10*time.Minute - time.Millisecond: " --timeout=5h10m0s",
		61 * time.Minute: " --timeout=1h1m0s",
	} {
		asked.Timeout = timeout
		for _, text := range []string{"", "Soak"} {
			got := replayAsked(asked, text, "x.yaml", "")
			head := "go tool ginkgo --seed=7" + want
			if text != "" {
				head += ` -focus "Soak"`
			}
			if head += " ./scenarios -- -target="; !strings.HasPrefix(got, head) {
				t.Errorf("timeout %v, focus %q: %s, want %s", timeout, text, got, head)
			}
		}
	}
}
