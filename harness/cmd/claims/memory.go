package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

// The document's numbers.
const (
	reconnects = 1000 // a minute
	users      = 50
)

// tolerance is how far a figure may be from the document's and still be called the same.
const tolerance = 0.25

// memory are the claims about what connections and reconnects cost.
func memory() []claim {
	about := func(v float64, c Case) Case {
		c.Least, c.Most = v*(1-tolerance), v*(1+tolerance)
		return c
	}
	return []claim{
		{
			id: "C1", where: "Memory Usage Analysis", words: "32KB TLS + 16KB buffers: 48KB a connection; 50 x 48KB = 2.4 MB (stable)",
			tried: "a TLS server with 16 KB of buffer a connection, idle after one echo; growth of RssAnon after collections; the same: within a quarter",
			cases: []trial{
				{Case: about(48, Case{Circumstance: "a connection, of 1,000", What: "RssAnon each", Unit: "KB"}), run: crowd(1000, 1000)},
				{Case: about(2.4, Case{Circumstance: "50 connections", What: "RssAnon of all", Unit: "MB"}), run: crowd(users, 1e6)},
			},
		},
		{
			id: "C2", where: "Memory Usage Analysis", words: "Memory Churn: 1,000 x (32KB TLS + 16KB buffers) = 48 MB/min",
			tried: "TLS reconnects to the same server, their allocations in its runtime's own account (TotalAlloc), for 1,000; the same: within a quarter",
			cases: []trial{{Case: about(48, Case{Circumstance: "1,000 reconnects", What: "allocated", Unit: "MB"}), run: churn(allocated)}},
		},
		{
			id: "C3", where: "Memory Usage Analysis", words: "CPU Usage: High (constant TLS handshakes)",
			tried: "the same reconnects; the server's processor time, for 1,000 a minute; high: half a core and more",
			cases: []trial{{Case: Case{Circumstance: "1,000 reconnects a minute", What: "processor time", Unit: "% of a core", Least: 50, Most: never}, run: churn(spent)}},
		},
		{
			id: "C4", where: "Memory Usage Analysis", words: "Fix reduces memory usage by eliminating churn",
			tried: "50 stable connections, and beside them 300 reconnects at 1,000 a minute; RssAnon at the end over RssAnon before, after collections; reduces: by a quarter at least",
			cases: []trial{{Case: Case{Circumstance: "50 users, 1,000 reconnects a minute", What: "RssAnon with churn over that without:", Least: 1 + tolerance, Most: never}, run: churn(held)}},
		},
	}
}

// crowd is the growth of RssAnon by n connections: each in bytes over unit.
func crowd(n int, unit float64) func(context.Context, *bench) (reading, error) {
	return func(ctx context.Context, b *bench) (r reading, err error) {
		s, err := b.serve(ctx, lab.Direct, "crowd")
		if err != nil {
			return r, err
		}
		defer func() { err = errors.Join(err, s.close(ctx)) }()
		// A first connection pays for what the program needs once.
		if err := s.peers(ctx, 1, "--tls"); err != nil {
			return r, err
		}
		if err := s.Processes["client"].Kill(); err != nil {
			return r, err
		}
		if _, err := s.wait(ctx, 3*time.Second, s.unheld); err != nil {
			return r, err
		}
		before, err := s.observer.Memory(ctx)
		if err != nil {
			return r, err
		}
		if err := s.peers(ctx, n, "--tls"); err != nil {
			return r, err
		}
		after, err := s.observer.Memory(ctx)
		if err != nil {
			return r, err
		}
		p, err := s.observer.Point(ctx)
		r.bit, r.witness = p.Sockets["ESTABLISHED"] == n, fmt.Sprintf("%d connections are established", p.Sockets["ESTABLISHED"])
		grown := float64(after.RssAnon - before.RssAnon)
		r.value, r.told = grown/unit, fmt.Sprintf("heap %.3g KB each", float64(after.HeapAlloc-before.HeapAlloc)/float64(n)/1000)
		if unit == 1000 { // one of them
			r.value /= float64(n)
		}
		return r, err
	}
}

// account is what is read of the server before and after its reconnects.
type account func(ctx context.Context, s *stage) (float64, error)

// figure makes the value of two accounts, n reconnects apart.
type figure struct {
	read account
	of   func(before, after, n float64) float64
}

var (
	allocated = figure{totalAlloc, func(before, after, n float64) float64 { return (after - before) / n * reconnects / 1e6 }}
	spent     = figure{processorTime, func(before, after, n float64) float64 { return 100 * (after - before) / n * reconnects / 60 }}
	held      = figure{rssAnon, func(before, after, _ float64) float64 { return after / before }}
)

// churn has 50 connections stand, and makes 300 beside them anew, 1,000 a minute.
func churn(f figure) func(context.Context, *bench) (reading, error) {
	const n = 300
	return func(ctx context.Context, b *bench) (r reading, err error) {
		s, err := b.serve(ctx, lab.Direct, "crowd")
		if err != nil {
			return r, err
		}
		defer func() { err = errors.Join(err, s.close(ctx)) }()
		if err := s.peers(ctx, users, "--tls", "--every", (time.Minute / reconnects).String()); err != nil {
			return r, err
		}
		client := s.Processes["client"]
		first := printed(client, "again")
		before, err := f.read(ctx, s)
		if err != nil {
			return r, err
		}
		if r, err = s.wait(ctx, time.Minute, says(client, "again", first+n)); err != nil {
			return r, err
		}
		made, took := printed(client, "again")-first, r.value
		after, err := f.read(ctx, s)
		r.bit = !r.censored && made >= n
		r.witness = fmt.Sprintf("%d reconnects in %.1f s, %d connections beside", made, took, users)
		r.value, r.censored = f.of(before, after, float64(made)), false
		return r, err
	}
}

// rssAnon is the server's, after collections.
func rssAnon(ctx context.Context, s *stage) (float64, error) {
	m, err := s.observer.Memory(ctx)
	return float64(m.RssAnon), err
}

// totalAlloc is all that the server has ever allocated, by its runtime's account.
func totalAlloc(ctx context.Context, s *stage) (float64, error) {
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return s.Server.DialContext(ctx, network, address)
		},
		DisableKeepAlives: true,
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/debug/pprof/heap?debug=1", nil)
	if err != nil {
		return 0, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, fmt.Errorf("read the heap's account: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, fmt.Errorf("read the heap's account: %w", err)
	}
	for in := bufio.NewScanner(bytes.NewReader(text)); in.Scan(); {
		if number, ok := strings.CutPrefix(in.Text(), "# TotalAlloc = "); ok {
			return strconv.ParseFloat(number, 64)
		}
	}
	return 0, errors.New("the heap's account has no TotalAlloc")
}

// processorTime is how many seconds the server has spent on a processor.
func processorTime(_ context.Context, s *stage) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.server.PID()))
	if err != nil {
		return 0, err
	}
	// utime and stime, fields 14 and 15, the first that can hold blanks being the second;
	// in ticks of 10 ms. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("read processor time: the line is too short")
	}
	user, err1 := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100, errors.Join(err1, err2)
}
