package reports

import (
	"fmt"
	"os"
	"strconv"
)

// EnvKeep is how many runs of one name stay in the folder of runs; DefaultKeep without
// it, all for 0.
const (
	EnvKeep     = "HALFOPEN_KEEP"
	DefaultKeep = 20
)

// Keep reads EnvKeep.
func Keep() (int, error) {
	text := os.Getenv(EnvKeep)
	if text == "" {
		return DefaultKeep, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s=%s: want a number, 0 keeps all runs", EnvKeep, text)
	}
	return n, nil
}
