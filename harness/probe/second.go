package probe

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/shirou/gopsutil/v3/net"
	"github.com/shirou/gopsutil/v3/process"

	"github.com/halfopen/halfopen/harness/record"
)

// renamed are gopsutil's states that RFC 9293 writes otherwise.
var renamed = map[string]string{
	"SYN_RECV": "SYN_RECEIVED", "FIN_WAIT1": "FIN_WAIT_1", "FIN_WAIT2": "FIN_WAIT_2", "CLOSE": "CLOSED",
}

// second adds gopsutil's account of the process: RSS, threads, the number of
// descriptors, and sockets by state, for which it reads /proc/PID/net/tcp and tcp6
// and joins them with the descriptors in its own way. Several listeners on one
// address (SO_REUSEPORT) are one to it.
func (o *Observer) second(ctx context.Context, s *record.Sample) error {
	p := process.Process{Pid: int32(o.process.PID)}
	memory, err := p.MemoryInfoWithContext(ctx)
	if err != nil {
		return fmt.Errorf("gopsutil: read memory: %w", err)
	}
	threads, err := p.NumThreadsWithContext(ctx)
	if err != nil {
		return fmt.Errorf("gopsutil: count threads: %w", err)
	}
	fds, err := p.NumFDsWithContext(ctx)
	if err != nil {
		return fmt.Errorf("gopsutil: count descriptors: %w", err)
	}
	s.Memory.RSS, s.Threads, s.FDCount = int64(memory.RSS), int(threads), int(fds)
	s.States, err = o.states(ctx)
	return err
}

func (o *Observer) states(ctx context.Context) (map[string]int, error) {
	conns, err := net.ConnectionsPidWithoutUidsWithContext(ctx, "tcp", int32(o.process.PID))
	if err != nil {
		return nil, fmt.Errorf("gopsutil: list connections: %w", err)
	}
	states := make(map[string]int)
	for _, c := range conns {
		if o.pprof != nil && o.pprof.knows(written(c.Laddr), written(c.Raddr)) {
			continue
		}
		state := c.Status
		if name, ok := renamed[state]; ok {
			state = name
		}
		states[state]++
	}
	return states, nil
}

// written is an address as sock_diag's are written.
func written(a net.Addr) string {
	ip, err := netip.ParseAddr(a.IP)
	if err != nil {
		return "" // a listener's other end
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(a.Port)).String()
}
