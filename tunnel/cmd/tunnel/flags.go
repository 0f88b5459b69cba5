package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/halfopen/halfopen/tunnel"
)

// span is a duration flag. Where off is set, 0 switches the layer off.
type span struct {
	value *time.Duration
	off   bool
	def   string
}

func (s *span) Type() string { return "duration" }

// String is the text that was given, or the default's, as long as that is in force.
func (s *span) String() string {
	if s.value == nil || *s.value == 0 {
		return s.def
	}
	if d, err := time.ParseDuration(s.def); err == nil && (d == *s.value || d == 0 && *s.value == tunnel.Off) {
		return s.def
	}
	if *s.value == tunnel.Off {
		return "0"
	}
	return s.value.String()
}

func (s *span) Set(text string) error {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return errors.New("want a duration like 5s or 250ms")
	case d == 0 && s.off:
		d = tunnel.Off
	case d == 0:
		return errors.New("this one cannot be switched off")
	case d < time.Millisecond:
		return errors.New("want at least 1ms")
	}
	*s.value, s.def = d, text
	return nil
}

// count is a flag of a limit. In a Config 0 is the default, which nobody would expect
// of a limit of 0.
type count struct{ value *int }

func newCount(value *int, def int) count {
	*value = def
	return count{value}
}

func (c count) Type() string { return "int" }

func (c count) String() string {
	if c.value == nil { // pflag asks what the zero flag looks like
		return ""
	}
	return strconv.Itoa(*c.value)
}

func (c count) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return errors.New("want a number from 1")
	}
	*c.value = n
	return nil
}

// keepAlive is a flag of three: idle/interval/count, or 0 for off.
type keepAlive struct {
	value *tunnel.KeepAlive
	def   string
}

func (k *keepAlive) Type() string { return "idle/interval/count" }

func (k *keepAlive) String() string { return k.def }

func (k *keepAlive) Set(text string) error {
	bad := errors.New("want idle/interval/count like 15s/5s/6, in whole seconds, or 0 for off")
	if text == "0" {
		*k.value, k.def = tunnel.KeepAlive{Idle: tunnel.Off}, text
		return nil
	}
	parts := strings.Split(text, "/")
	if len(parts) != 3 {
		return bad
	}
	idle, err1 := time.ParseDuration(parts[0])
	interval, err2 := time.ParseDuration(parts[1])
	count, err3 := strconv.Atoi(parts[2])
	if errors.Join(err1, err2, err3) != nil || idle < time.Second || interval < time.Second || count < 1 ||
		idle%time.Second != 0 || interval%time.Second != 0 {
		return bad
	}
	*k.value, k.def = tunnel.KeepAlive{Idle: idle, Interval: interval, Count: count}, text
	return nil
}

// livenessFlags adds the flags of every time limit. Those that are not given
// leave l's fields zero, which means the default.
func livenessFlags(f *pflag.FlagSet, l *tunnel.Liveness) {
	duration := func(v *time.Duration, name, def, use string, off bool) {
		if off {
			use += "; 0 switches it off"
		}
		f.Var(&span{v, off, def}, name, use)
	}
	duration(&l.Heartbeat, "heartbeat", "5s", "send a PING on each session so often", true)
	duration(&l.HeartbeatDeadline, "heartbeat-deadline", "15s", "a session is dead so long after its last frame", true)
	f.Var(&keepAlive{&l.SessionKeepAlive, "15s/5s/6"}, "session-keepalive", "the kernel's TCP keepalive on sessions; 0 switches it off")
	duration(&l.SessionUserTimeout, "session-user-timeout", "15s", "the kernel gives up a session whose bytes are not acknowledged for so long", true)
	f.Var(&keepAlive{&l.EdgeKeepAlive, "15s/5s/6"}, "edge-keepalive", "the same towards visitors and origins; 0 switches it off")
	duration(&l.EdgeUserTimeout, "edge-user-timeout", "45s", "the same towards visitors and origins", true)
	duration(&l.Flush, "flush", "10s", "a write to a session may wait so long while nothing is acknowledged", true)
	duration(&l.Handshake, "handshake", "10s", "TLS and login, or a visitor's request head, may take so long", false)
	duration(&l.Dial, "dial", "10s", "a dial may take so long", false)
	duration(&l.HalfClose, "half-close", "60s", "after one direction of a stream ended, the other may be silent so long", true)
}

// backoffFlags adds the client's flags of reconnecting.
func backoffFlags(f *pflag.FlagSet, c *tunnel.ClientConfig) {
	f.Var(&span{&c.Backoff, false, "1s"}, "backoff", "first wait before a reconnect; it doubles, and is drawn from its upper half")
	f.Var(&span{&c.BackoffCap, false, "30s"}, "backoff-cap", "longest wait before a reconnect")
}

// tokens is the repeatable --token of the server. Its text never shows again.
type tokens []tunnel.Token

func (t *tokens) Type() string { return "SECRET=NAME[,NAME...][,PORT...]" }

// String shows how many there are and no more.
func (t *tokens) String() string {
	if len(*t) == 0 {
		return ""
	}
	return fmt.Sprintf("%d tokens", len(*t))
}

func (t *tokens) Set(text string) error {
	one, err := tunnel.ParseToken(text)
	if err != nil {
		return err
	}
	*t = append(*t, one)
	return nil
}

// sameName is a flag of two words.
type sameName struct{ refuse *bool }

func (s *sameName) Type() string { return "supersede|refuse" }

func (s *sameName) String() string {
	if s.refuse != nil && *s.refuse {
		return "refuse"
	}
	return "supersede"
}

func (s *sameName) Set(text string) error {
	if text != "supersede" && text != "refuse" {
		return errors.New("want supersede or refuse")
	}
	*s.refuse = text == "refuse"
	return nil
}

// configFlags adds the flag of the config file.
func configFlags(c *cobra.Command) {
	c.Flags().String(configFlag, "", "YAML file of options, below '"+c.Name()+":'; flags and TUNNEL_... variables go first")
}

// tokenError takes the value of --token out of pflag's message: it is a secret.
func tokenError(err error) error {
	var bad *pflag.InvalidValueError
	if errors.As(err, &bad) && bad.GetFlag().Name == "token" {
		return fmt.Errorf("--token: %w", bad.Unwrap())
	}
	return err
}
