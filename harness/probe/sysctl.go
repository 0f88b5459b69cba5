package probe

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/halfopen/halfopen/harness/record"
)

// namespace reads what the process's host gives to its sockets. A kernel that lacks a
// sysctl leaves it 0.
func (o *Observer) namespace() (*record.Namespace, error) {
	var n record.Namespace
	var fin, most int
	err := o.process.Host.Do(func() error {
		var errs []error
		for name, into := range map[string]*int{
			"tcp_retries2": &n.Retries2, "tcp_orphan_retries": &n.OrphanRetries, "tcp_fin_timeout": &fin, "tcp_rto_max_ms": &most,
		} {
			text, err := os.ReadFile("/proc/sys/net/ipv4/" + name) // follows the calling thread
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err == nil {
				*into, err = strconv.Atoi(strings.TrimSpace(string(text)))
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return nil, fmt.Errorf("read sysctls of its host: %w", err)
	}
	n.FinTimeout, n.RTOMax = float64(fin), float64(most)/1000
	return &n, nil
}
