// Package target is the system under test as data: one YAML file tells how it is
// built, started, visited and observed, and how soon it should notice that a peer
// is gone. The harness knows no target by name.
package target

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/halfopen/halfopen/harness/record"
)

// Target is one system under test, as its file describes it. Texts marked with a
// T are templates over Values.
type Target struct {
	Name string `yaml:"name"`
	What string `yaml:"what"` // one sentence for the report
	// Build maps a name to the Go package that it is built from; commands use it
	// as {{.Bin.NAME}}. Nothing is built for a target that is installed already.
	Build  map[string]string `yaml:"build"`
	Env    map[string]string `yaml:"env"` // added to each process's environment
	Server Program           `yaml:"server"`
	Client Program           `yaml:"client"`
	Visit  Visits            `yaml:"visit"`
	// Settings are the dead-peer detectors that the target was started with.
	Settings Settings `yaml:"settings"`

	// Kernel are sysctls of the network namespaces that the server and the client run
	// in ("net.ipv4.tcp_retries2": "3"). A target that lives on the system's defaults
	// is scaled so to a window that passes in seconds, and the report says "scaled".
	Kernel map[string]string `yaml:"kernel"`
	// Skips are the beginnings of the names of those stories that this target lacks
	// the layer for. If the key is there, a story that is skipped without being named,
	// or that is named and judged, is INCONCLUSIVE.
	Skips *[]string `yaml:"skips"`

	// Neighbours is for how many clients more than two the server has rights: Neighbour
	// says which. A story that needs more is SKIPPED.
	Neighbours int `yaml:"neighbours"`

	// IPv6 says that it speaks IPv6 where the lab does: its commands have no address of IPv4
	// of their own, and put no port behind one but by At.
	IPv6 bool `yaml:"ipv6"`

	// Limits are what it refuses more of. A story that brings more than a limit is SKIPPED
	// where that is not stated.
	Limits Limits `yaml:"limits"`

	// Noticed finds, in the output of both processes, the name of the detector that
	// ended a connection: a regular expression with one group ('detector=(\w+)'). It
	// judges nothing: the table of layers says with it what really freed.
	Noticed string `yaml:"noticed"`

	File string `yaml:"-"` // absolute
	Hash string `yaml:"-"` // SHA-256 of the file
}

// Program is how one of the target's processes is started and looked at.
type Program struct {
	Command []string `yaml:"command"` // T; the first word is a path or looked up in PATH
	Ready   Ready    `yaml:"ready"`
	Pprof   string   `yaml:"pprof"` // T; "127.0.0.1:6060" on its host, "" if it has none
	Free    string   `yaml:"free"`  // path on that server which gives free memory back, "" if none
	Metrics Metrics  `yaml:"metrics"`
}

// Ready says when a process is ready. Exactly one is set.
type Ready struct {
	HTTP string `yaml:"http"` // T; this URL, on its host, answers 200
	TCP  string `yaml:"tcp"`  // T; this address, on its host, accepts
	Log  string `yaml:"log"`  // it has printed this text
}

// Visits are the ways by which visitors reach the origin.
type Visits struct {
	HTTP      *Way `yaml:"http"`
	WebSocket *Way `yaml:"websocket"`
	TCP       *Way `yaml:"tcp"`
}

// Way is one of them.
type Way struct {
	Port string `yaml:"port"` // T; on the server
	Host string `yaml:"host"` // T; the Host header
	Path string `yaml:"path"`
}

// Limits are the most of something that a target takes; 0: not stated.
type Limits struct {
	Logins int `yaml:"logins"` // clients of the server
	// Handshakes are connections that have not logged in, and visitors without a request:
	// so many of each.
	Handshakes int `yaml:"handshakes"`
	// Visitors are those of one client that is started with this number as
	// {{.Client.Visitors}}. The others may have as many as they like.
	Visitors int `yaml:"visitors"`
}

// Keepalive is the kernel's, as setsockopt has it: SO_KEEPALIVE is on if Count is set.
type Keepalive struct {
	Idle     time.Duration `yaml:"idle"`
	Interval time.Duration `yaml:"interval"`
	Count    int           `yaml:"count"`
}

// check refuses what no kernel has: probes without a time between them bound nothing, and
// times without a count would be taken for no keepalive at all.
func (k Keepalive) check(key string) error {
	if k == (Keepalive{}) || k.Idle > 0 && k.Interval > 0 && k.Count > 0 {
		return nil
	}
	return fmt.Errorf("%s: idle %v, interval %v, count %d: give all three, each above 0, or leave it out", key, k.Idle, k.Interval, k.Count)
}

// Settings are the target's dead-peer detectors; 0 or absent: it has none.
type Settings struct {
	Keepalive   Keepalive     `yaml:"keepalive"`
	UserTimeout time.Duration `yaml:"user_timeout"`
	// Edge is how connections to visitors and origins are set, if not as sessions are.
	Edge *struct {
		Keepalive   Keepalive     `yaml:"keepalive"`
		UserTimeout time.Duration `yaml:"user_timeout"`
	} `yaml:"edge"`
	Heartbeat struct {
		Interval time.Duration `yaml:"interval"`
		Deadline time.Duration `yaml:"deadline"`
	} `yaml:"heartbeat"`
	// ReadDeadline is how long a connection may be silent, put off by each byte.
	ReadDeadline time.Duration `yaml:"read_deadline"`
	HalfClose    time.Duration `yaml:"half_close"`
	Handshake    time.Duration `yaml:"handshake"`
	Flush        time.Duration `yaml:"flush"`
	Dial         time.Duration `yaml:"dial"`
	Backoff      struct {
		Cap    time.Duration `yaml:"cap"`
		Jitter float64       `yaml:"jitter"` // a delay may be this fraction longer than the cap
	} `yaml:"backoff"`
	// Window is given for connections that no detector bounds, or not in a time that a
	// story waits for: by then they are gone, the file says.
	Window time.Duration `yaml:"window"`
}

// Record is the settings in the record's form, in seconds.
func (s Settings) Record() record.Settings {
	var edge record.Edge
	if e := s.Edge; e != nil {
		edge = record.Edge{
			Stated:        true,
			KeepaliveIdle: e.Keepalive.Idle.Seconds(), KeepaliveInterval: e.Keepalive.Interval.Seconds(), KeepaliveCount: e.Keepalive.Count,
			UserTimeout: e.UserTimeout.Seconds(),
		}
	}
	return record.Settings{
		Edge:              edge,
		KeepaliveIdle:     s.Keepalive.Idle.Seconds(),
		KeepaliveInterval: s.Keepalive.Interval.Seconds(),
		KeepaliveCount:    s.Keepalive.Count,
		UserTimeout:       s.UserTimeout.Seconds(),
		HeartbeatInterval: s.Heartbeat.Interval.Seconds(),
		HeartbeatDeadline: s.Heartbeat.Deadline.Seconds(),
		HalfClose:         s.HalfClose.Seconds(),
		ReadDeadline:      s.ReadDeadline.Seconds(),
		Window:            s.Window.Seconds(),
		Handshake:         s.Handshake.Seconds(),
		Flush:             s.Flush.Seconds(),
		Dial:              s.Dial.Seconds(),
		BackoffCap:        s.Backoff.Cap.Seconds(),
		BackoffJitter:     s.Backoff.Jitter,
	}
}

// ExpectsSkip says whether the file names the story as one to be skipped; told is
// false if it says nothing about skips at all.
func (t *Target) ExpectsSkip(story string) (skip, told bool) {
	if t.Skips == nil {
		return false, false
	}
	return slices.ContainsFunc(*t.Skips, func(name string) bool { return strings.HasPrefix(story, name) }), true
}

// Load reads and checks a target file. A key that it does not know, a template
// that does not parse or a missing part is an error that names file and line.
func Load(path string) (*Target, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read target: %w", err)
	}
	t := &Target{}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(t); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read target %s: %s", path, oneLine(err))
	}
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("read target %s: %w", path, err)
	}
	if t.File, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("read target %s: %w", path, err)
	}
	sum := sha256.Sum256(text)
	t.Hash = hex.EncodeToString(sum[:])
	return t, nil
}

// goType is what the YAML library says of our types, which means nothing to users.
var goType = regexp.MustCompile(` in type \S+`)

// oneLine makes one line of the YAML library's many.
func oneLine(err error) string {
	text := goType.ReplaceAllString(err.Error(), "")
	text = strings.TrimPrefix(strings.TrimPrefix(text, "yaml: "), "unmarshal errors:")
	return strings.Join(strings.Fields(text), " ")
}

func (t *Target) check() error {
	switch {
	case t.Name == "":
		return errors.New("name is missing")
	case len(t.Server.Command) == 0:
		return errors.New("server.command is missing")
	case len(t.Client.Command) == 0:
		return errors.New("client.command is missing")
	case t.Visit.HTTP == nil && t.Visit.WebSocket == nil && t.Visit.TCP == nil:
		return errors.New("visit is missing: name at least one of http, websocket, tcp")
	case t.Settings.Window < 0:
		return errors.New("settings.window is negative")
	case t.Neighbours < 0:
		return errors.New("neighbours is negative")
	case min(t.Limits.Logins, t.Limits.Handshakes, t.Limits.Visitors) < 0:
		return errors.New("limits: one of them is negative")
	case t.Limits.Logins > t.Neighbours+1:
		return fmt.Errorf("limits.logins is %d: a story brings one more, beside the two clients %d neighbours", t.Limits.Logins, t.Limits.Logins-1)
	case t.Limits.Visitors > 0 && !strings.Contains(strings.Join(t.Client.Command, " "), ".Client.Visitors"):
		return errors.New("limits.visitors: client.command does not use {{.Client.Visitors}}")
	}
	if err := t.Settings.Keepalive.check("settings.keepalive"); err != nil {
		return err
	}
	if e := t.Settings.Edge; e != nil {
		if err := e.Keepalive.check("settings.edge.keepalive"); err != nil {
			return err
		}
	}
	if found, err := regexp.Compile(t.Noticed); err != nil || t.Noticed != "" && found.NumSubexp() != 1 {
		return fmt.Errorf("noticed: %q is no regular expression with one group, as in 'detector=(\\w+)'", t.Noticed)
	}
	for key := range t.Kernel {
		if !strings.HasPrefix(key, "net.") {
			return fmt.Errorf("kernel: %s does not belong to a network namespace: only net.* does", key)
		}
	}
	for _, p := range []struct {
		name string
		Program
	}{{"server", t.Server}, {"client", t.Client}} {
		set := 0
		for _, s := range []string{p.Ready.HTTP, p.Ready.TCP, p.Ready.Log} {
			if s != "" {
				set++
			}
		}
		if set != 1 {
			return fmt.Errorf("%s.ready: name exactly one of http, tcp, log", p.name)
		}
		url, err := t.expand(p.Metrics.URL, example(t))
		if err != nil {
			return err
		}
		if err := p.Metrics.check(url); err != nil {
			return fmt.Errorf("%s.metrics: %w", p.name, err)
		}
	}
	for _, text := range t.templates() {
		if _, err := t.expand(text, example(t)); err != nil {
			return err
		}
	}
	return nil
}

// templates are all texts that are templates.
func (t *Target) templates() []string {
	texts := slices.Concat(t.Server.Command, t.Client.Command)
	for _, p := range []Program{t.Server, t.Client} {
		texts = append(texts, p.Ready.HTTP, p.Ready.TCP, p.Pprof, p.Metrics.URL)
	}
	for _, w := range []*Way{t.Visit.HTTP, t.Visit.WebSocket, t.Visit.TCP} {
		if w != nil {
			texts = append(texts, w.Port, w.Host)
		}
	}
	return texts
}

// Values are what templates may use.
type Values struct {
	Bin    map[string]string // paths of what was built
	Server ServerValues
	Client ClientValues
	Origin OriginValues
	Cert   CertValues
}

// ServerValues tell where the server is.
type ServerValues struct {
	VisitorIP IP // where visitors reach it
	ClientIP  IP // where clients reach it
	AnyIP     IP // for it to listen at all of its addresses
}

// IP is an address of IPv4 or IPv6.
type IP string

// At is the address with a port: "10.2.0.1:4443", "[fd00:2::1]:4443".
func (ip IP) At(port int) string { return net.JoinHostPort(string(ip), strconv.Itoa(port)) }

// ClientValues are one client's own.
type ClientValues struct {
	Role   string // in the lab: "client", "newcomer"
	Name   string // by which the server knows it
	Port   int    // public TCP port that is its own
	Secret string
	Admin  string // address on its host that no other client has: "127.0.0.1:6060"
	// Visitors are the most that it takes at once; 0, but for one story: as many as come.
	Visitors int
}

// OriginValues are the addresses of the local service behind the client.
type OriginValues struct {
	HTTP, TCP string
}

// CertValues are files and the name of a certificate made for this lab.
type CertValues struct {
	CA, Cert, Key string // PEM files
	Name          string // that the certificate is for, beside the server's addresses
}

// The two clients of a lab: the one that is there from the start and returns
// after a fault, and one that comes later. Their secrets are worth nothing: they
// live and die with one lab.
var (
	Returning = ClientValues{Role: "client", Name: "alpha", Port: 7001, Secret: "secret-of-alpha", Admin: "127.0.0.1:6060"}
	Newcomer  = ClientValues{Role: "newcomer", Name: "beta", Port: 7002, Secret: "secret-of-beta", Admin: "127.0.0.1:6061"}
)

// Neighbour is the n-th client, from 1, that is there beside the returning one, on a host
// of its own.
func Neighbour(n int) ClientValues {
	return ClientValues{
		Role: fmt.Sprintf("neighbour-%d", n), Name: fmt.Sprintf("neighbour-%d", n), Port: Newcomer.Port + n,
		Secret: "secret-of-neighbours", Admin: Returning.Admin,
	}
}

// example fills templates when a file is checked, before there is a lab.
func example(t *Target) Values {
	bin := map[string]string{}
	for name := range t.Build {
		bin[name] = name
	}
	return Values{Bin: bin, Client: Returning}
}

func (t *Target) expand(text string, v Values) (string, error) {
	tmpl, err := template.New("").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", fmt.Errorf("parse %q: %w", text, err)
	}
	var b strings.Builder
	if err := tmpl.Execute(&b, v); err != nil {
		_, why, _ := strings.Cut(err.Error(), "executing")
		return "", fmt.Errorf("fill in %q:%s", text, why)
	}
	return b.String(), nil
}
