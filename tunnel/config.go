package tunnel

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"strconv"
	"strings"
	"time"
)

// Off switches a layer off where a duration of a Config allows it. (Zero means
// the default.)
const Off time.Duration = -1

// ErrSetup is wrapped by errors that a change of the settings or of the machine
// cures: a bad option, a missing file, a port in use.
var ErrSetup = errors.New("set-up")

// setupError is an ErrSetup whose text is only the message.
type setupError struct{ error }

func (e setupError) Unwrap() []error { return []error{e.error, ErrSetup} }

func setupf(format string, args ...any) error {
	return setupError{fmt.Errorf(format, args...)}
}

// Problem is one setting that makes no sense.
type Problem struct {
	Option string // as the command line and the config file call it: "heartbeat"
	Text   string // what is wrong, and what to do
}

// ConfigError is an ErrSetup: everything that is wrong with a Config.
type ConfigError []Problem

// Error is all of it in one line.
func (e ConfigError) Error() string {
	var texts []string
	for _, p := range e {
		texts = append(texts, p.Text)
	}
	return strings.Join(texts, "; ")
}

func (e ConfigError) Unwrap() error { return ErrSetup }

func (e *ConfigError) add(option, format string, args ...any) {
	*e = append(*e, Problem{option, fmt.Sprintf(format, args...)})
}

// orNil is nil when nothing is wrong.
func (e ConfigError) orNil() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// KeepAlive is the kernel's TCP keepalive of a connection. The kernel gives up
// an idle connection Idle + Count*Interval after the last packet. Whole
// seconds; the zero value is the default, Idle == [Off] switches it off.
type KeepAlive struct {
	Idle, Interval time.Duration
	Count          int
}

// Liveness is every time limit of a server or a client. Zero fields take the
// defaults; [Off] switches a layer off where the comment allows it.
type Liveness struct {
	// Heartbeat is the interval of PINGs on a session (5 s); may be Off.
	Heartbeat time.Duration
	// HeartbeatDeadline is how long after the last frame of any kind a session
	// is dead (15 s); may be Off, and is when Heartbeat is Off and this is 0.
	HeartbeatDeadline time.Duration
	// SessionKeepAlive (15 s/5 s/6) and SessionUserTimeout (15 s), the kernel's
	// TCP_USER_TIMEOUT, are set on the connection of a session; may be Off.
	SessionKeepAlive   KeepAlive
	SessionUserTimeout time.Duration
	// EdgeKeepAlive (15 s/5 s/6) and EdgeUserTimeout (45 s) are the same for
	// connections to visitors and origins; may be Off.
	EdgeKeepAlive   KeepAlive
	EdgeUserTimeout time.Duration
	// Flush is how long a write to a session may wait while the peer acknowledges nothing
	// (10 s); may be Off.
	Flush time.Duration
	// Handshake bounds TLS and AUTH together, and the reading of a visitor's
	// request head (10 s).
	Handshake time.Duration
	// Dial bounds each dial (10 s).
	Dial time.Duration
	// HalfClose is how long, after one direction of a stream has ended, the
	// other may be silent (60 s); may be Off.
	HalfClose time.Duration
}

// duration fills one field with its default and checks it.
func duration(wrong *ConfigError, name string, d *time.Duration, def time.Duration, offAllowed bool) {
	switch {
	case *d == 0:
		*d = def
	case *d == Off && offAllowed:
	case *d < time.Millisecond:
		wrong.add(name, "%s is %v; it must be at least 1ms", name, *d)
	}
}

// keepAlive does the same for a keepalive.
func keepAlive(wrong *ConfigError, name string, k *KeepAlive) {
	if *k == (KeepAlive{}) {
		*k = KeepAlive{Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 6}
	}
	if k.Idle == Off {
		*k = KeepAlive{Idle: Off}
		return
	}
	// The kernel's bounds: MAX_TCP_KEEPIDLE and MAX_TCP_KEEPINTVL are 32767,
	// MAX_TCP_KEEPCNT is 127 (linux/net/tcp.h).
	seconds := func(d time.Duration) bool {
		return d >= time.Second && d <= math.MaxInt16*time.Second && d%time.Second == 0
	}
	if !seconds(k.Idle) || !seconds(k.Interval) || k.Count < 1 || k.Count > 127 {
		wrong.add(name, "%s is %v/%v/%d; it must be idle/interval/count: whole seconds from 1s, count from 1 to 127", name, k.Idle, k.Interval, k.Count)
	}
}

// fill sets the defaults and refuses what makes no sense.
func (l *Liveness) fill(wrong *ConfigError) {
	if l.Heartbeat == Off && l.HeartbeatDeadline == 0 {
		l.HeartbeatDeadline = Off
	}
	duration(wrong, "heartbeat", &l.Heartbeat, 5*time.Second, true)
	duration(wrong, "heartbeat-deadline", &l.HeartbeatDeadline, 15*time.Second, true)
	keepAlive(wrong, "session-keepalive", &l.SessionKeepAlive)
	duration(wrong, "session-user-timeout", &l.SessionUserTimeout, 15*time.Second, true)
	keepAlive(wrong, "edge-keepalive", &l.EdgeKeepAlive)
	duration(wrong, "edge-user-timeout", &l.EdgeUserTimeout, 45*time.Second, true)
	duration(wrong, "flush", &l.Flush, 10*time.Second, true)
	duration(wrong, "handshake", &l.Handshake, 10*time.Second, false)
	duration(wrong, "dial", &l.Dial, 10*time.Second, false)
	duration(wrong, "half-close", &l.HalfClose, 60*time.Second, true)
	if l.HeartbeatDeadline != Off && (l.Heartbeat == Off || l.HeartbeatDeadline <= l.Heartbeat) {
		wrong.add("heartbeat-deadline", "heartbeat-deadline %v would end healthy idle sessions: it must be longer than heartbeat (%v), or off", l.HeartbeatDeadline, show(l.Heartbeat))
	}
}

func show(d time.Duration) string {
	if d == Off {
		return "off"
	}
	return d.String()
}

// ServerConfig is the settings of a server. Cert, Key and one of Tokens and
// TokenFile are needed; every other zero field takes the default in its comment.
type ServerConfig struct {
	Listen  string // where clients log in, "0.0.0.0:4443"
	HTTP    string // where HTTP visitors come, "0.0.0.0:8080"
	TCPHost string // address on which public TCP ports are opened, "0.0.0.0"
	Admin   string // loopback address of the admin pages, "" for none

	Cert, Key string // PEM files; Reload reads them again
	ClientCA  string // PEM file: clients must show a certificate that this authority signed; "" for none
	Tokens    []Token
	TokenFile string // more tokens, for ReadTokens; Reload reads it again

	Liveness
	DebugFree bool // offer /debug/free

	// MaxAge is when a session is replaced (15 min, a tenth more or less); may be
	// Off. MaxRequests is after how many requests it is (0: any number).
	// DrainDeadline is how long, after that, streams with no request under way may
	// stay (1 h); may be Off.
	MaxAge        time.Duration
	MaxRequests   int
	DrainDeadline time.Duration

	// RefuseSameName refuses a login for a name that is taken. Without it the newer
	// login supersedes the older one: a client that comes back need not wait until
	// the server has noticed that it was gone.
	RefuseSameName bool

	MaxLogins   int // 1024
	MaxPreAuth  int // connections that have not logged in yet, and visitors whose request is awaited: 1024 each
	MaxSessions int // sessions of one login, 16; at most 255
	MaxStreams  int // streams of one login, 4096
	MaxQueued   int // MiB that wait in one session in each direction, 64

	Log *slog.Logger // slog.Default()
	// KeyLog gets the keys of all sessions, as NSS writes them: whoever has them can read
	// what the sessions carry. nil, as it should be, for none.
	KeyLog io.Writer
}

func (c *ServerConfig) fill() error {
	var wrong ConfigError
	c.Liveness.fill(&wrong)
	fallback(&c.Listen, "0.0.0.0:4443")
	fallback(&c.HTTP, "0.0.0.0:8080")
	fallback(&c.TCPHost, "0.0.0.0")
	duration(&wrong, "max-age", &c.MaxAge, 15*time.Minute, true)
	duration(&wrong, "drain-deadline", &c.DrainDeadline, time.Hour, true)
	if c.MaxRequests < 0 {
		wrong.add("max-requests", "max-requests is %d; it must be 0 for any number, or more", c.MaxRequests)
	}
	limit(&wrong, "max-logins", &c.MaxLogins, 1024)
	limit(&wrong, "max-pre-auth", &c.MaxPreAuth, 1024)
	fallback(&c.MaxSessions, 16)
	sessions(&wrong, "max-sessions", c.MaxSessions)
	limit(&wrong, "max-streams", &c.MaxStreams, 4096)
	limit(&wrong, "max-queued", &c.MaxQueued, defaultQueued>>20)
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Cert == "" || c.Key == "" {
		wrong.add("cert", "no certificate: give --cert and --key ('tunnel cert' makes them)")
	}
	if len(c.Tokens) == 0 && c.TokenFile == "" {
		wrong.add("token", "no token: give --token SECRET=NAME[,NAME...][,PORT...] at least once, or --token-file")
	}
	address(&wrong, "listen", c.Listen)
	address(&wrong, "http", c.HTTP)
	if net.ParseIP(c.TCPHost) == nil {
		wrong.add("tcp-host", "tcp-host %q is not an IP address", c.TCPHost)
	}
	adminAddress(&wrong, c.Admin)
	return wrong.orNil()
}

// ClientConfig is the settings of a client. Server, CA, Token, Name and one of
// HTTPTo and TCPTo are needed; zero fields take the default in their comment.
type ClientConfig struct {
	Server     string // HOST:PORT of the tunnel server
	CA         string // PEM file of the authority that signed the server's certificate
	ServerName string // name in that certificate; the host of Server
	Cert, Key  string // PEM files, for a server that wants a client's certificate
	Token      string
	Name       string // host name under which visitors come
	Port       int    // public TCP port, 0 for none
	HTTPTo     string // HOST:PORT of the origin of HTTP streams
	TCPTo      string // HOST:PORT of the origin of TCP streams
	Admin      string // loopback address of the admin pages, "" for none

	Liveness
	Backoff    time.Duration // first wait before a reconnect, 1 s
	BackoffCap time.Duration // longest wait before a reconnect, 30 s
	DebugFree  bool          // offer /debug/free

	Sessions   int // TLS connections to the server that share the streams, 4
	MaxStreams int // 4096
	MaxQueued  int // MiB that wait in one session in each direction, 64

	Log *slog.Logger // slog.Default()
	// KeyLog gets the keys of all sessions, as NSS writes them: whoever has them can read
	// what the sessions carry. nil, as it should be, for none.
	KeyLog io.Writer
}

func (c *ClientConfig) fill() error {
	var wrong ConfigError
	c.Liveness.fill(&wrong)
	duration(&wrong, "backoff", &c.Backoff, time.Second, false)
	duration(&wrong, "backoff-cap", &c.BackoffCap, max(30*time.Second, c.Backoff), false)
	if c.BackoffCap < c.Backoff {
		wrong.add("backoff-cap", "backoff-cap %v is below backoff %v", c.BackoffCap, c.Backoff)
	}
	fallback(&c.Sessions, 4)
	sessions(&wrong, "sessions", c.Sessions)
	limit(&wrong, "max-streams", &c.MaxStreams, 4096)
	limit(&wrong, "max-queued", &c.MaxQueued, defaultQueued>>20)
	if c.Log == nil {
		c.Log = slog.Default()
	}
	host, _, err := net.SplitHostPort(c.Server)
	if err != nil || host == "" {
		wrong.add("server", "server %q is not HOST:PORT", c.Server)
	}
	fallback(&c.ServerName, host)
	if c.CA == "" {
		wrong.add("ca", "no authority: give --ca, the ca.pem that 'tunnel cert' wrote beside the server's certificate")
	}
	if (c.Cert == "") != (c.Key == "") {
		wrong.add("cert", "--cert and --key belong together")
	}
	if c.Token == "" || len(c.Token) > maxSecret {
		wrong.add("token", "no token: give --token or TUNNEL_TOKEN, at most %d bytes", maxSecret)
	}
	if err := checkName(c.Name); err != nil {
		wrong.add("name", "name %v", err)
	}
	if c.Port < 0 || c.Port > math.MaxUint16 {
		wrong.add("port", "port %d is not a TCP port", c.Port)
	}
	if c.HTTPTo == "" && c.TCPTo == "" {
		wrong.add("http-to", "nothing to tunnel to: give --http-to or --tcp-to")
	}
	if c.Port != 0 && c.TCPTo == "" {
		wrong.add("port", "--port needs --tcp-to, where its connections go")
	}
	for option, to := range map[string]string{"http-to": c.HTTPTo, "tcp-to": c.TCPTo} {
		if to == "" {
			continue
		}
		if host, _, err := net.SplitHostPort(to); err != nil || host == "" {
			wrong.add(option, "%s %q is not HOST:PORT", option, to)
		}
	}
	adminAddress(&wrong, c.Admin)
	return wrong.orNil()
}

// limit fills a limit with its default and checks it.
func limit(wrong *ConfigError, name string, n *int, def int) {
	fallback(n, def)
	if *n < 0 {
		wrong.add(name, "%s is %d; a limit below zero makes no sense", name, *n)
	}
}

// sessions checks a number of slots, which are counted in one byte on the wire.
func sessions(wrong *ConfigError, name string, n int) {
	if n < 1 || n > math.MaxUint8 {
		wrong.add(name, "%s is %d; it must be 1 to %d", name, n, math.MaxUint8)
	}
}

// address checks IP:PORT; the IP may be missing, for all of the machine's.
func address(wrong *ConfigError, name, text string) {
	host, port, err := net.SplitHostPort(text)
	if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || host != "" && net.ParseIP(host) == nil {
		wrong.add(name, "%s %q is not IP:PORT", name, text)
	}
}

// fallback sets what is zero.
func fallback[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
