package fault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

// Manners is what a stranger says before it falls silent.
type Manners string

// The manners of strangers.
const (
	Mute    Manners = "says nothing"             // TCP alone: a scanner, a load balancer's check, slowloris
	HalfTLS Manners = "breaks off its TLS hello" // the first bytes of a handshake that never ends
)

// words are what strangers say. A TLS record announces 512 bytes and brings 5 (RFC
// 8446, section 5.1).
var words = map[Manners]string{
	Mute:    "",
	HalfTLS: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03",
}

// Strangers connect from the visitors' host to a port of the server, say a few words,
// and stay: without ever getting past its handshake. They bring the connections that
// go through the fault: the server has to end them by its handshake's deadline.
type Strangers struct {
	Port    uint16
	Manners Manners
	Number  int // 20 if it is 0
}

// Describe implements Fault.
func (s Strangers) Describe() record.Fault {
	return record.Fault{
		Name: fmt.Sprintf("stranger at port %d that %s", s.Port, s.Manners), Place: string(lab.AtVisitor),
		Class: record.Unfinished, Brings: true,
	}
}

// Inject implements Fault. It returns when all have said their words. The Heal hangs up.
func (s Strangers) Inject(ctx context.Context, on *lab.Lab) (Heal, Witness, error) {
	text, known := words[s.Manners]
	if !known {
		return nil, nil, fmt.Errorf("strangers: no such manners: %q", s.Manners)
	}
	if s.Number == 0 {
		s.Number = 20
	}
	var conns []net.Conn
	var once sync.Once
	heal := func(context.Context) error {
		var errs []error
		once.Do(func() {
			for _, c := range conns {
				errs = append(errs, c.Close())
			}
		})
		return errors.Join(errs...)
	}
	fail := func(err error) (Heal, Witness, error) {
		return nil, nil, errors.Join(fmt.Errorf("strangers: %w", err), heal(ctx))
	}
	ctx, cancel := context.WithTimeout(ctx, backTime)
	defer cancel()
	address := netip.AddrPortFrom(on.VisitorSide, s.Port).String()
	for range s.Number {
		c, err := on.Visitor.DialContext(ctx, "tcp", address)
		if err != nil {
			return fail(err)
		}
		conns = append(conns, c)
	}
	for _, c := range conns {
		if _, err := c.Write([]byte(text)); err != nil && len(text) > 0 {
			return fail(err)
		}
	}
	began := time.Now()
	witness := func(context.Context) (string, bool, error) {
		return fmt.Sprintf("%d connections to %s; each %s, since %v", len(conns), address, s.Manners, time.Since(began).Round(time.Millisecond)), len(conns) == s.Number, nil
	}
	return heal, witness, nil
}

// RefuseDials has a host refuse every new connection by a cable, with RST: a service
// that is down. Connections that are there stay.
type RefuseDials struct {
	At lab.Place
}

// Describe implements Fault.
func (r RefuseDials) Describe() record.Fault {
	return record.Fault{Name: "dials refused", Place: string(r.At), Class: record.Spared}
}

// Inject implements Fault. It returns when a dial was refused.
func (r RefuseDials) Inject(ctx context.Context, on *lab.Lab) (Heal, Witness, error) {
	end, err := on.End(r.At)
	if err != nil {
		return nil, nil, fmt.Errorf("refuse dials: %w", err)
	}
	b := newBarrier(end.Host)
	err = b.add("filter", "INPUT", "-i", end.Name, "-p", "tcp", "--syn", "-j", "REJECT", "--reject-with", "tcp-reset")
	if err == nil {
		var conn net.Conn
		if conn, err = end.Peer.Host.DialContext(ctx, "tcp", netip.AddrPortFrom(end.IP(), discard).String()); err == nil {
			err = errors.Join(errors.New("a dial was not refused"), conn.Close())
		} else {
			err = ctx.Err()
		}
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("refuse dials at %s: %w", end, err), b.remove(context.WithoutCancel(ctx)))
	}
	return b.remove, b.witness("refused"), nil
}
