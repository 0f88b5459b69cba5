package target

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
)

// Ports of the origin on its host.
const (
	OriginHTTP = 8000
	OriginTCP  = 8001
)

// Deployment is the target in one lab.
type Deployment struct {
	Target *Target

	lab    *lab.Lab
	values Values
	logs   string
	starts int

	// KeyLog asks the processes for the keys of their TLS connections, in a file beside
	// each log, by the variable that NSS, OpenSSL's programs and curl know.
	KeyLog bool
}

// Instance is one running process of the target.
type Instance struct {
	*lab.Process
	Pprof    string // address on its host, "" if it has none
	FreePath string // on that server, "" if it has none
	Metrics  Metrics
}

// Deploy prepares the target for lab l: certificates are made in dir, and logs go
// to the folder logs. bins is what Compile returned.
func (t *Target) Deploy(l *lab.Lab, bins map[string]string, dir, logs string) (*Deployment, error) {
	// Before any socket is made: many sysctls are copied into a socket at its birth.
	for _, key := range slices.Sorted(maps.Keys(t.Kernel)) {
		hosts := []*lab.Host{l.Server, l.Client}
		for _, n := range l.Neighbours {
			hosts = append(hosts, n.Host)
		}
		for _, h := range hosts {
			if err := h.Sysctl(key, t.Kernel[key]); err != nil {
				return nil, fmt.Errorf("deploy %s: %w", t.Name, err)
			}
		}
	}
	cert, err := makeCert(dir, l.ClientSide, l.VisitorSide)
	if err != nil {
		return nil, fmt.Errorf("deploy %s: %w", t.Name, err)
	}
	return &Deployment{Target: t, lab: l, logs: logs, values: Values{
		Bin:    bins,
		Server: ServerValues{VisitorIP: IP(l.VisitorSide.String()), ClientIP: IP(l.ClientSide.String()), AnyIP: IP(l.AnyIP().String())},
		Origin: originAt(l.OriginIP),
		Cert:   cert,
	}}, nil
}

func originAt(ip netip.Addr) OriginValues {
	return OriginValues{HTTP: netip.AddrPortFrom(ip, OriginHTTP).String(), TCP: netip.AddrPortFrom(ip, OriginTCP).String()}
}

// EnvGodebug is added to the GODEBUG of the target's processes: a soak has them account
// for every allocation.
const EnvGodebug = "HALFOPEN_GODEBUG"

// StartServer starts the server and returns when it is ready.
func (d *Deployment) StartServer(ctx context.Context) (*Instance, error) {
	// The server knows both clients from the start.
	return d.start(ctx, d.lab.Server, "server", d.Target.Server, d.values)
}

// StartClient starts a client and returns when it is logged in.
func (d *Deployment) StartClient(ctx context.Context, c ClientValues) (*Instance, error) {
	v := d.values
	v.Client = c
	return d.start(ctx, d.lab.Client, c.Role, d.Target.Client, v)
}

// StartNeighbour starts the lab's n-th neighbour, from 1, and returns when it is logged in.
func (d *Deployment) StartNeighbour(ctx context.Context, n int) (*Instance, error) {
	home := d.lab.Neighbours[n-1]
	v := d.values
	v.Client, v.Origin = Neighbour(n), originAt(home.OriginIP)
	return d.start(ctx, home.Host, v.Client.Role, d.Target.Client, v)
}

func (d *Deployment) start(ctx context.Context, h *lab.Host, role string, p Program, v Values) (*Instance, error) {
	fill := func(text string) (string, error) { return d.Target.expand(text, v) }
	cmd := lab.Command{Role: role}
	for _, word := range p.Command {
		text, err := fill(word)
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", role, err)
		}
		cmd.Argv = append(cmd.Argv, text)
	}
	for _, key := range slices.Sorted(maps.Keys(d.Target.Env)) {
		value := d.Target.Env[key]
		if key == "GODEBUG" && os.Getenv(EnvGodebug) != "" {
			value += "," + os.Getenv(EnvGodebug)
		}
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	if _, set := d.Target.Env["GODEBUG"]; !set && os.Getenv(EnvGodebug) != "" {
		cmd.Env = append(cmd.Env, "GODEBUG="+os.Getenv(EnvGodebug))
	}
	d.starts++
	cmd.Log = filepath.Join(d.logs, fmt.Sprintf("%s-%d.log", role, d.starts))
	if d.KeyLog {
		cmd.Env = append(cmd.Env, "SSLKEYLOGFILE="+strings.TrimSuffix(cmd.Log, ".log")+".keys")
	}
	process, err := d.lab.Start(h, cmd)
	if err != nil {
		return nil, fmt.Errorf("%w (see the command in %s)", err, d.Target.File)
	}
	i := &Instance{Process: process, FreePath: p.Free, Metrics: p.Metrics}
	if i.Pprof, err = fill(p.Pprof); err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	if i.Metrics.URL, err = fill(p.Metrics.URL); err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	ready, err := d.readiness(h, p.Ready, process, fill)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	if err := await(ctx, process, ready); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", role, err), process.Kill())
	}
	return i, nil
}

// readiness is the question that says nil once the process is ready.
func (d *Deployment) readiness(h *lab.Host, r Ready, p *lab.Process, fill func(string) (string, error)) (func(context.Context) error, error) {
	switch {
	case r.HTTP != "":
		url, err := fill(r.HTTP)
		if err != nil {
			return nil, err
		}
		client := &http.Client{Transport: &http.Transport{DialContext: h.DialContext, DisableKeepAlives: true}}
		return func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if err != nil {
				return err
			}
			resp, err := client.Do(req)
			if err != nil {
				return err
			}
			if err := resp.Body.Close(); err != nil {
				return err
			}
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("GET %s: %s", url, resp.Status)
			}
			return nil
		}, nil
	case r.TCP != "":
		address, err := fill(r.TCP)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) error {
			conn, err := h.DialContext(ctx, "tcp", address)
			if err != nil {
				return err
			}
			return conn.Close()
		}, nil
	default:
		return func(context.Context) error {
			for _, line := range p.Tail(1000) {
				if strings.Contains(line, r.Log) {
					return nil
				}
			}
			return fmt.Errorf("it has not printed %q", r.Log)
		}, nil
	}
}

// await asks until the process is ready, has ended, or ctx is over.
func await(ctx context.Context, p *lab.Process, ready func(context.Context) error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		once, cancel := context.WithTimeout(ctx, time.Second)
		err := ready(once)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-p.Exited():
			return fmt.Errorf("it ended by itself: %s: %s", p.Status(), strings.Join(p.Tail(3), " | "))
		case <-ctx.Done():
			if last == nil {
				last = errors.New("it was not asked")
			}
			return fmt.Errorf("not ready in time: %w: %w; the last it printed: %q", context.Cause(ctx), last, strings.Join(p.Tail(1), ""))
		case <-tick.C:
		}
	}
}

// Route is how a visitor of one client reaches the origin.
type Route struct {
	Address    string // literal IP address and port
	Host, Path string
}

// Routes are the ways to a client by protocol, as the target's file has them:
// "http", "websocket", "tcp".
func (d *Deployment) Routes(c ClientValues) (map[string]Route, error) {
	v := d.values
	v.Client = c
	routes := map[string]Route{}
	for protocol, w := range map[string]*Way{"http": d.Target.Visit.HTTP, "websocket": d.Target.Visit.WebSocket, "tcp": d.Target.Visit.TCP} {
		if w == nil {
			continue
		}
		port, err := d.Target.expand(w.Port, v)
		if err != nil {
			return nil, fmt.Errorf("find the way of %s: %w", protocol, err)
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("find the way of %s: visit.%s.port is %q: want a number", protocol, protocol, port)
		}
		host, err := d.Target.expand(w.Host, v)
		if err != nil {
			return nil, fmt.Errorf("find the way of %s: %w", protocol, err)
		}
		address := netip.AddrPortFrom(d.lab.VisitorSide, uint16(n)).String()
		routes[protocol] = Route{Address: address, Host: host, Path: w.Path}
	}
	return routes, nil
}
