// Package scenarios holds the stories: what happens to a target, and what must be
// left of it afterwards.
package scenarios

import (
	"testing"

	"github.com/halfopen/halfopen/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

func TestScenarios(t *testing.T) { harness.Scenarios(t, "scenarios") }

var _ = harness.Prepare()

// visitors of each story: eight of each protocol.
const visitors = 24
