package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

// The public ports of the peers begin here, ten for each; the specials' tunnels
// come after them.
const firstPort, specialPort = 10_000, 12_000

// oursOnly starts the tunnel by itself, with fresh memory.
func (b *bench) oursOnly(ctx context.Context) (*running, error) {
	p := peers[0]
	p.name = "alone"
	return b.start(ctx, p, b.lab.Server, specialPort)
}

// idle measures what a WebSocket costs the server and the client while nothing is
// said, in RssAnon.
func (b *bench) idle(ctx context.Context, kind string, n int, most float64) (rows []row, err error) {
	if b.quick {
		n /= 10
	}
	r, err := b.oursOnly(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	server, client := r.processes[0].PID(), r.processes[1].PID()
	time.Sleep(500 * time.Millisecond)
	base := [2]float64{rss([]int{server}), rss([]int{client})}
	crowd, err := b.send(b.lab.Server, order{Kind: kind, Address: r.web, Host: host, N: n})
	if err != nil {
		return nil, err
	}
	defer crowd.dismiss()
	if err := crowd.line("ready"); err != nil {
		return nil, err
	}
	time.Sleep(2500 * time.Millisecond)
	name := map[string]string{"idle": "idle", "blob": "after-1mb"}[kind]
	for i, side := range []string{"server", "client"} {
		each := (rss([]int{[]int{server, client}[i]}) - base[i]) / float64(n) / 1024
		rows = append(rows, absolute(fmt.Sprintf("%s-%s", name, side), "KB each", each, most, true, fmt.Sprintf("%d WebSockets", n)))
	}
	return rows, nil
}

// stop ends a peer.
func (r *running) stop() (err error) {
	for _, p := range r.processes {
		err = errors.Join(err, p.Kill())
	}
	return err
}

// pairs is how many times a stalled visitor is put beside the others.
const pairs = 11

// stall measures what a visitor that does not read costs: in memory by itself,
// and the others in speed, who are measured without and with it in turn.
func (b *bench) stall(ctx context.Context) (rows []row, err error) {
	r, err := b.oursOnly(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	time.Sleep(500 * time.Millisecond)
	base := rss(r.pids())
	one := order{Kind: "stall", Address: r.raw, N: 1}
	alone, err := b.send(b.lab.Server, one)
	if err != nil {
		return nil, err
	}
	err = alone.line("ready")
	time.Sleep(2 * time.Second)
	held := (rss(r.pids()) - base) / (1 << 20)
	alone.dismiss()
	if err != nil {
		return nil, err
	}
	rows = append(rows, absolute("stall-memory", "MiB", held, credit, true, "server and client together; the most credit a stream can have"))
	var ratios, without, with []float64
	for i := range max(pairs, b.rounds) {
		if b.quick && i == 3 {
			break
		}
		measureOne := func(stalled bool) (float64, error) {
			if stalled {
				c, err := b.send(b.lab.Server, one)
				if err != nil {
					return 0, err
				}
				defer c.dismiss()
				if err := c.line("ready"); err != nil {
					return 0, err
				}
			}
			return rate("down", 32, false, megabyte)(ctx, b, r)
		}
		var got [2]float64
		for turn := range 2 {
			stalled := (i+turn)%2 == 1 // A B, B A, ...
			v, err := measureOne(stalled)
			if err != nil {
				return nil, err
			}
			got[map[bool]int{false: 0, true: 1}[stalled]] = v
		}
		without, with = append(without, got[0]), append(with, got[1])
		ratios = append(ratios, got[1]/got[0])
	}
	return append(rows, relative("stall-others", "MB/s", "without it", with, without, ratios, goal{"without it", 0.9}, false)), nil
}

// credit is the most that a stream's receiver grants, in MiB.
const credit = 16

// far starts the tunnel across a cable: server and visitors on one host, client
// and origin on the other.
func (b *bench) far(ctx context.Context) (*running, error) {
	commands := b.tunnel(b.tunnelPath, specialPort+20)
	at := b.lab.ClientSide.String()
	commands[0][2] = fmt.Sprintf("--listen=%s:%d", at, specialPort+22)
	commands[1][2] = fmt.Sprintf("--server=%s:%d", at, specialPort+22)
	r := &running{raw: fmt.Sprintf("127.0.0.1:%d", specialPort+20), web: fmt.Sprintf("127.0.0.1:%d", specialPort+21)}
	for i, h := range []*lab.Host{b.lab.Server, b.lab.Client} {
		p, err := b.lab.Start(h, lab.Command{Role: fmt.Sprint("far", i), Argv: commands[i], Log: filepath.Join(b.dir, fmt.Sprint("far", i))})
		if err != nil {
			return nil, errors.Join(err, r.stop())
		}
		r.processes = append(r.processes, p)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		t, err := b.visit(ctx, b.lab.Server, order{Kind: "ws", Address: r.web, Host: host, N: 1, Warm: time.Millisecond, Window: 300 * time.Millisecond})
		if err == nil && t.Errors == 0 && t.Count > 0 {
			return r, nil
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return nil, errors.Join(fmt.Errorf("start the far tunnel: no visit succeeds: %s %s", t.Error, r.processes[1].Tail(3)), err, r.stop())
		}
	}
}

// dead measures how long the visitors of a client live that vanishes without a
// word, with the tunnel's defaults.
func (b *bench) dead(ctx context.Context) (rows []row, err error) {
	r, err := b.far(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	end, err := b.lab.End(lab.AtClient)
	if err != nil {
		return nil, err
	}
	crowd, err := b.send(b.lab.Server, order{Kind: "idle", Address: r.web, Host: host, N: 20})
	if err != nil {
		return nil, err
	}
	defer crowd.dismiss()
	if err := crowd.line("ready"); err != nil {
		return nil, err
	}
	if err := end.Down(); err != nil {
		return nil, err
	}
	start := time.Now()
	defer func() { err = errors.Join(err, end.Up()) }()
	timer := time.AfterFunc(time.Minute, crowd.dismiss)
	defer timer.Stop()
	if err := crowd.line("gone"); err != nil {
		return nil, fmt.Errorf("after a minute: %w", err)
	}
	return []row{absolute("dead", "s", time.Since(start).Seconds(), 16, true, "20 visitors closed after the client's cable was pulled; defaults")}, nil
}

// delayed measures one download through the tunnel and one without it, over the
// same line of 40 ms. The line is long before the tunnel starts, which measures its
// round trip at the login, and the first round does not count: the tunnel's
// connection is young only once.
func (b *bench) delayed(ctx context.Context) (rows []row, err error) {
	end, err := b.lab.End(lab.AtClient)
	if err != nil {
		return nil, err
	}
	if err := end.Link.Shape(lab.Quality{Delay: 20 * time.Millisecond}); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, end.Link.Shape(lab.Quality{})) }()
	r, err := b.far(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	// The origin listens on loopback only: a relay of ours would be measured too,
	// so a second one listens on the cable.
	address := fmt.Sprintf("%s:9001", end.IP())
	if _, err := b.lab.Start(b.lab.Client, lab.Command{Role: "origin on the cable", Argv: []string{b.self, "origin", address}, Log: filepath.Join(b.dir, "origin-cable")}); err != nil {
		return nil, err
	}
	time.Sleep(200 * time.Millisecond)
	var ratios, through, straight []float64
	for round := range b.rounds + 1 {
		var got [2]float64
		for i, to := range []string{r.raw, address} {
			if got[i], err = b.steady(ctx, order{Kind: "down", Address: to, N: 1, Warm: 3 * time.Second, Window: 2 * time.Second}); err != nil {
				return nil, err
			}
		}
		if round == 0 {
			continue
		}
		through, straight = append(through, got[0]), append(straight, got[1])
		ratios = append(ratios, got[0]/got[1])
	}
	return []row{relative("delay-40ms", "MB/s", direct, through, straight, ratios, goal{direct, 0.7}, false)}, nil
}

// steady measures a download, again if TCP has taken a stall of this machine for a
// loss: after one retransmission timeout reno needs longer than the measurement to
// come back, and what is measured is the timeout.
func (b *bench) steady(ctx context.Context, o order) (float64, error) {
	for range 5 {
		before, err := b.timeouts()
		if err != nil {
			return 0, err
		}
		t, err := b.visit(ctx, b.lab.Server, o)
		if err != nil {
			return 0, err
		}
		after, err := b.timeouts()
		if err != nil {
			return 0, err
		}
		rate := float64(t.Count) / t.Window / megabyte
		if after == before {
			return rate, nil
		}
		fmt.Fprintf(os.Stderr, "bench: delay: %.1f MB/s do not count, TCP timed out %d times: again\n", rate, after-before)
	}
	return 0, errors.New("measure over a long line: this machine stalls too much, TCP has timeouts each time")
}

// timeouts counts the retransmission timeouts on both hosts: TCPTimeouts of
// /proc/net/netstat.
func (b *bench) timeouts() (sum int, err error) {
	for _, h := range []*lab.Host{b.lab.Server, b.lab.Client} {
		if err := h.Do(func() error {
			text, err := os.ReadFile("/proc/thread-self/net/netstat")
			if err != nil {
				return fmt.Errorf("count timeouts: %w", err)
			}
			n, err := counter(string(text), "TcpExt:", "TCPTimeouts")
			sum += n
			return err
		}); err != nil {
			return 0, err
		}
	}
	return sum, nil
}

// counter is the value of a name in a table of two lines, names above and values
// below, that both begin with its title.
func counter(text, title, name string) (int, error) {
	var names []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || fields[0] != title:
		case names == nil:
			names = fields
		default:
			if i := slices.Index(names, name); i > 0 && i < len(fields) {
				return strconv.Atoi(fields[i])
			}
		}
	}
	return 0, fmt.Errorf("count %s: the kernel does not say", name)
}
